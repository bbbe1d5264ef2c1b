"""KV blocks: they are conserved, shared by content, and evicted in the order of their last use."""

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.memory import Hold, Memory


def free_blocks(memory: Memory, holds: list[Hold]) -> int:
    """What the law free + known + private = total leaves for `free`."""
    return memory.total_blocks - memory.known_blocks - sum(hold.private for hold in holds)


def test_private_blocks_come_and_go() -> None:
    """A sequence without hashes takes a block for every begun 16 tokens and gives all back."""
    memory, hold = Memory(4, 16), Hold()
    assert memory.grow(hold, 1)
    assert memory.used_blocks == 1
    assert memory.grow(hold, 33)
    assert memory.used_blocks == 3
    assert memory.usage == 0.75
    memory.release(hold)
    assert memory.used_blocks == 0


def test_a_failed_growth_changes_nothing() -> None:
    """When there are not enough blocks, none is taken."""
    memory, hold = Memory(2, 16), Hold((1, 2, 3))
    assert memory.grow(hold, 16)
    assert not memory.grow(hold, 48)
    assert (hold.known, hold.private, memory.used_blocks) == (1, 0, 1)


def test_a_prefix_is_found_in_full_blocks_only() -> None:
    """Only blocks that are full, known, in order and wholly within the limit count as found."""
    memory, hold = Memory(8, 4), Hold((1, 2, 3))
    memory.grow(hold, 10)
    assert memory.found((1, 2, 3), 100) == 8
    assert memory.found((1, 2, 3), 7) == 4
    assert memory.found((9, 2), 100) == 0
    assert memory.found((1, 9, 2), 100) == 4


def test_equal_content_is_held_once() -> None:
    """Two sequences with the same full blocks use them together; the last to leave makes them idle, not lost."""
    memory, first, second = Memory(8, 4), Hold((1, 2)), Hold((1, 2))
    memory.grow(first, 8)
    memory.grow(second, 9)
    assert memory.used_blocks == 3
    memory.release(first)
    assert memory.used_blocks == 3
    memory.release(second)
    assert memory.used_blocks == 0
    assert memory.found((1, 2), 8) == 8


def test_the_oldest_idle_prefix_is_evicted_end_first() -> None:
    """Space is taken from what was used longest ago, and from the end of a prefix before its beginning."""
    memory = Memory(4, 4)
    for hashes in ((1, 2), (3, 4)):
        hold = Hold(hashes)
        memory.grow(hold, 8)
        memory.release(hold)
    assert memory.grow(Hold(), 4)
    assert memory.found((1, 2), 8) == 4
    assert memory.found((3, 4), 8) == 8


def test_a_block_that_was_computed_twice_is_kept_once() -> None:
    """A partial private block that turns out to equal a known one is given up for it."""
    memory, first, second = Memory(8, 4), Hold((1,)), Hold((1,))
    memory.grow(second, 3)
    memory.grow(first, 4)
    assert memory.used_blocks == 2
    memory.grow(second, 4)
    assert memory.used_blocks == 1


def test_an_answer_becomes_known_when_it_is_over() -> None:
    """Blocks that were filled while generating can be found once they are released, as far as they are full of computed
    tokens; what is beyond them is free."""
    memory, hold = Memory(8, 4), Hold((1, 2, 3, 4))
    memory.grow(hold, 6)
    assert memory.found((1, 2, 3, 4), 100) == 4
    memory.take(2)
    memory.settle(hold, 14)
    assert (hold.known, hold.private, memory.used_blocks) == (1, 3, 4)
    memory.release(hold, 13)
    assert memory.found((1, 2, 3, 4), 100) == 12
    assert (memory.used_blocks, memory.free_blocks, memory.available) == (0, 5, 8)


def test_an_answer_that_is_known_already_is_kept_once() -> None:
    """Where another sequence made the same blocks known, the own copies are free again."""
    memory, one, other = Memory(8, 4), Hold((1, 2)), Hold((1, 2))
    for hold in (one, other):
        memory.take(2)
        memory.settle(hold, 8)
    memory.release(one, 8)
    memory.release(other, 8)
    assert (memory.known_blocks, memory.free_blocks) == (2, 6)


def test_whether_a_whole_sequence_fits() -> None:
    """What is known needs no space, but what nobody holds of it stops being space."""
    memory, held, gone = Memory(6, 4), Hold((1, 2)), Hold((3, 4))
    memory.grow(held, 8)
    memory.grow(gone, 8)
    memory.release(gone)
    assert memory.available == 4
    assert memory.fits(Hold((1, 2, 5)), 24, 8)
    assert not memory.fits(Hold((1, 2, 5)), 25, 8)
    assert memory.fits(Hold((3, 4, 5)), 16, 8)
    assert not memory.fits(Hold((3, 4, 5)), 17, 8)


def test_own_text_is_found_again_as_a_whole() -> None:
    """What is full of computed tokens behind the hashes is kept under one name, behind the known hashes only."""
    memory, hold = Memory(8, 4), Hold((1,), own=-1)
    memory.grow(hold, 14)
    assert (hold.known, hold.private, memory.known_blocks) == (1, 3, 1)
    memory.release(hold, 13)
    assert (memory.known_blocks, memory.used_blocks, memory.free_blocks) == (3, 0, 5)
    assert memory.found((1,), 100, own=-1) == 12
    assert memory.found((1,), 11, own=-1) == 8
    assert memory.found((2,), 100, own=-1) == 0
    again = Hold((1,), own=-1)
    assert memory.grow(again, 13)
    assert (again.known, again.private, memory.known_blocks, memory.used_blocks) == (1, 3, 1, 4)


def test_own_text_is_evicted_from_its_end() -> None:
    """As far as space is needed, and before what it stood behind."""
    memory, hold = Memory(4, 4), Hold((1,), own=-1)
    memory.grow(hold, 16)
    memory.release(hold, 16)
    assert memory.grow(Hold(), 4)
    assert memory.found((1,), 100, own=-1) == 12
    assert memory.grow(Hold(), 8)
    assert memory.found((1,), 100, own=-1) == 4
    assert (memory.known_blocks, memory.available) == (1, 1)


def test_two_with_one_name_at_once_lose_nothing() -> None:
    """It is not meant to be; the second one's text is then not found, and all blocks come back."""
    memory, one, other = Memory(8, 4), Hold((), own=-1), Hold((), own=-1)
    for hold in (one, other):
        memory.grow(hold, 8)
    for hold in (one, other):
        memory.release(hold, 8)
    assert (memory.known_blocks, memory.free_blocks, memory.available) == (2, 6, 8)


MOVES = ("new", "grow", "leave")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_blocks_are_conserved(data: st.DataObject) -> None:
    """Whatever sequences grow and leave in whatever order, no block is lost, made, or given back twice."""
    memory = Memory(data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4)))
    holds: list[tuple[Hold, int]] = []
    for number in range(data.draw(st.integers(1, 25))):
        move = data.draw(st.sampled_from(MOVES)) if holds else "new"
        if move == "leave":
            hold, tokens = holds.pop(data.draw(st.integers(0, len(holds) - 1)))
            memory.release(hold, data.draw(st.integers(0, tokens)))
        elif move == "grow":
            at = data.draw(st.integers(0, len(holds) - 1))
            hold, tokens = holds[at]
            more = tokens + data.draw(st.integers(0, 9))
            if memory.grow(hold, more):
                holds[at] = (hold, more)
        else:
            hold, tokens = (
                Hold(tuple(data.draw(st.lists(st.integers(0, 5), max_size=5))), data.draw(st.integers(-number, 0))),
                data.draw(st.integers(1, 12)),
            )
            if memory.grow(hold, tokens):
                holds.append((hold, tokens))
        assert free_blocks(memory, [hold for hold, _ in holds]) >= 0
        for hold, tokens in holds:
            assert hold.known + hold.private == memory.blocks_for(tokens)
        held = {block for hold, _ in holds for block in hold.hashes[: hold.known]}
        assert memory.used_blocks == len(held) + sum(hold.private for hold, _ in holds)
    for hold, _ in holds:
        memory.release(hold)
    assert memory.used_blocks == 0
    assert memory.grow(Hold(), memory.total_blocks * memory.block_tokens)
