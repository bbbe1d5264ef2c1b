"""The Batcher as an engine: every sequence ends once, batching batches, prefixes help, memory is conserved."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.perf import StepCost
from penstock.engine.words import Abort, Emit, Event, Finish, Order, Reject, Slowed, Submit, Woke

COST = StepCost(base_s=1.0, prefill_token_s=0.01, decode_sequence_s=0.1)


def engine(
    cost: StepCost = COST,
    seats: int = 256,
    budget: int = 2048,
    blocks: int = 1000,
    length: int = 4096,
    waiting: int = 99,
) -> Batcher:
    """An engine of blocks of 4 tokens whose steps take a second and a bit."""
    return Batcher(
        EngineSpec(
            cost=cost, max_num_seqs=seats, max_num_batched_tokens=budget, kv_blocks=blocks, block_size=4,
            max_model_len=length, max_waiting=waiting,
        )
    )  # fmt: skip


def drain(batcher: Batcher) -> list[tuple[float, Order]]:
    """Wake the engine until it wants nothing more; every order with its time."""
    told: list[tuple[float, Order]] = []
    for _ in range(100_000):
        wake = batcher.next_wake()
        if wake is None:
            return told
        told += [(wake, order) for order in batcher.on(Woke(), wake)]
    raise AssertionError("the engine never comes to rest")


def run(batcher: Batcher, *events: Event) -> list[tuple[float, Order]]:
    """Tell all events at time 0, then let the engine finish."""
    told: list[tuple[float, Order]] = [(0.0, order) for event in events for order in batcher.on(event, 0.0)]
    return told + drain(batcher)


def ends(told: list[tuple[float, Order]]) -> dict[str, float]:
    """When each sequence was finished."""
    return {order.id: at for at, order in told if isinstance(order, Finish)}


def test_one_sequence_literally() -> None:
    """The prompt takes one step that gives the first token; each further token takes a step of its own."""
    assert run(engine(), Submit("a", 10, 3)) == [
        (1.1, Emit("a", 1, True)),
        (2.2, Emit("a", 1, False)),
        (pytest.approx(3.3), Emit("a", 1, False)),
        (pytest.approx(3.3), Finish("a", 10, 3, 0, "length")),
    ]


def test_an_idle_engine_sleeps() -> None:
    """With nothing to do there is no wake-up, and being woken does nothing."""
    batcher = engine()
    assert batcher.next_wake() is None
    assert batcher.on(Woke(), 5.0) == []
    assert batcher.next_wake() is None


def test_batching_batches() -> None:
    """Ten sequences at once take far less than ten times one."""
    alone = ends(run(engine(), Submit("a", 10, 20)))["a"]
    together = max(ends(run(engine(), *[Submit(str(n), 10, 20) for n in range(10)])).values())
    assert together < 3 * alone


def test_seats_bound_what_runs() -> None:
    """No more than max_num_seqs run at once; the others wait and come in order."""
    batcher = engine(seats=2)
    for n in range(4):
        batcher.on(Submit(str(n), 4, 3), 0.0)
    batcher.on(Woke(), batcher.next_wake() or 0.0)
    assert (batcher.running, batcher.waiting) == (2, 2)
    assert list(ends(drain(batcher))) == ["0", "1", "2", "3"]


def test_a_long_prompt_is_read_in_chunks_while_others_go_on() -> None:
    """With a token budget of 8, a prompt of 40 takes several steps, and a running sequence gets a token in each."""
    batcher = engine(budget=8)
    batcher.on(Submit("short", 4, 10), 0.0)
    batcher.on(Woke(), 1.04)
    batcher.on(Submit("long", 40, 1), 1.5)
    told = drain(batcher)
    before = [order for at, order in told if at < ends(told)["long"] and isinstance(order, Emit)]
    assert [order.id for order in before] == ["short"] * 6


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10)), min_size=1, max_size=8), st.integers(1, 16))
def test_no_step_passes_the_token_budget(sizes: list[tuple[int, int]], budget: int) -> None:
    """The tokens that a step takes never pass max_num_batched_tokens (each is priced at one second here)."""
    batcher = engine(StepCost(base_s=0.0, prefill_token_s=1.0, decode_sequence_s=1.0), budget=budget)
    for number, (prompt, answer) in enumerate(sizes):
        batcher.on(Submit(str(number), prompt, answer), 0.0)
    last = 0.0
    while (wake := batcher.next_wake()) is not None:
        assert 1 <= wake - last <= budget
        batcher.on(Woke(), wake)
        last = wake


def test_a_known_prefix_shortens_the_prefill() -> None:
    """A second prompt with the same blocks computes only its last tokens and says how many it found."""
    batcher, hashes = engine(), tuple(range(25))
    cold = ends(run(batcher, Submit("a", 100, 1, hashes)))["a"]
    batcher.on(Submit("b", 100, 1, hashes), 10.0)
    told = drain(batcher)
    assert cold == pytest.approx(2.0)
    assert ends(told)["b"] - 10.0 == pytest.approx(1.04)
    assert told[-1][1] == Finish("b", 100, 1, 96, "length")
    assert (batcher.counters.prefix_queries, batcher.counters.prefix_hits) == (200, 96)


def test_an_answer_can_be_a_prefix_too() -> None:
    """Blocks that an answer filled are found by a prompt that repeats prompt and answer."""
    batcher = engine()
    run(batcher, Submit("turn 1", 6, 7, (1, 2, 3)))
    batcher.on(Submit("turn 2", 16, 1, (1, 2, 3, 4)), 50.0)
    assert drain(batcher)[-1][1] == Finish("turn 2", 16, 1, 12, "length")


def test_preemption_recomputes_and_finishes() -> None:
    """Two sequences that do not fit together both finish with all their tokens, the younger one later."""
    batcher = engine(blocks=6)
    told = run(batcher, Submit("old", 8, 12), Submit("young", 8, 12))
    assert batcher.counters.preemptions >= 1
    assert sum(order.tokens for _, order in told if isinstance(order, Emit)) == 24
    assert [order.first for _, order in told if isinstance(order, Emit)].count(True) == 2
    assert ends(told)["old"] < ends(told)["young"]
    assert batcher.memory.used_blocks == 0


def test_a_preempted_sequence_comes_back_first() -> None:
    """It goes before those that have waited longer."""
    batcher = engine(blocks=6, seats=2)
    told = run(batcher, Submit("old", 8, 12), Submit("young", 8, 12), Submit("next", 4, 15))
    assert list(ends(told)) == ["old", "young", "next"]
    assert batcher.counters.preemptions == 2


def test_no_one_is_admitted_in_a_step_that_preempts() -> None:
    """Not even where a first chunk would fit: it would only be thrown out again."""
    batcher = engine(blocks=6, budget=8)
    batcher.on(Submit("old", 8, 12), 0.0)
    batcher.on(Submit("young", 8, 12), 0.0)
    while batcher.counters.preemptions == 0:
        batcher.on(Woke(), batcher.next_wake() or 0.0)
    assert (batcher.running, batcher.waiting) == (1, 1)


@pytest.mark.parametrize(
    "submit, why", [(Submit("a", 0, 5), "empty"), (Submit("a", 50, 15), "too_long"), (Submit("a", 33, 1), "too_long")]
)
def test_the_impossible_is_rejected(submit: Submit, why: str) -> None:
    """A prompt that is empty, passes the model's length with its answer, or the whole KV cache, is not taken."""
    batcher = engine(blocks=8, length=64)
    assert batcher.on(submit, 0.0) == [Reject("a", why)]  # type: ignore[arg-type]
    assert batcher.next_wake() is None


def test_waiting_is_bounded() -> None:
    """Beyond max_waiting a sequence is rejected at once."""
    batcher = engine(seats=1, waiting=1)
    batcher.on(Submit("runs", 4, 4), 0.0)
    assert batcher.on(Submit("waits", 4, 4), 0.0) == []
    assert batcher.on(Submit("too many", 4, 4), 0.0) == [Reject("too many", "queue_full")]


def test_a_repeated_id_is_a_bug() -> None:
    """Submitting an id that has not ended raises; once it has ended it is free again."""
    batcher = engine()
    batcher.on(Submit("a", 4, 1), 0.0)
    with pytest.raises(ValueError, match="has not ended"):
        batcher.on(Submit("a", 4, 1), 0.0)
    drain(batcher)
    batcher.on(Submit("a", 4, 1), 9.0)


def test_abort_frees_seat_and_blocks_in_every_phase() -> None:
    """Waiting, reading its prompt, or generating: an aborted sequence ends at once and the other takes its place."""
    for steps in (0, 1, 3):
        batcher = engine(seats=1, budget=8)
        batcher.on(Submit("a", 12, 9), 0.0)
        batcher.on(Submit("b", 4, 1), 0.0)
        for _ in range(steps):
            batcher.on(Woke(), batcher.next_wake() or 0.0)
        now = batcher.next_wake() or 0.0
        (finish,) = [order for order in batcher.on(Abort("a"), now - 0.5) if isinstance(order, Finish)]
        assert (finish.id, finish.reason) == ("a", "abort")
        told = drain(batcher)
        assert list(ends(told)) == ["b"]
        assert [order for _, order in told if isinstance(order, Emit)] == [Emit("b", 1, True)]
        assert batcher.memory.used_blocks == 0


def test_abort_of_a_waiting_one_leaves_the_others() -> None:
    """A sequence that waits is taken out of the queue, and an unknown id is ignored."""
    batcher = engine(seats=1)
    for name in "abc":
        batcher.on(Submit(name, 4, 2), 0.0)
    batcher.on(Abort("b"), 0.1)
    assert batcher.on(Abort("nobody"), 0.1) == []
    assert list(ends(drain(batcher))) == ["a", "c"]


def test_a_prompt_without_an_answer_only_reads() -> None:
    """max_tokens 0 (an embedding) ends when the prompt is read, without a token."""
    batcher = engine()
    assert run(batcher, Submit("a", 10, 0)) == [(1.1, Finish("a", 10, 0, 0, "length"))]
    assert (batcher.counters.prompt_tokens, batcher.counters.generation_tokens) == (10, 0)


def test_a_late_pump_changes_nothing_but_when() -> None:
    """Woken once, far too late, the engine gives the very orders that it would have given in time."""
    late = engine()
    late.on(Submit("a", 10, 5), 0.0)
    late.on(Submit("b", 20, 3), 0.0)
    orders = late.on(Woke(), 1000.0)
    assert orders == [order for _, order in run(engine(), Submit("a", 10, 5), Submit("b", 20, 3))]
    assert late.counters.e2e_s.sum < 20


def test_speed_and_slowness_scale_time() -> None:
    """Twice the speed halves every step; a slowed engine takes its factor longer from the next step on."""
    batcher = Batcher(EngineSpec(cost=COST, speed=2.0))
    assert ends(run(batcher, Submit("a", 10, 1)))["a"] == pytest.approx(0.55)
    batcher.on(Slowed(4.0), 10.0)
    batcher.on(Submit("b", 10, 1), 10.0)
    assert ends(drain(batcher))["b"] == pytest.approx(12.2)


def test_counters_tell_what_happened() -> None:
    """Totals, reasons and latencies are those of the two sequences that ran."""
    batcher = engine()
    run(batcher, Submit("a", 10, 3, reason="stop"), Submit("b", 4, 2), Submit("c", 4, 2), Abort("c"))
    counters = batcher.counters
    assert (counters.prompt_tokens, counters.generation_tokens) == (14, 5)
    assert counters.finished == {"stop": 1, "length": 1, "abort": 1}
    assert counters.ttft_s.count == counters.e2e_s.count == counters.queue_s.count == 2
    assert counters.inter_token_s.count == 3
    assert counters.request_generation_tokens.sum == 5


Step = tuple[str, int, int, int]
MOVES = st.lists(
    st.tuples(st.sampled_from(["submit", "abort", "wait"]), st.integers(0, 30), st.integers(0, 12), st.integers(0, 3)),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(MOVES, st.integers(1, 4), st.integers(1, 12), st.integers(2, 14))
def test_every_sequence_ends_exactly_once(moves: list[Step], seats: int, budget: int, blocks: int) -> None:
    """Random submits, aborts and waits: each sequence ends once, with all its tokens unless aborted; nothing leaks."""
    batcher = engine(seats=seats, budget=budget, blocks=blocks)
    now, orders, wanted = 0.0, list[Order](), dict[str, Submit]()
    for number, (kind, one, two, family) in enumerate(moves):
        if kind == "submit":
            hashes = tuple(100 * family + block for block in range((one + two) // 4))
            wanted[str(number)] = Submit(str(number), one, two, hashes if family else ())
            orders += batcher.on(wanted[str(number)], now)
        elif kind == "abort":
            orders += batcher.on(Abort(str(one % (number + 1))), now)
        else:
            now += one / 10
            orders += batcher.on(Woke(), now)
        assert batcher.running <= seats
        assert batcher.memory.used_blocks <= blocks
    orders += [order for _, order in drain(batcher)]
    emitted = dict.fromkeys(wanted, 0)
    over: list[str] = []
    for order in orders:
        if isinstance(order, Emit):
            assert order.id not in over
            assert order.first == (emitted[order.id] == 0)
            emitted[order.id] += order.tokens
            continue
        over.append(order.id)
        if isinstance(order, Finish):
            assert order.completion_tokens == emitted[order.id]
            assert order.reason == "abort" or order.completion_tokens == wanted[order.id].max_tokens
    assert sorted(over) == sorted(wanted)
    assert (batcher.running, batcher.waiting, batcher.memory.used_blocks) == (0, 0, 0)
