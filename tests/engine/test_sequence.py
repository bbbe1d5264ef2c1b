"""The group that generates together: what it says of all its members is what each would say of itself."""

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.sequence import Group, Sequence
from penstock.engine.words import Submit

BLOCK = 4


def member(group: Group, prompt: int, answer: int) -> Sequence:
    """A sequence whose prompt is read and whose first token is out."""
    sequence = Sequence(Submit(f"{prompt}/{answer}", prompt, answer), 0.0)
    sequence.computed, sequence.generated = prompt, 1
    group.join(sequence)
    return sequence


def test_a_member_knows_where_it_stands_when_it_leaves() -> None:
    """After five steps it has five tokens more, and as many computed."""
    group = Group(BLOCK)
    member(group, 3, 50)
    group.advance(2)
    sequence = member(group, 10, 100)
    group.advance(5)
    group.leave(sequence)
    assert (sequence.computed, sequence.generated, sequence.tokens) == (15, 6, 16)
    assert group.context == 3 + 7


def test_members_end_in_the_order_in_which_they_joined() -> None:
    """Those who have all their tokens at once are told oldest first; whoever left before is not told."""
    group = Group(BLOCK)
    first, left, last = member(group, 1, 4), member(group, 2, 4), member(group, 3, 4)
    longer = member(group, 3, 9)
    group.leave(left)
    assert group.steps_to_end() == 3
    group.advance(3)
    over = group.ended()
    assert over == [first, last]
    for sequence in over:
        group.leave(sequence)
    assert group.steps_to_end() == 5
    assert list(group.members) == [longer]


@settings(max_examples=20)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 40), st.integers(0, 30))
def test_blocks_are_those_of_each_member(prompts: list[int], after: int, steps: int, blocks: int) -> None:
    """Blocks for steps to come, and steps for given blocks, are what adding up the members gives."""
    group = Group(BLOCK)
    for number, prompt in enumerate(prompts):
        member(group, prompt, 1000 + number)
        group.advance(1)
    computed = [sequence.base + group.ticks for sequence in group.members]

    def needed(many: int) -> int:
        return sum(-(-(tokens + after + many) // BLOCK) - -(-(tokens + after) // BLOCK) for tokens in computed)

    assert group.blocks(after, steps) == needed(steps)
    within = group.steps_within(blocks, after, steps)
    assert needed(within) <= blocks
    assert within == steps or needed(within + 1) > blocks
    assert [group.crosses(sequence) for sequence in group.members] == [tokens % BLOCK == 0 for tokens in computed]
