"""Playbooks of calls that go together: who waits for whom, what becomes of a group, and that each call ends once."""

from typing import Any

import pytest

from penstock.base.nouns import Usage
from penstock.core.effects import Aboard, Cancel, Carry, Effect, Record, Refuse, Send
from penstock.core.events import Arrived, Began, ClientGone, Ended, Event, Failed, FleetSeen, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec
from penstock.core.spec import BatchingSpec, ExplainSpec, GateSpec, HedgeSpec, QueueSpec, RetrySpec
from tests.core.playbook import USED, call, fleet, gate, house, kinds, nothing_held, pool, record, send, sends, tell

PATH = "/v1/embeddings"
SPEC = BatchingSpec(size=3)


def embed(id: str, alike: str = "k", **fields: Any) -> Arrived:
    """A request for an embedding is here."""
    return Arrived(call(id, **{"path": PATH, "body_bytes": 100, "prompt_tokens": 10, **fields}), alike)


def carry(first: str, *ids: str, queue_s: float = 0.0) -> Carry:
    """These go as one."""
    return Carry(f"group/{first}", tuple(Aboard(id, queue_s) for id in (first, *ids)))


def busy(*ids: str, seats: int = 4, spec: BatchingSpec = SPEC, **fields: Any) -> Gate:
    """A house in which `c0` is out, so that others of its kind wait for each other."""
    machine = house(*(ids or ("a",)), seats=seats, batching=spec, **fields)
    assert machine.on(embed("c0"), 0.0) == [send("c0", 1, "a")]
    return machine


def grouped(*ids: str, **fields: Any) -> Gate:
    """The same with a group of `c1`, `c2` and `c3` at a replica since 0.0."""
    machine = busy(*ids, **fields)
    orders = tell(machine, embed("c1"), embed("c2"), embed("c3"), now=0.0)
    assert kinds(orders) == ["Carry", "Send"]
    return machine


def row(id: str, **fields: Any) -> Record:
    """The row of an embedding."""
    return record(id, path=PATH, **fields)


def outcomes(orders: list[Effect]) -> dict[str, str]:
    """How which calls ended."""
    return {order.row.id: order.row.outcome for order in orders if isinstance(order, Record)}


# ===== who waits for whom =====


def test_who_is_alone_goes_at_once() -> None:
    """While none of its kind is out, a call has nobody to wait for; and no alarm is set."""
    machine = house("a", seats=4, batching=SPEC)
    for number in range(3):
        now = float(number)
        assert machine.on(embed(f"c{number}"), now) == [send(f"c{number}", 1, "a")]
        assert machine.next_wake() is None
        assert outcomes(machine.on(Ended(f"c{number}", 1, 200), now)) == {f"c{number}": "ok"}
    assert nothing_held(machine)


def test_enough_of_a_kind_go_as_one() -> None:
    """The third fills the group: one request, on one seat."""
    machine = busy()
    assert tell(machine, embed("c1"), embed("c2"), now=0.01) == []
    assert machine.on(embed("c3"), 0.03) == [
        Carry("group/c1", (Aboard("c1", 0.03 - 0.01), Aboard("c2", 0.03 - 0.01), Aboard("c3", 0.0))),
        send("group/c1", 1, "a"),
    ]
    assert machine.counts()["seats_taken"] == 2


def test_those_that_are_there_go_when_the_first_has_waited() -> None:
    """After 50 ms by default; one that is still alone then goes alone."""
    machine = busy()
    tell(machine, embed("c1"), embed("c2"), now=0.01)
    assert machine.next_wake() == pytest.approx(0.06)
    assert kinds(machine.on(Woke(), 0.0625)) == ["Carry", "Send"]
    machine.on(embed("c3"), 0.07)
    assert sends(machine.on(Woke(), 0.125)) == [("c3", "a")]


def test_when_none_of_the_kind_is_out_nobody_waits() -> None:
    """The end of the last one that is out sends those that have gathered."""
    machine = busy()
    tell(machine, embed("c1"), embed("c2"), now=0.01)
    orders = machine.on(Ended("c0", 1, 200), 0.02)
    assert kinds(orders) == ["Carry", "Send", "Record"]
    assert machine.next_wake() is None


@pytest.mark.parametrize(
    "other",
    [
        embed("c2", "other"), embed("c2", tenant="t2"), embed("c2", priority=0), embed("c2", latency_s=1.0),
        embed("c2", region="eu"), embed("c2", ""),
    ],
)  # fmt: skip
def test_only_what_is_alike_goes_together(other: Arrived) -> None:
    """Parameters, tenant, priority, patience and region: who differs in one of them is of another kind, and goes at
    once when it is the first of it."""
    machine = busy()
    assert machine.on(embed("c1"), 0.0) == []
    assert sends(machine.on(other, 0.0)) == [("c2", "a")]


@pytest.mark.parametrize(
    "fields",
    [{"body_bytes": 5000}, {"stream": True}, {"session": "s"}, {"choices": 2}, {"path": "/v1/completions"}],
)
def test_what_does_not_suit_goes_alone(fields: dict[str, Any]) -> None:
    """Large requests, streams, sessions, several choices, and completions unless they are asked for."""
    machine = busy()
    assert sends(machine.on(embed("c1", **fields), 0.0)) == [("c1", "a")]


def test_a_pool_says_which_models_and_whether_completions() -> None:
    """`models` names those that go together; `completions` lets those in."""
    machine = busy(spec=BatchingSpec(models=("other",)))
    assert sends(machine.on(embed("c1"), 0.0)) == [("c1", "a")]
    machine = busy(spec=BatchingSpec(completions=True, models=("m",)))
    tell(machine, embed("c1", path="/v1/completions"), now=0.0)
    assert machine.on(embed("c2", path="/v1/completions"), 0.0) == []


def test_without_batching_nothing_waits() -> None:
    """A pool that does not ask for it sends each alone, whatever is alike."""
    machine = house("a", seats=4)
    assert sends(tell(machine, embed("c1"), embed("c2"), now=0.0)) == [("c1", "a"), ("c2", "a")]


# ===== a group's answer =====


def test_each_gets_its_part() -> None:
    """One row a call with its own usage, none for the group, which then is over."""
    machine = grouped()
    parts = [machine.on(Ended(f"c{number}", 1, 200, Usage(number, 0)), 1.0) for number in (1, 2, 3)]
    assert parts == [[row(f"c{number}", latency_s=1.0, usage=Usage(number, 0))] for number in (1, 2, 3)]
    assert machine.on(Ended("group/c1", 1, 200, Usage(6, 0)), 1.0) == [Carry("group/c1")]
    machine.on(Ended("c0", 1, 200), 1.0)
    assert nothing_held(machine)


def test_a_group_waits_for_a_seat_like_a_call() -> None:
    """It holds one place, and its calls' time there counts as queued."""
    machine = busy(seats=1)
    assert tell(machine, embed("c1"), embed("c2"), embed("c3"), now=0.0) == []
    assert machine.counts()["waiting"] == 1
    orders = machine.on(Ended("c0", 1, 200), 2.0)
    assert orders[-2:] == [carry("c1", "c2", "c3", queue_s=2.0), send("group/c1", 1, "a", queue_s=2.0)]
    (ended,) = machine.on(Ended("c2", 1, 200, USED), 3.0)
    assert ended == row("c2", latency_s=3.0, queue_s=2.0, usage=USED)


def test_a_group_that_gets_no_seat_is_refused_call_by_call() -> None:
    """Each of its clients is told, once, by its own id."""
    machine = busy(seats=1, queue=QueueSpec(timeout_s=1.0))
    tell(machine, embed("c1"), embed("c2"), embed("c3"), now=0.0)
    orders = machine.on(Woke(), 1.0)
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c1", "c2", "c3"]
    assert outcomes(orders) == dict.fromkeys(("c1", "c2", "c3"), "queue_timeout")
    machine.on(Ended("c0", 1, 200), 1.0)
    assert nothing_held(machine)


# ===== what goes wrong =====


def test_a_group_that_an_engine_does_not_answer_is_tried_call_by_call() -> None:
    """At once, outside of the retry budget, and even where a call has one attempt: none of them has had its own."""
    machine = grouped(retries=RetrySpec(attempts=1, budget=0.0, budget_min_per_s=0.0))
    orders = machine.on(Failed("group/c1", 1, "bad_request", 400), 1.0)
    assert orders == [Carry("group/c1"), send("c1", 2, "a"), send("c2", 2, "a"), send("c3", 2, "a")]
    ends: list[Event] = [
        Ended("c1", 2, 200),
        Ended("c2", 2, 400),
        Failed("c3", 2, "upstream_5xx", 500),
        Ended("c0", 1, 200),
    ]
    assert outcomes(tell(machine, *ends, now=2.0)) == {"c1": "ok", "c2": "ok", "c3": "upstream_5xx", "c0": "ok"}
    assert nothing_held(machine)


def test_calls_of_a_failed_group_go_to_another_replica() -> None:
    """Where the failure blames the first, as after any attempt, and also after the group's answer had begun: no client
    has seen any of it."""
    machine = grouped("a", "b")
    (at,) = [seat.id for seat in machine._fleet.seats.values() if seat.in_flight and seat.id == "b"]
    machine.on(Began("group/c1", 1), 0.5)
    orders = machine.on(Failed("group/c1", 1, "died_mid_answer"), 1.0)
    assert at == "b"
    assert sends(orders) == [("c1", "a"), ("c2", "a"), ("c3", "a")]


def test_a_group_that_no_engine_has_seen_is_tried_again_as_one() -> None:
    """A connection that could not be had says nothing of the calls."""
    machine = grouped("a", "b")
    orders = machine.on(Failed("group/c1", 1, "connect_refused"), 1.0)
    assert orders == [carry("c1", "c2", "c3"), send("group/c1", 2, "a")]
    (ended,) = machine.on(Ended("c1", 2, 200, USED), 2.0)
    assert ended == row("c1", latency_s=2.0, attempts=2, usage=USED)


def test_its_last_attempt_fails_for_all() -> None:
    """Where nobody can be reached, each call is told why."""
    machine = grouped("a", retries=RetrySpec(attempts=1))
    orders = machine.on(Failed("group/c1", 1, "connect_refused"), 1.0)
    assert outcomes(orders) == dict.fromkeys(("c1", "c2", "c3"), "connect_refused")


def test_who_leaves_while_it_gathers_is_not_sent() -> None:
    """The others keep their time, also where the first leaves, whose alarm it was."""
    machine = busy()
    tell(machine, embed("c1"), now=0.0)
    tell(machine, embed("c2"), now=0.03)
    assert outcomes(machine.on(ClientGone("c1"), 0.04)) == {"c1": "client_gone"}
    assert machine.next_wake() == pytest.approx(0.05)
    assert sends(machine.on(Woke(), 0.05)) == [("c2", "a")]


def test_who_leaves_a_group_that_waits_is_not_sent() -> None:
    """Its order to carry does not name it."""
    machine = busy(seats=1)
    tell(machine, embed("c1"), embed("c2"), embed("c3"), now=0.0)
    assert outcomes(machine.on(ClientGone("c2"), 1.0)) == {"c2": "client_gone"}
    assert carry("c1", "c3", queue_s=2.0) in machine.on(Ended("c0", 1, 200), 2.0)


def test_who_leaves_a_group_that_is_out_stops_it_only_as_the_last() -> None:
    """Its part is thrown away; when all have left, so is the request."""
    machine = grouped()
    assert kinds(tell(machine, ClientGone("c1"), ClientGone("c3"), now=1.0)) == ["Record", "Record"]
    assert machine.on(ClientGone("c2"), 1.0)[:2] == [Cancel("group/c1", 1), Carry("group/c1")]
    machine.on(Ended("c0", 1, 200), 1.0)
    assert nothing_held(machine)


def test_a_part_that_comes_too_late_means_nothing() -> None:
    """Of an attempt that is not the group's, or for a call that has left it."""
    machine = grouped()
    assert machine.on(Ended("c1", 2, 200), 1.0) == []
    machine.on(ClientGone("c1"), 1.0)
    assert machine.on(Ended("c1", 1, 200), 1.0) == []


def test_a_reload_sends_nobody_into_a_pool_that_is_gone() -> None:
    """Those that gather look for a place anew, alone; groups that wait go where their model is served now."""
    machine = busy(seats=1)
    tell(machine, embed("c1"), embed("c2"), embed("c3"), embed("c4"), now=0.0)
    other = pool("other", batching=SPEC)
    machine.on(Reconfigured(GateSpec(pools=(other,))), 1.0)
    orders = machine.on(FleetSeen(fleet("z", max_concurrent_requests=4, pool="other").replicas), 1.0)
    assert sorted(sends(orders)) == [("c4", "z"), ("group/c1", "z")]


# ===== limits, and why =====


def test_every_call_of_a_group_has_its_own_place_before_a_limit() -> None:
    """Limits count calls, not requests to engines; each is charged its part, and told of its limits."""
    limits = LimitsSpec(tenants={"anonymous": AllowanceSpec(requests_per_minute=4, tokens_per_minute=100_000)})
    machine = gate(pool(batching=SPEC), limits=limits)
    machine.on(fleet("a", max_concurrent_requests=4), 0.0)
    orders = tell(machine, *[embed(f"c{number}") for number in range(5)], now=0.0)
    assert outcomes(orders) == {"c4": "request_limit"}
    (carried,) = [order for order in orders if isinstance(order, Carry)]
    assert all(one.rates is not None and one.rates.remaining_requests == 0 for one in carried.aboard)
    for number in (1, 2, 3):
        machine.on(Ended(f"c{number}", 1, 200, Usage(number, 0)), 1.0)
    machine.on(Ended("group/c1", 1, 200, Usage(6, 0)), 1.0)
    machine.on(Ended("c0", 1, 200, Usage(10, 0)), 1.0)
    (view,) = machine.accounts(1.0)
    assert [gauge.used for gauge in view.limits] == [4.0, 16.0]
    assert nothing_held(machine)


def test_a_call_remembers_what_its_group_has_been_through() -> None:
    """Its way tells with how many it went, and then the group's steps."""
    machine = gate(pool(batching=SPEC), explain=ExplainSpec(calls=10))
    machine.on(fleet("a", max_concurrent_requests=1), 0.0)
    tell(machine, *[embed(f"c{number}") for number in range(4)], now=0.0)
    machine.on(Ended("c0", 1, 200), 1.0)
    machine.on(Ended("c2", 1, 200), 2.0)
    trail = machine.trail("c2", 2.0)
    assert trail is not None
    assert [type(step).__name__ for step in trail.steps()] == ["Joined", "Queued", "Unqueued", "Chosen"]
    assert trail.size == trail.last.size + 600  # type: ignore[union-attr]


def test_nobody_hedges_a_group() -> None:
    """Its calls have waited for each other already."""
    machine = grouped("a", "b", hedge=HedgeSpec(delay_s=0.1, budget=1.0))
    sent = [order for order in machine.on(Woke(), 5.0) if isinstance(order, Send)]
    assert [order.id for order in sent] == ["c0"]
