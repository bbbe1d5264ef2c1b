"""Hashes of a prompt's blocks: equal beginnings and nothing else are equal, in every process, however cut."""

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from penstock.base.prefix import ENDS, MAX_BLOCKS, SHORTEST_BYTES, STEPS, chain


def test_no_block_is_more_than_a_quarter_of_what_is_before_it() -> None:
    """So what is known of a match is at most a fifth too short, and a long prompt has few blocks."""
    assert STEPS[0] == SHORTEST_BYTES
    assert all(step * 4 <= end for step, end in zip(STEPS[1:], ENDS[1:], strict=False))
    assert len(STEPS) == MAX_BLOCKS
    assert ENDS[-1] == 56 << 20
    assert (len(chain([bytes(8192)])[0]), len(chain([bytes(400_000)])[0])) == (13, 35)


def test_only_full_blocks_count() -> None:
    """A text shorter than a block has none, and its length is told all the same."""
    assert chain([b"x" * 1023]) == ((), 1023)
    assert len(chain([b"x" * 1279])[0]) == 1
    assert chain([b""]) == ((), 0)


@given(st.integers(0, 5000), st.integers(0, 4999))
def test_texts_share_blocks_up_to_where_they_part(length: int, at: int) -> None:
    """A changed byte changes its block and all behind it, and none before it."""
    one = bytes(length)
    other = one[:at] + b"x" + one[at + 1 :] if at < length else one
    same = sum(a == b for a, b in zip(chain([one])[0], chain([other])[0], strict=True))
    assert same == sum(end <= min(at, length) for end in ENDS[1:])


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=4))
def test_parts_are_one_text(text: bytes, cuts: list[int]) -> None:
    """However a text is cut, its hashes are the same: no part is looked at by itself."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    view = memoryview(text)
    parts = [view[start:end] for start, end in pairwise(edges)]
    assert chain(parts) == chain([text])


@given(st.integers(0, 40_000), st.integers(0, 255))
def test_hashes_are_chained_xxh3(length: int, start: int) -> None:
    """32 bits of each block's XXH3 seeded with that of the block before: what a recording holds stays comparable."""
    text = bytes((start + at * at) % 256 for at in range(length))
    state, expected = 0, []
    for at, end in pairwise(ENDS):
        if end > length:
            break
        state = xxh3_64_intdigest(text[at:end], state)
        expected.append(state % 2**32)
    assert chain([text])[0] == tuple(expected)


def test_the_published_vector() -> None:
    """XXH3 of 64 bits of nothing is what its specification says: it is not another function of that name."""
    assert xxh3_64_intdigest(b"") == 0x2D06800538D394C2


@pytest.mark.slow
def test_every_process_finds_the_same() -> None:
    """Whatever seed Python's own hashes have."""
    code = "from penstock.base.prefix import chain; print(chain([b'as it was in the beginning ' * 100]))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=60
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert said == {f"{chain([b'as it was in the beginning ' * 100])}\n".encode()}
