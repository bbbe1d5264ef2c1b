"""Prompts have the wanted size, share what the trace shares, and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.workload.prompts import Prompts
from penstock.workload.request import Request


def shared_characters(one: str, two: str) -> int:
    """How long the two texts agree from their start."""
    return next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def request(tokens: int, *blocks: int, size: int = 16) -> Request:
    """A request of this many prompt tokens with these prefix blocks."""
    return Request(0, tokens, 1, blocks, size if blocks else 0)


@settings(max_examples=40)
@given(tokens=st.integers(1, 1500), blocks=st.lists(st.integers(0, 9), max_size=40))
def test_length(tokens: int, blocks: list[int]) -> None:
    """A prompt of n tokens has n words and four characters a word, whatever its blocks cover."""
    text = Prompts(1).text(request(tokens, *blocks), 0)
    assert len(text) == 4 * tokens - 1
    assert len(text.split(" ")) == tokens


def test_deterministic() -> None:
    """The same seed, request and number give the same text; another seed gives another."""
    want = Prompts(1).text(request(100, 1, 2), 7)
    assert Prompts(1).text(request(100, 1, 2), 7) == want
    assert Prompts(2).text(request(100, 1, 2), 7)[:30] != want[:30]


def test_shared_prefix_is_shared_exactly() -> None:
    """Two prompts agree up to the end of their last common block and part within the words after it."""
    prompts = Prompts(1)
    one, two = prompts.text(request(100, 1, 2, 3), 1), prompts.text(request(90, 1, 2, 4), 2)
    assert 2 * 16 * 4 - 1 <= shared_characters(one, two) < 2 * 16 * 4 + 8


def test_unique_tails() -> None:
    """What a prompt has after its blocks is its own."""
    prompts = Prompts(1)
    one, two = prompts.text(request(100, 1), 1), prompts.text(request(100, 1), 2)
    assert shared_characters(one, two) < 16 * 4 + 8


def test_unique_prompts_share_nothing() -> None:
    """A thousand prompts without blocks differ from each other within their first sixteen tokens."""
    prompts = Prompts(3)
    heads = {prompts.text(request(16), number) for number in range(1000)}
    assert len(heads) == 1000


def test_partial_last_block() -> None:
    """A last block that the prompt fills only in part gives the beginning of that block's text."""
    prompts = Prompts(1)
    assert prompts.text(request(32, 1, 2), 1).startswith(prompts.text(request(20, 1, 2), 2))


def test_blocks_beyond_the_prompt_are_not_written() -> None:
    """Blocks that lie beyond a (shortened) prompt cost nothing."""
    prompts = Prompts(1)
    assert len(prompts.text(request(16, *range(1000)), 1)) == 63
    assert len(prompts._blocks) == 1


def test_cache_is_bounded_and_changes_nothing() -> None:
    """A cache too small for the blocks stays within its bound and gives the same texts."""
    small, large = Prompts(1, cache_bytes=200), Prompts(1)
    for number in range(50):
        row = request(64, number % 5, 5 + number % 3, 9)
        assert small.text(row, number) == large.text(row, number)
        assert sum(map(len, small._blocks.values())) <= 200
