"""Playbooks of calls on their way to a replica: sent at once, in a line, bounded, late, to another target. Those whose
attempt has failed stand in `test_chances`."""

from typing import Any

import pytest

from penstock.core.effects import Refuse
from penstock.core.events import ClientGone, Ended, Event, Failed, FleetSeen, Probed, Woke
from penstock.core.spec import BreakerSpec, PoolSpec, ProbeSpec, QueueSpec, RetrySpec
from tests.core.playbook import (
    arrived,
    fleet,
    gate,
    house,
    kinds,
    nothing_held,
    pool,
    record,
    refusals,
    replica,
    send,
    sends,
    tell,
    two_pools,
)

# ===== waiting =====


def test_a_call_waits_here_and_is_bound_late() -> None:
    """With all seats taken a call waits in the gateway, and goes to whichever replica has a free seat first."""
    gate = house("a", "b")
    assert sends(tell(gate, arrived("c1"), arrived("c2"), now=0.0)) == [("c1", "a"), ("c2", "b")]
    assert gate.on(arrived("c3"), 1.0) == []
    assert gate.counts()["waiting"] == 1
    assert gate.on(Ended("c2", 1, 200), 4.0) == [
        record("c2", replica="b", latency_s=4.0),
        send("c3", 1, "b", queue_s=3.0),
    ]
    assert gate.on(Ended("c3", 1, 200), 5.0) == [record("c3", at=1.0, replica="b", latency_s=4.0, queue_s=3.0)]


def test_nobody_is_overtaken_in_a_line() -> None:
    """Calls of one model are sent in the order of their arrival."""
    gate = house("a")
    tell(gate, *(arrived(f"c{n}") for n in range(1, 5)), now=0.0)
    order = [sends(gate.on(Ended(f"c{n}", 1, 200), float(n))) for n in range(1, 5)]
    assert order == [[("c2", "a")], [("c3", "a")], [("c4", "a")], []]
    assert nothing_held(gate)


def test_a_line_waits_only_for_replicas_that_serve_its_model() -> None:
    """A call for one model does not wait behind calls for another that other replicas serve."""
    gate = house("a", models=("m", "n"))
    gate.on(FleetSeen((replica("a", models={"m": "m"}), replica("b", models={"n": "n"}))), 0.0)
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    assert gate.on(arrived("c3", model="n"), 1.0) == [send("c3", 1, "b", "n")]


def test_of_several_lines_the_longest_wait_goes_first() -> None:
    """A seat that serves two models goes to the call that arrived first of both lines."""
    gate = house("a", models=("m", "n"))
    gate.on(arrived("c1"), 0.0)
    gate.on(arrived("c2", model="n"), 1.0)
    gate.on(arrived("c3"), 2.0)
    assert sends(gate.on(Ended("c1", 1, 200), 3.0)) == [("c2", "a")]
    assert sends(gate.on(Ended("c2", 1, 200), 4.0)) == [("c3", "a")]


def test_a_line_that_lost_its_head_is_compared_by_its_next() -> None:
    """When the first of a line leaves, the line is as old as the call behind it."""
    gate = house("a", models=("m", "n"))
    gate.on(arrived("c1"), 0.0)
    gate.on(arrived("c2"), 1.0)
    gate.on(arrived("c3", model="n"), 2.0)
    gate.on(arrived("c4"), 3.0)
    gate.on(ClientGone("c2"), 4.0)
    assert sends(gate.on(Ended("c1", 1, 200), 5.0)) == [("c3", "a")]


def test_an_older_line_without_a_seat_lets_the_next_line_pass() -> None:
    """Of two lines the one that has waited longer goes first only where a replica of its model is free."""
    gate = house("a", models=("m", "n"))
    gate.on(FleetSeen((replica("a", models={"m": "m"}), replica("b", models={"n": "n"}))), 0.0)
    tell(gate, arrived("c1"), arrived("c2", model="n"), arrived("c3"), arrived("c4", model="n"), now=0.0)
    assert sends(gate.on(Ended("c2", 1, 200), 1.0)) == [("c4", "b")]


def test_more_seats_let_waiting_calls_go() -> None:
    """A new replica, or more seats at a known one, are used at once by those who wait."""
    gate = house("a")
    tell(gate, *(arrived(f"c{n}") for n in range(1, 5)), now=0.0)
    assert sends(gate.on(fleet("a", max_concurrent_requests=2), 1.0)) == [("c2", "a")]
    both = FleetSeen((replica("a", max_concurrent_requests=2), replica("b", max_concurrent_requests=9)))
    assert sends(gate.on(both, 2.0)) == [("c3", "b"), ("c4", "b")]


def test_fewer_seats_than_calls_in_flight_hold_back_new_ones() -> None:
    """After the seats were lowered nothing is sent until fewer than that are in flight."""
    gate = house("a", seats=3)
    tell(gate, *(arrived(f"c{n}") for n in range(1, 4)), now=0.0)
    gate.on(fleet("a"), 1.0)
    gate.on(arrived("c4"), 1.0)
    assert kinds(gate.on(Ended("c1", 1, 200), 2.0)) == ["Record"]
    assert kinds(gate.on(Ended("c2", 1, 200), 3.0)) == ["Record"]
    assert sends(gate.on(Ended("c3", 1, 200), 4.0)) == [("c4", "a")]


# ===== bounds =====


def bounded(**fields: Any) -> PoolSpec:
    """The pool `main` with these bounds of its queue."""
    return pool(queue=QueueSpec(**fields))


def test_a_full_queue_refuses_with_retry_after() -> None:
    """One call more than `queue.max` gets 429 at once, with a Retry-After worked out from the pace of the last 10 s."""
    machine = gate(bounded(max=2))
    machine.on(fleet("a"), 0.0)
    tell(machine, *(arrived(f"c{n}") for n in range(1, 4)), now=0.0)
    assert machine.on(arrived("c4"), 0.5) == [
        Refuse("c4", "queue_full", 429, "", 20.0),  # 2 wait, 1 was sent in the last 10 s
        record("c4", "queue_full", 429, at=0.5, replica="", attempts=0),
    ]
    assert machine.counts() == {"flights": 3, "waiting": 2, "held_ids": 0, "limit_holds": 0, "seats_taken": 1}


def test_bodies_that_wait_are_bounded_in_bytes() -> None:
    """A body that would pass `queue.max_bytes` is refused; a smaller one may still wait; what leaves makes room."""
    machine = gate(bounded(max_bytes=100))
    machine.on(fleet("a"), 0.0)
    tell(machine, arrived("c1", body_bytes=500), arrived("c2", body_bytes=60), now=0.0)
    assert refusals(machine.on(arrived("c3", body_bytes=41), 0.0)) == [("c3", "queue_full", 429)]
    assert machine.on(arrived("c4", body_bytes=40), 0.0) == []
    machine.on(ClientGone("c2"), 0.0)
    assert machine.on(arrived("c5", body_bytes=60), 0.0) == []


def test_a_tenant_has_a_bound_of_its_own() -> None:
    """One tenant's waiting calls are bounded, and another's are not touched by that."""
    machine = gate(bounded(max_per_tenant=1))
    machine.on(fleet("a"), 0.0)
    tell(machine, arrived("c1", tenant="x"), arrived("c2", tenant="x"), now=0.0)
    assert refusals(machine.on(arrived("c3", tenant="x"), 0.0)) == [("c3", "tenant_queue_full", 429)]
    assert machine.on(arrived("c4", tenant="y"), 0.0) == []
    assert sends(machine.on(Ended("c1", 1, 200), 1.0)) == [("c4", "a")]  # y has had nothing yet
    assert sends(machine.on(Ended("c4", 1, 200), 1.0)) == [("c2", "a")]
    assert machine.on(arrived("c5", tenant="x"), 1.0) == []


def test_all_pools_together_have_a_bound() -> None:
    """`max_waiting` counts the calls that wait in every pool."""
    machine = gate(pool(), pool("other", models=("n",)), max_waiting=2)
    machine.on(FleetSeen((replica("a"), replica("b", pool="other"))), 0.0)
    tell(machine, arrived("c1"), arrived("c2", model="n"), arrived("c3"), arrived("c4", model="n"), now=0.0)
    assert machine.counts()["waiting"] == 2
    assert refusals(machine.on(arrived("c5"), 0.0)) == [("c5", "queue_full", 429)]
    machine.on(ClientGone("c4"), 0.0)
    assert machine.on(arrived("c6"), 0.0) == []


# ===== late =====


def test_a_call_that_waited_too_long_gets_504_and_is_never_sent() -> None:
    """At its deadline a waiting call is refused with queue_timeout; a seat that frees later is not used for it."""
    gate = house("a")
    tell(gate, arrived("c1"), arrived("c2"), now=10.0)
    assert gate.next_wake() == 40.0
    assert gate.on(Woke(), 40.0) == [
        Refuse("c2", "queue_timeout", 504),
        record("c2", "queue_timeout", 504, at=10.0, replica="", attempts=0, latency_s=30.0, queue_s=30.0),
    ]
    assert gate.next_wake() is None
    assert kinds(gate.on(Ended("c1", 1, 200), 41.0)) == ["Record"]
    assert nothing_held(gate)


def test_a_fact_that_overtakes_the_alarm_does_not_send_an_expired_call() -> None:
    """When a seat frees after a deadline that nobody was woken for, the expired call is refused, the next one sent."""
    gate = house("a")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    gate.on(arrived("c3"), 20.0)
    assert gate.on(Ended("c1", 1, 200), 30.0) == [
        record("c1", latency_s=30.0),
        Refuse("c2", "queue_timeout", 504),
        record("c2", "queue_timeout", 504, replica="", attempts=0, latency_s=30.0, queue_s=30.0),
        send("c3", 1, "a", queue_s=10.0),
    ]
    assert gate.next_wake() is None


def test_without_any_usable_replica_a_call_waits_a_while_and_gets_503() -> None:
    """While no replica of its model is usable a call waits `unavailable_wait`, then gets 503 with Retry-After."""
    machine = house("a")
    machine.on(fleet("a", drain=True), 0.0)
    assert machine.on(arrived("c1"), 0.0) == []
    assert machine.next_wake() == 10.0
    assert machine.on(Woke(), 10.0) == [
        Refuse("c1", "no_replica", 503, "", 60.0),  # a line of one, and nobody was sent in the last 10 s
        record("c1", "no_replica", 503, replica="", attempts=0, latency_s=10.0, queue_s=10.0),
    ]


def test_a_replica_that_comes_in_time_serves_who_waited_for_it() -> None:
    """A call that waits for any replica at all is sent as soon as one is usable."""
    machine = gate()
    machine.on(arrived("c1"), 0.0)
    assert machine.on(fleet("a"), 9.0) == [send("c1", 1, "a", queue_s=9.0)]
    assert machine.next_wake() is None


def test_a_busy_replica_that_appears_extends_the_wait_to_the_deadline() -> None:
    """Who waits when a replica becomes usable, though full, keeps its place up to the deadline of its queue."""
    machine = house("b")
    machine.on(fleet("b", drain=True), 0.0)
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    assert sends(machine.on(fleet("a"), 5.0)) == [("c1", "a")]
    assert machine.next_wake() == 10.0
    assert machine.on(Woke(), 10.0) == []
    assert machine.next_wake() == 30.0
    assert refusals(machine.on(Woke(), 30.0)) == [("c2", "queue_timeout", 504)]


def test_the_queues_deadline_is_shorter_than_the_unavailable_wait() -> None:
    """Of both waits the shorter holds."""
    machine = gate(bounded(timeout_s=3))
    machine.on(fleet("a", drain=True), 0.0)
    machine.on(arrived("c1"), 0.0)
    assert machine.next_wake() == 3.0
    assert refusals(machine.on(Woke(), 3.0)) == [("c1", "no_replica", 503)]


def test_a_pool_without_any_replica_is_a_waiting_room() -> None:
    """Where there is no replica at all a call waits `waiting_room`, longer than the queue's deadline, and is sent when
    the first replica is up; a client that cannot wait so long is refused in its own time."""
    machine = gate()
    tell(machine, arrived("c1"), arrived("c2", latency_s=12.0), now=0.0)
    assert machine.next_wake() == 12.0
    assert refusals(machine.on(Woke(), 12.0)) == [("c2", "no_replica", 503)]
    assert machine.next_wake() == 60.0
    assert machine.on(fleet("a"), 45.0) == [send("c1", 1, "a", queue_s=45.0)]
    late = gate(bounded(waiting_room_s=20.0, timeout_s=5.0))
    late.on(arrived("c1"), 0.0)
    assert refusals(late.on(Woke(), 20.0)) == [("c1", "no_replica", 503)]


def test_a_client_that_cannot_wait_is_not_served_too_late() -> None:
    """A call whose client can wait 3 s gets 504 after 3 s in the queue; another's patience changes nothing."""
    machine = house("a")
    tell(machine, arrived("c1"), arrived("c2", latency_s=3.0), arrived("c3", latency_s=3600.0), now=0.0)
    assert refusals(machine.on(Woke(), 3.0)) == [("c2", "queue_timeout", 504)]
    assert machine.next_wake() == 30.0


# ===== fallback =====


def test_a_call_falls_back_where_its_model_has_no_usable_replica() -> None:
    """With the first pool down the call goes to the fallback at once, under the fallback's model name."""
    machine = gate(pool(), pool("spare", models=("n",)), fallback={"m": ("n",)})
    machine.on(FleetSeen((replica("s", pool="spare"),)), 0.0)
    assert machine.on(arrived("c1"), 0.0) == [send("c1", 1, "s", "n")]
    assert machine.on(arrived("c2"), 0.0) == []
    assert [view.queued for view in machine.pools(0.0)] == [0, 1]


def test_a_full_first_choice_falls_back() -> None:
    """Where the first choice's queue is full the fallback takes the call."""
    machine = two_pools(queue=QueueSpec(max=1))
    assert tell(machine, arrived("c1"), arrived("c2"), arrived("c3"), now=0.0) == [
        send("c1", 1, "a"),
        send("c3", 1, "s", "n"),
    ]


def test_a_call_waits_for_its_own_model_while_a_replica_of_it_is_usable() -> None:
    """A busy first choice is waited for; the fallback is not for impatience."""
    machine = two_pools()
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    assert [view.queued for view in machine.pools(0.0)] == [1, 0]


def test_where_nobody_can_serve_the_call_waits_for_its_first_choice() -> None:
    """With every target down the call waits for its own model, and is sent when that comes up."""
    machine = gate(pool(), pool("spare", models=("n",)), fallback={"m": ("n",)})
    machine.on(arrived("c1"), 0.0)
    assert machine.on(fleet("a"), 1.0) == [send("c1", 1, "a", queue_s=1.0)]


def test_a_call_that_waits_in_vain_goes_to_a_fallback_that_comes_up() -> None:
    """As soon as that can serve, as a call would that came then."""
    main = pool(breaker=BreakerSpec(failures=1, open_s=1000.0), retries=RetrySpec(attempts=1))
    spare = pool("spare", models=("n",), probe=ProbeSpec())
    machine = gate(main, spare, fallback={"m": ("n",)})
    machine.on(FleetSeen((replica("a"), replica("s", pool="spare"))), 0.0)
    tell(machine, arrived("c0"), Failed("c0", 1, "upstream_5xx"), now=0.0)
    assert tell(machine, arrived("c1"), Probed("s", False), now=0.5) == []
    assert machine.on(Probed("s", True), 1.0) == [send("c1", 1, "s", "n", queue_s=0.5)]
    machine.on(Ended("c1", 1, 200), 11.0)
    assert nothing_held(machine)


@pytest.mark.parametrize("how", ["probes", "breaker", "gone", "draining"])
def test_who_waits_when_the_last_replica_goes_goes_on_to_a_fallback(how: str) -> None:
    """Whatever took it: at once, as a call that comes then, the urgent first; and the rest waits there. (The one whose
    failure opened the breaker was on its way before.)"""
    main = pool(breaker=BreakerSpec(failures=1), retries=RetrySpec(attempts=1), probe=ProbeSpec(unhealthy_after=1))
    machine = gate(main, pool("spare", models=("n",)), fallback={"m": ("n",)})
    spare = replica("s", pool="spare")
    machine.on(FleetSeen((replica("a"), spare)), 0.0)
    machine.on(Probed("a", True), 0.0)
    tell(machine, arrived("c1"), arrived("low", priority=3), arrived("high", priority=1), now=0.0)
    facts: dict[str, Event] = {
        "probes": Probed("a", False), "breaker": Failed("c1", 1, "upstream_5xx"), "gone": FleetSeen((spare,)),
        "draining": FleetSeen((replica("a", drain=True), spare)),
    }  # fmt: skip
    first, attempt = ("c1", 2) if how == "breaker" else ("high", 1)
    assert sends(machine.on(facts[how], 1.0)) == [(first, "s")]
    assert [view.queued for view in machine.pools(1.0)] == [0, 2 if how == "breaker" else 1]
    rest = [("high", "s"), ("low", "s")][how != "breaker" :]
    assert sends(tell(machine, Ended(first, attempt, 200), Ended("high", 1, 200), now=2.0)) == rest
    tell(machine, Ended("low", 1, 200), Ended("c1", 1, 200), now=3.0)
    assert nothing_held(machine)


def test_who_came_while_the_pool_was_empty_waits_while_a_replica_loads() -> None:
    """It was told to wait for one: that one is there and not ready yet is no reason to give up sooner."""
    machine = gate(pool(probe=ProbeSpec()))
    machine.on(arrived("c1"), 0.0)
    machine.on(fleet("a"), 5.0)
    tell(machine, Probed("a", False), Woke(), now=50.0)
    assert sends(machine.on(Probed("a", True), 55.0)) == [("c1", "a")]


@pytest.mark.parametrize("seats,wait_s", [(1, 10.0), (0, 60.0)])
def test_without_a_fallback_it_waits_no_longer_than_one_that_comes_then(seats: int, wait_s: float) -> None:
    """`unavailable_wait` (`waiting_room`, where the pool is empty) from when nobody can serve it, however long it may
    wait for a seat; and again as long as that, once somebody can."""
    machine = gate(pool(queue=QueueSpec(timeout_s=600.0), probe=ProbeSpec(unhealthy_after=1, healthy_after=1)))
    machine.on(fleet("a"), 0.0)
    machine.on(Probed("a", True), 0.0)
    tell(machine, arrived("c1"), arrived("c2"), arrived("c3"), now=0.0)
    machine.on(Probed("a", False) if seats else FleetSeen(()), 100.0)
    assert not refusals(machine.on(Woke(), 99.9 + wait_s))
    if seats:
        machine.on(ClientGone("c3"), 105.0)
        assert refusals(machine.on(Woke(), 100.0 + wait_s)) == [("c2", "no_replica", 503)]
    else:
        machine.on(fleet("b"), 105.0)
        tell(machine, Probed("b", True), ClientGone("c3"), now=105.0)
        assert not refusals(machine.on(Woke(), 100.0 + wait_s))
