"""Block ids are equal where texts are, and never meet otherwise."""

from penstock.base.rand import Rand
from penstock.workload.lengths import Fixed, Uniform
from penstock.workload.prefixes import Shared, beginnings, group_blocks, session_blocks


def test_ids_never_meet() -> None:
    """Blocks of different shared prompts and sessions have different ids."""
    blocks = group_blocks([1000, 1000], 16)
    parts = [blocks(0), blocks(1), session_blocks(0, 0, 62), session_blocks(1, 0, 62)]
    ids = [id for part in parts for id in part]
    assert len(set(ids)) == len(ids) == 4 * 62


def test_only_whole_blocks_count() -> None:
    """What a shared prompt has beyond its last whole block is nobody's."""
    blocks = group_blocks([15, 16, 47], 16)
    assert [len(blocks(group)) for group in (0, 1, 2)] == [0, 1, 2]


def test_a_group_is_one_object() -> None:
    """Requests of one group hold the same tuple, so that a million of them do not hold a million."""
    blocks = group_blocks([1000], 16)
    assert blocks(0) is blocks(0)


def test_pieces_of_a_session_fit() -> None:
    """A session's ids are those of its places: two pieces of its text are the whole."""
    assert session_blocks(3, 0, 4) + session_blocks(3, 4, 9) == session_blocks(3, 0, 9)


def test_lengths_are_drawn_once() -> None:
    """Each shared prompt keeps its length, and the choice is told."""
    shared = Shared(groups=20, tokens=Uniform(low=10, high=1000))
    assert shared.lengths(Rand(5)) == shared.lengths(Rand(5)) != shared.lengths(Rand(6))
    chosen = shared.chosen(Rand(5), 16)
    assert chosen["shared_tokens"] == shared.lengths(Rand(5))[:10]
    assert chosen["shared_blocks"] == sum(tokens // 16 for tokens in shared.lengths(Rand(5)))


def test_beginnings() -> None:
    """Nothing is shared without a spec; with one, tokens and blocks belong together and the first group leads."""
    assert beginnings(None, Rand(1), 16)() == (0, ())
    begin = beginnings(Shared(groups=2, exponent=3, tokens=Fixed(tokens=40)), Rand(1), 16)
    found = [begin() for _ in range(100)]
    assert {(tokens, len(blocks)) for tokens, blocks in found} == {(40, 2)}
    assert sum(blocks[0] == 0 for _, blocks in found) > 70
