"""The bound on prefix hits, worked out by hand and on a real trace."""

from importlib.resources import files

import pytest

from penstock.workload.formats import read_trace
from penstock.workload.oracle import prefix_bound
from penstock.workload.request import Request


def test_by_hand() -> None:
    """Leading blocks that were there before count, up to the prompt's end; what comes after a new block does not."""
    found = prefix_bound(
        [
            Request(0, 40, 5, (1, 2, 3), 16),  # all new; its last block is partial
            Request(1, 40, 5, (1, 2, 3), 16),  # all of it: 40 tokens, 3 blocks
            Request(2, 64, 5, (1, 9, 3, 4), 16),  # 1 of 4 blocks
            Request(3, 64, 5, (9,), 16),  # 9 was at another place
            Request(4, 100, 5),  # nothing known
        ]
    )
    assert (found.requests, found.prompt_tokens, found.hit_tokens) == (5, 308, 56)
    assert (found.blocks, found.hit_blocks, found.distinct_blocks, found.exact) == (11, 4, 6, True)
    assert found.hit_share == pytest.approx(56 / 308)


def test_answers_are_found_later() -> None:
    """Blocks that an answer fills are not looked up by their own request and found by the next turn."""
    found = prefix_bound([Request(0, 16, 16, (1, 2), 16), Request(1, 40, 5, (1, 2), 16)])
    assert (found.hit_tokens, found.blocks) == (32, 3)


def test_bounded() -> None:
    """With fewer blocks remembered than there are, memory stays bounded and the result says that it is no bound."""
    rows = [Request(at, 16, 1, (at,), 16) for at in range(100)] * 2
    found = prefix_bound(rows, max_blocks=10)
    assert (found.hit_blocks, found.distinct_blocks, found.exact) == (10, 10, False)


def test_nothing() -> None:
    """No requests, no hits, no division by 0."""
    assert prefix_bound([]).hit_share == 0.0


def test_of_a_real_trace() -> None:
    """The shipped sample of Mooncake's trace, whose hits a second way of counting confirms."""
    rows = read_trace(files("penstock.workload").joinpath("data", "mooncake_conversation.jsonl.gz").read_bytes(), "m")
    seen: set[tuple[int, ...]] = set()
    hits = 0
    for row in rows:
        prefixes = [row.blocks[: length + 1] for length in range(len(row.blocks))]
        hits += min(sum(prefix in seen for prefix in prefixes) * 512, row.prompt_tokens)
        seen.update(prefixes)
    found = prefix_bound(rows)
    assert found.hit_tokens == hits
    assert found.distinct_blocks == len(seen)
