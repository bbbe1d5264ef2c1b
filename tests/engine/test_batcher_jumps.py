"""Jumping from change to change tells the same story as stepping, whatever happens in the middle of a jump."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.perf import StepCost
from penstock.engine.words import Abort, Emit, Event, Finish, Order, Slowed, Submit, Woke
from tests.helpers.stepper import Stepper

COST = StepCost(base_s=1.0, prefill_token_s=0.013, decode_sequence_s=0.11, context_token_s=0.0017)
BLOCK = 4
ODD_S = 0.0137
"""Facts come at odd times, so that none meets the end of a step, where the last bit of a float would decide."""


class Move(NamedTuple):
    """One fact of a random history: what, and how long after the one before it."""

    kind: str
    wait: int
    prompt: int
    answer: int
    family: int


MOVES = st.builds(
    Move,
    st.sampled_from(["submit", "submit", "submit", "abort", "slow", "wait"]),
    st.one_of(st.integers(0, 30), st.integers(100, 4000)),
    st.integers(1, 30),
    st.one_of(st.integers(0, 3), st.integers(4, 40)),
    st.integers(0, 3),
)
SPECS = st.builds(
    EngineSpec,
    cost=st.just(COST),
    max_num_seqs=st.integers(1, 6),
    max_num_batched_tokens=st.integers(1, 24),
    kv_blocks=st.integers(5, 40),
    block_size=st.just(BLOCK),
    reserve_full_prompt=st.booleans(),
)


def history(moves: list[Move], spec: EngineSpec) -> list[tuple[float, Event]]:
    """The facts with their times. Everything submitted fits; families share prompts and answers."""
    facts: list[tuple[float, Event]] = []
    now = 0.0
    for number, move in enumerate(moves):
        now += move.wait * ODD_S
        if move.kind == "submit":
            room = spec.kv_blocks * BLOCK
            prompt = min(move.prompt, room)
            answer = min(move.answer, room - prompt)
            blocks = (prompt + answer) // BLOCK
            hashes = tuple(1000 * move.family + block for block in range(blocks)) if move.family else ()
            facts.append((now, Submit(str(number), prompt, answer, hashes)))
        elif move.kind == "abort":
            facts.append((now, Abort(str(move.prompt % (number + 1)))))
        elif move.kind == "slow":
            facts.append((now, Slowed(0.5 + move.prompt / 10)))
        else:
            facts.append((now, Woke()))
    return facts


class Story(NamedTuple):
    """What came out: ends with their times, times of the tokens, and totals."""

    ends: list[tuple[float, Finish]]
    first: dict[str, float]
    tokens: dict[str, int]
    steps: int
    preemptions: int


def story(told: list[tuple[float, Order]], steps: int, preemptions: int) -> Story:
    """Put orders in order."""
    first: dict[str, float] = {}
    tokens: dict[str, int] = {}
    ends = []
    for at, order in told:
        if isinstance(order, Emit):
            tokens[order.id] = tokens.get(order.id, 0) + order.tokens
            if order.first:
                assert order.id not in first
                first[order.id] = at
        else:
            assert isinstance(order, Finish)
            ends.append((at, order))
    return Story(ends, first, tokens, steps, preemptions)


def jumped(facts: list[tuple[float, Event]], spec: EngineSpec, each_token: bool) -> tuple[Story, Batcher]:
    """What a Batcher tells that is woken exactly when it asks."""
    batcher, told = Batcher(spec, each_token), list[tuple[float, Order]]()
    for at, fact in [*facts, (float("inf"), None)]:
        while (wake := batcher.next_wake()) is not None and wake <= at:
            told += [(wake, order) for order in batcher.on(Woke(), wake)]
        if fact is not None:
            told += [(at, order) for order in batcher.on(fact, at)]
    return story(told, batcher.counters.steps, batcher.counters.preemptions), batcher


def stepped(facts: list[tuple[float, Event]], spec: EngineSpec) -> tuple[Story, Stepper]:
    """What the reference tells."""
    stepper, told = Stepper(spec), list[tuple[float, Order]]()
    for at, fact in [*facts, (1e9, Woke())]:
        told += stepper.on(fact, at)
    return story(told, stepper.steps, stepper.preemptions), stepper


def assert_same(one: Story, other: Story) -> None:
    """Equal but for the last bits of a time."""
    assert [finish for _, finish in one.ends] == [finish for _, finish in other.ends]
    assert [at for at, _ in one.ends] == pytest.approx([at for at, _ in other.ends], rel=1e-9)
    assert one.first.keys() == other.first.keys()
    assert list(one.first.values()) == pytest.approx([other.first[name] for name in one.first], rel=1e-9)
    assert (one.tokens, one.steps, one.preemptions) == (other.tokens, other.steps, other.preemptions)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(MOVES, min_size=1, max_size=25), SPECS)
def test_jumping_is_stepping(moves: list[Move], spec: EngineSpec) -> None:
    """Random arrivals, aborts and slow-downs, under pressure for seats and memory: every sequence gets its first token
    and its end when the reference that steps says so, after as many steps and preemptions, and memory ends alike."""
    facts = history(moves, spec)
    reference, stepper = stepped(facts, spec)
    for each_token in (False, True):
        jumps, batcher = jumped(facts, spec, each_token)
        assert_same(jumps, reference)
        assert (batcher.running, batcher.waiting, batcher.memory.used_blocks) == (0, 0, 0)
        assert batcher.memory.known_blocks == stepper.memory.known_blocks


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(MOVES, min_size=1, max_size=25), SPECS)
def test_counters_do_not_know_who_wakes(moves: list[Move], spec: EngineSpec) -> None:
    """Histograms and totals are the same for somebody who wants every token and somebody who does not."""
    facts = history(moves, spec)
    (_, jumps), (_, tokens) = jumped(facts, spec, False), jumped(facts, spec, True)
    for name in type(jumps.counters).__slots__:
        one, other = getattr(jumps.counters, name), getattr(tokens.counters, name)
        if hasattr(one, "counts"):
            assert one.counts == other.counts, name
            assert one.sum == pytest.approx(other.sum), name
        else:
            assert one == other, name


def named(facts: list[tuple[float, Event]]) -> list[tuple[float, Event]]:
    """The same, with the blocks of families 2 and 3 hashed to their half at most, and a name for the rest of them."""
    return [
        (at, replace(fact, hashes=fact.hashes[: fact.hashes[0] % 3], own=-number))
        if isinstance(fact, Submit) and fact.hashes and fact.hashes[0] >= 2000 else (at, fact)
        for number, (at, fact) in enumerate(facts, 1)
    ]  # fmt: skip


def hashed(facts: list[tuple[float, Event]]) -> list[tuple[float, Event]]:
    """The same, with a hash like no other for each block that is named by one name for all."""
    told: list[tuple[float, Event]] = []
    for at, fact in facts:
        if isinstance(fact, Submit) and fact.own:
            blocks = range(len(fact.hashes), (fact.prompt_tokens + fact.max_tokens) // BLOCK)
            own = tuple(-fact.own * 1_000_000 + block for block in blocks)
            fact = replace(fact, hashes=(*fact.hashes, *own), own=0)
        told.append((at, fact))
    return told


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(MOVES, min_size=1, max_size=25), SPECS)
def test_one_name_for_own_text_is_as_good_as_hashes(moves: list[Move], spec: EngineSpec) -> None:
    """Text that only one sequence has costs the same space and is found again, after a preemption, to the same block,
    whether each of its blocks has a hash or all of them one name."""
    facts = named(history(moves, spec))
    (one, by_name), (other, by_hashes) = jumped(facts, spec, False), jumped(hashed(facts), spec, False)
    assert one == other
    assert by_name.memory.known_blocks == by_hashes.memory.known_blocks
    assert by_name.counters.prefix_hits == by_hashes.counters.prefix_hits


def test_a_jump_is_one_turn() -> None:
    """An engine with one answer of a thousand tokens is woken twice: for its first token, and for its end."""
    batcher = Batcher(EngineSpec(cost=COST), each_token=False)
    batcher.on(Submit("a", 10, 1000), 0.0)
    wakes = []
    while (wake := batcher.next_wake()) is not None:
        wakes.append([type(order).__name__ for order in batcher.on(Woke(), wake)])
    assert wakes == [["Emit"], ["Emit", "Finish"]]
    assert batcher.counters.steps == 1000


def test_gauges_are_of_now_in_the_middle_of_a_jump() -> None:
    """Asked in between, the engine knows the blocks that are held and the tokens that are out at that time."""
    batcher = Batcher(EngineSpec(cost=COST, kv_blocks=100, block_size=BLOCK), each_token=False)
    reference = Stepper(batcher.spec)
    batcher.on(Submit("a", 10, 100), 0.0)
    reference.on(Submit("a", 10, 100), 0.0)
    for at in (1.5, 7.3, 50.1):
        batcher.on(Woke(), at)
        reference.on(Woke(), at)
        assert batcher.memory.used_blocks == reference.memory.used_blocks
        assert batcher.counters.generation_tokens == reference.running[0].generated
