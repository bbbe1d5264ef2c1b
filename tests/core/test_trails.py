"""Trails: what is remembered of each call's way, and how much of it."""

from math import inf
from struct import unpack
from typing import Any

import pytest

from penstock.base.nouns import Usage
from penstock.core.events import ClientGone, Ended, Failed, FleetSeen, Observed, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.route.presets import Adaptive, ConsistentHash, GpuAware, P2CPeakEwma, PrefixAware
from penstock.core.spec import ExplainSpec, GateSpec, QueueSpec, RetrySpec, ShedSpec, SlowStartSpec, StickySpec
from penstock.core.steps import Chosen, Denied, Lost, Moved, Paused, Queued, Refused, Step, Unqueued
from penstock.core.trails import MOST_BYTES, Trails
from tests.core.playbook import arrived, fleet, gate, kinds, pool, replica, sends, stats, tell
from tests.core.test_ahead import asked


def remembering(*ids: str, seats: int = 1, explain: ExplainSpec | None = None, **fields: Any) -> Gate:
    """A Gate of the pool `main` with these replicas, that remembers."""
    made = gate(pool(**fields), explain=explain or ExplainSpec())
    made.on(fleet(*ids, max_concurrent_requests=seats), 0.0)
    return made


def steps(machine: Gate, id: str, now: float = 99.0) -> list[Step]:
    """The way of a call."""
    found = machine.trail(id, now)
    assert found is not None
    return found.steps()


def names(machine: Gate, id: str) -> list[str]:
    """The kinds of its steps."""
    return [type(step).__name__ for step in steps(machine, id)]


def chosen(machine: Gate, id: str, nth: int = -1) -> Chosen:
    """One of its choices."""
    return [step for step in steps(machine, id) if isinstance(step, Chosen)][nth]


def ok(id: str, attempt: int = 1) -> Ended:
    """An answer is complete."""
    return Ended(id, attempt, 200, Usage(10, 5))


# ===== choices =====


def test_every_candidate_has_every_scorers_number() -> None:
    """Who could have had it, what each scorer said of whom, and with which weight."""
    machine = remembering("a", "b", seats=4)
    tell(machine, arrived("c1"), arrived("c2"), now=1.0)
    assert chosen(machine, "c2") == Chosen(
        1.0, None, chosen(machine, "c2").size, 1, "b", "main", "m", "least_connections", "scores", "best",
        ("a", "b"), (("fewest_in_flight", 1.0),), chosen(machine, "c2").numbers, 2, (), 0, (),
    )  # fmt: skip
    assert unpack("2f", chosen(machine, "c2").numbers) == (0.5, 1.0)


def test_scores_stand_scorer_by_scorer() -> None:
    """Four scorers over two replicas: eight numbers, the first scorer's first."""
    machine = remembering("a", "b", seats=10, strategy=Adaptive(load=0.4))
    tell(
        machine, Observed("a", stats(waiting=0, kv_usage=0.25)), Observed("b", stats(waiting=0, kv_usage=0.5)), now=1.0
    )
    machine.on(arrived("c1"), 1.0)
    choice = chosen(machine, "c1")
    assert choice.scorers == (("load", 0.4), ("latency", 0.3), ("errors", 0.2), ("gpu", 0.2))
    assert unpack("8f", choice.numbers) == (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5)


def test_who_was_left_out_and_why() -> None:
    """No free seat, draining, other models, a backup: each replica that was no candidate has its reason."""
    machine = gate(pool(), explain=ExplainSpec())
    members = (
        replica("a"), replica("b"), replica("c", drain=True), replica("d", models={"other": "other"}),
        replica("e", backup=True),
    )  # fmt: skip
    machine.on(FleetSeen(members), 0.0)
    tell(machine, arrived("c1"), arrived("c2"), now=1.0)
    choice = chosen(machine, "c2")
    assert (choice.candidates, choice.left_count) == (("b",), 4)
    assert choice.left == ("c", "draining", "d", "other models", "e", "backup", "a", "no free seat")


def test_a_replica_that_failed_it_is_left_out() -> None:
    """The second attempt goes elsewhere, and says that the first replica was tried before."""
    machine = remembering("a", "b")
    machine.on(arrived("c1"), 1.0)
    assert sends(machine.on(Failed("c1", 1, "closed_early", 502), 2.0)) == [("c1", "b")]
    first, lost, second = steps(machine, "c1")
    assert isinstance(first, Chosen)
    assert lost == Lost(2.0, first, lost.size, 1, "a", "closed_early", 502, None)
    assert isinstance(second, Chosen)
    assert (second.attempt, second.replica, second.left) == (2, "b", ("a", "tried before"))


def test_a_newcomer_sits_choices_out() -> None:
    """A replica that is warming up is left out as a slow start."""
    machine = remembering("a", slow_start=SlowStartSpec(window_s=30, minimum=0))
    machine.on(arrived("c0"), 0.0)
    tell(machine, ok("c0"), fleet("a", "b"), arrived("c1"), now=100.0)
    assert chosen(machine, "c1").left == ("b", "slow start")


def test_filters_are_named() -> None:
    """Who a filter leaves out has its name for a reason; a filter that leaves nobody was passed over, and is told."""
    machine = remembering("a", "b", strategy=GpuAware())
    tell(machine, Observed("a", stats(gpu_utilisation=0.9)), Observed("b", stats(gpu_utilisation=0.1)), now=1.0)
    tell(machine, arrived("c1"), now=1.0)
    assert (chosen(machine, "c1").replica, chosen(machine, "c1").left) == ("b", ("a", "filter within_limits"))
    tell(machine, arrived("c2"), now=1.0)
    assert chosen(machine, "c2").note == ("within_limits",)
    assert chosen(machine, "c2").scorers == (("load", 1.0),)


def test_a_session_goes_where_it_was() -> None:
    """The bond had the word: nothing was scored."""
    machine = remembering("a", "b", seats=4, sticky=StickySpec(header="x-session"))
    tell(machine, arrived("c1", session="s"), arrived("c2", session="s"), now=1.0)
    assert (chosen(machine, "c1").how, chosen(machine, "c2").how) == ("scores", "bond")
    assert (chosen(machine, "c2").candidates, chosen(machine, "c2").numbers) == (("a",), b"")


def test_a_key_goes_around_the_ring() -> None:
    """The owner and the kind of key are told, and why the owner was passed over."""
    machine = remembering("a", "b", strategy=ConsistentHash())
    tell(machine, arrived("c1", session="s"), arrived("c2", session="s"), now=1.0)
    owner = chosen(machine, "c1").replica
    assert (chosen(machine, "c1").how, chosen(machine, "c1").note) == ("ring", (owner, "session"))
    assert chosen(machine, "c1").left == ()
    assert chosen(machine, "c2").replica != owner
    assert (chosen(machine, "c2").note, chosen(machine, "c2").left) == ((owner, "session"), (owner, "no free seat"))


def test_the_two_that_were_drawn() -> None:
    """Power of two choices tells both, with what each would cost."""
    machine = remembering("a", "b", seats=4, strategy=P2CPeakEwma())
    machine.on(arrived("c1"), 1.0)
    choice = chosen(machine, "c1")
    assert {choice.note[0], choice.note[2]} == {"a", "b"}
    assert (choice.note[1], choice.note[3], choice.scorers) == (1.0, 1.0, ())


def test_of_many_a_sample() -> None:
    """Of a hundred replicas 64 are candidates, and the chosen one is among them."""
    machine = remembering(*(f"r{number}" for number in range(100)), seats=2)
    machine.on(arrived("c1"), 1.0)
    choice = chosen(machine, "c1")
    assert (len(choice.candidates), choice.usable, choice.left_count) == (64, 100, 0)
    assert choice.replica in choice.candidates


def test_numbers_that_are_none_cost_no_call() -> None:
    """A scorer of somebody else's that answers nonsense is not packed, and nothing is raised."""
    trails = Trails(ExplainSpec())
    assert trails._packed([["much"]]) == b""  # type: ignore[list-item]
    assert unpack("f", trails._packed([[1e300]])) == (inf,)
    assert trails._packed([[0.5, 0.5], [0.5]]) == b""
    assert len(trails._packed([[0.5, 0.5], [0.5, 0.5]])) == 16


# ===== waiting =====


def test_who_was_ahead_and_who_got_a_seat_meanwhile() -> None:
    """At entry: who waits, by priority and tenant. At the end: who was served while it waited, by priority."""
    machine = remembering("a")
    tell(machine, arrived("c1"), arrived("c2", tenant="x"), arrived("c3", priority=1), now=1.0)
    machine.on(arrived("c4", tenant="x"), 2.0)
    queued = steps(machine, "c4")[0]
    assert isinstance(queued, Queued)
    assert (queued.why, queued.waiting, queued.better, queued.equal, queued.own) == ("behind", 2, 1, 1, 1)
    first = steps(machine, "c2")[0]
    assert isinstance(first, Queued)
    assert (first.why, first.waiting) == ("full", 0)
    for at, id in ((3.0, "c1"), (4.0, "c3"), (5.0, "c2")):
        machine.on(ok(id), at)
    assert names(machine, "c4") == ["Queued", "Unqueued", "Chosen"]
    left = steps(machine, "c4")[1]
    assert isinstance(left, Unqueued)
    assert (left.at, left.waiting, left.meanwhile) == (5.0, 0, (0, 1, 1, 0, 0))


def test_who_went_first_by_prefix_cache_is_told() -> None:
    """Of the call that went before others, and of those that it went before; a later attempt says nothing of it."""
    machine = remembering("a", strategy=PrefixAware())
    machine.on(asked("p"), 0.0)
    tell(machine, asked("q2"), asked("q3"), asked("p2"), now=1.0)
    machine.on(Ended("p", 1, 200), 2.0)
    machine.on(Failed("p2", 1, "closed_early"), 3.0)
    machine.on(Woke(), 4.0)
    machine.on(ok("q2"), 5.0)
    out_of_turn = {
        id: [(step.overtaken, step.overtook) for step in steps(machine, id) if isinstance(step, Unqueued)]
        for id in ("p2", "q2")
    }
    assert out_of_turn == {"p2": [(0, 2), (0, 0)], "q2": [(1, 0)]}


def test_a_tenants_account_is_told() -> None:
    """Who has had much stands above the pool's account, and its weight is told."""
    machine = remembering("a", queue=QueueSpec(weights={"big": 2.0}, burst=0))
    tell(machine, arrived("c1", tenant="big", prompt_tokens=999, max_tokens=0), arrived("c2", tenant="big"), now=1.0)
    queued = steps(machine, "c2")[0]
    assert isinstance(queued, Queued)
    assert (queued.lead, queued.weight) == (500.0, 2.0)  # (999 + 1) / 2


def test_a_queue_that_is_full_says_its_numbers() -> None:
    """The refusal tells what was waiting against which bound."""
    machine = remembering("a", queue=QueueSpec(max=1))
    orders = tell(machine, arrived("c1"), arrived("c2"), arrived("c3"), now=1.0)
    assert kinds(orders) == ["Send", "Refuse", "Record"]
    (refused,) = steps(machine, "c3")
    assert isinstance(refused, Refused)
    assert (refused.label, refused.waiting, refused.here, refused.equal, refused.own) == ("queue_full", 1, 1, 1, 1)


def test_a_saturated_pool_says_how_much() -> None:
    """The saturation that closed it is told."""
    machine = remembering("a", seats=4, queue=QueueSpec(shed=ShedSpec(mode="refuse", kv_usage=0.5)))
    tell(machine, Observed("a", stats(waiting=0, kv_usage=0.75)), arrived("c1"), now=1.0)
    (refused,) = steps(machine, "c1")
    assert isinstance(refused, Refused)
    assert (refused.label, refused.saturation) == ("saturated", 1.5)


def test_held_back_calls_say_so() -> None:
    """A call that waits for better numbers of the engines, and not for a seat, is told apart."""
    machine = remembering("a", seats=4, queue=QueueSpec(shed=ShedSpec(mode="hold", kv_usage=0.5)))
    tell(machine, Observed("a", stats(waiting=0, kv_usage=0.75)), arrived("c1"), now=1.0)
    assert [step.why for step in steps(machine, "c1") if isinstance(step, Queued)] == ["held"]


def why(machine: Gate, id: str) -> list[str]:
    """Why a call waits, or waited."""
    return [step.why for step in steps(machine, id) if isinstance(step, Queued)]


def test_other_reasons_to_wait() -> None:
    """The pool's bound on calls in flight, a tenant's share, and the one replica that a session is pinned to."""
    bound = remembering("a", seats=4, queue=QueueSpec(max_in_flight=1))
    tell(bound, arrived("c1"), arrived("c2"), now=1.0)
    assert why(bound, "c2") == ["bound"]
    share = remembering("a", seats=2, queue=QueueSpec(max_share=0.5))
    tell(share, arrived("c1", tenant="x"), arrived("c2", tenant="y"), arrived("c3", tenant="x"), now=1.0)
    assert why(share, "c3") == ["share"]
    pinned = remembering("a", "b", sticky=StickySpec(header="x", pin=True, pin_wait_s=9.0))
    tell(pinned, arrived("c1", session="s"), arrived("c2", session="s"), now=1.0)
    queued = steps(pinned, "c2")[0]
    assert isinstance(queued, Queued)
    assert (queued.why, queued.left) == ("pinned", ("a",))


def test_where_nobody_can_serve() -> None:
    """The wait names who could not, and why."""
    machine = gate(pool(), explain=ExplainSpec())
    machine.on(FleetSeen((replica("a", drain=True),)), 0.0)
    machine.on(arrived("c1"), 1.0)
    (queued,) = steps(machine, "c1")
    assert isinstance(queued, Queued)
    assert (queued.why, queued.left) == ("nobody", ("a", "draining"))


# ===== failing =====


def test_the_budget_is_spent() -> None:
    """No further attempt for want of budget is told, and so is what ended it."""
    machine = remembering("a", "b", retries=RetrySpec(budget=0, budget_min_per_s=0))
    machine.on(arrived("c1"), 1.0)
    machine.on(Failed("c1", 1, "upstream_5xx", 500), 2.0)
    assert names(machine, "c1") == ["Chosen", "Lost", "Denied"]
    (denied,) = [step for step in steps(machine, "c1") if isinstance(step, Denied)]
    assert denied.why == "budget"


@pytest.mark.parametrize(
    ("label", "repeatable", "attempts", "why"),
    [
        ("upstream_5xx", True, 1, "attempts"),
        ("upstream_5xx", False, 3, "unrepeatable"),
        ("answer_too_large", True, 3, "useless"),
    ],
)
def test_why_there_is_no_further_attempt(label: Any, repeatable: bool, attempts: int, why: str) -> None:
    """Used up, not to be done twice, or useless."""
    machine = remembering("a", "b", retries=RetrySpec(attempts=attempts))
    machine.on(arrived("c1", repeatable=repeatable), 1.0)
    machine.on(Failed("c1", 1, label, 500), 2.0)
    assert [step.why for step in steps(machine, "c1") if isinstance(step, Denied)] == [why]


def test_a_pause_before_the_same_replica() -> None:
    """With one replica the second attempt waits for a while."""
    machine = remembering("a", retries=RetrySpec(jitter=0, backoff_s=1))
    machine.on(arrived("c1"), 1.0)
    machine.on(Failed("c1", 1, "upstream_5xx", 500), 2.0)
    assert [(step.at, step.until) for step in steps(machine, "c1") if isinstance(step, Paused)] == [(2.0, 3.0)]
    machine.on(Woke(), 3.0)
    assert names(machine, "c1") == ["Chosen", "Lost", "Paused", "Chosen"]


def test_a_fallback_is_a_move() -> None:
    """A call that goes on to another model says where to."""
    machine = gate(
        pool(retries=RetrySpec(attempts=1)), pool("spare", models=("n",)), fallback={"m": ("n",)},
        explain=ExplainSpec(),
    )  # fmt: skip
    machine.on(FleetSeen((replica("a"), replica("b", pool="spare"))), 0.0)
    machine.on(arrived("c1"), 1.0)
    machine.on(Failed("c1", 1, "upstream_5xx", 500), 2.0)
    assert names(machine, "c1") == ["Chosen", "Lost", "Moved", "Chosen"]
    moved = steps(machine, "c1")[2]
    assert isinstance(moved, Moved)
    assert (moved.pool, moved.model, moved.why) == ("spare", "n", "fallback")


def test_new_settings_move_who_waits() -> None:
    """A call that waits while the configuration changes says so, and waits on."""
    machine = remembering("a")
    tell(machine, arrived("c1"), arrived("c2"), now=1.0)
    machine.on(Reconfigured(GateSpec(pools=(pool(),), explain=ExplainSpec())), 2.0)
    assert names(machine, "c2") == ["Queued", "Unqueued", "Moved", "Queued"]


# ===== what is kept =====


def test_calls_are_found_by_either_id_whether_they_go_on_or_not() -> None:
    """By ours or the client's; a call in flight has its state for an outcome."""
    machine = remembering("a")
    tell(machine, arrived("c1", client_id="mine"), arrived("c2"), now=1.0)
    live = machine.trail("mine", 3.0)
    assert live is not None
    assert (live.over, live.row.outcome, live.row.replica, live.row.latency_s) == (False, "sent", "a", 2.0)
    machine.on(ok("c1"), 4.0)
    over = machine.trail("mine", 5.0)
    assert over is not None
    assert (over.over, over.row.outcome, over.row.latency_s) == (True, "ok", 3.0)
    machine.on(ClientGone("c2"), 6.0)
    assert [trail.row.id for trail in machine.trails()] == ["c2", "c1"]
    assert machine.trail("c3", 7.0) is None


def test_a_refused_duplicate_is_remembered_too() -> None:
    """It never entered, and still it can be asked for."""
    machine = remembering("a")
    tell(machine, arrived("c1", client_id="mine"), arrived("c2", client_id="mine"), now=1.0)
    found = machine.trail("c2", 1.0)
    assert found is not None
    assert found.row.outcome == "duplicate_request_id"


def test_the_oldest_are_forgotten() -> None:
    """At most so many calls, and at most so many bytes."""
    few = remembering("a", explain=ExplainSpec(calls=2))
    small = remembering("a", explain=ExplainSpec(memory_bytes=2000))
    for machine in (few, small):
        for number in range(5):
            tell(machine, arrived(f"c{number}"), ok(f"c{number}"), now=float(number))
        assert [trail.row.id for trail in machine.trails()] == ["c4", "c3"]


def test_switched_off_nothing_is_noted() -> None:
    """With 0 calls nobody takes notes; on and off again by new settings forgets all."""
    machine = remembering("a", explain=ExplainSpec(calls=0))
    tell(machine, arrived("c1"), ok("c1"), now=1.0)
    assert (list(machine.trails()), machine.trail("c1", 1.0)) == ([], None)
    assert all(each.notes is None and each.pipeline.notes is None for each in machine._fleet.pools.values())
    for explain, found in ((ExplainSpec(), 1), (ExplainSpec(calls=5), 2), (ExplainSpec(calls=0), 0)):
        machine.on(Reconfigured(GateSpec(pools=(pool(),), explain=explain)), 2.0)
        tell(machine, arrived("c2"), ok("c2"), now=3.0)
        assert len(list(machine.trails())) == found


def test_a_call_that_goes_on_for_ever_is_bounded() -> None:
    """Its beginning and its last step are kept, and no more than the bound."""
    machine = remembering("a")
    machine.on(arrived("c1"), 1.0)
    flight = machine._calls.books.find("c1")
    assert flight is not None
    trails = Trails(ExplainSpec())
    for number in range(10_000):
        trails.paused(flight, number + 1.0, float(number))
    found = Trails.live(flight, 1.0).steps()
    assert isinstance(found[0], Chosen)
    assert found[-1].at == 9999.0
    assert found[-1].size < MOST_BYTES
    assert len(found) < 400
