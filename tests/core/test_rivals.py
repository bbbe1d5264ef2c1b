"""Playbooks of hedges: when a second attempt is made, who wins, and that the loser is stopped and holds nothing."""

import pytest

from penstock.base.errors import Label
from penstock.core.effects import Cancel, Forget, Refuse, Send
from penstock.core.events import Began, ClientGone, Ended, Event, Failed, FleetSeen, Reconfigured, Woke
from penstock.core.spec import (
    BreakerSpec,
    GateSpec,
    HedgeSpec,
    QueueSpec,
    RetrySpec,
)
from tests.core.playbook import (
    HEDGE,
    arrived,
    fleet,
    gate,
    hedged,
    hedging,
    house,
    kinds,
    nothing_held,
    pool,
    record,
    replica,
    row,
    send,
    sends,
    tell,
)

# ===== who wins =====


def test_the_hedge_wins() -> None:
    """The first attempt is cancelled in the turn in which the second begins, and its seat goes to who waits."""
    machine = hedged()
    machine.on(arrived("c2"), 0.5)
    assert machine.on(Began("c1", 2), 0.75) == [Cancel("c1", 1), send("c2", 1, "a", queue_s=0.25)]
    assert machine.on(Ended("c1", 2, 200), 2.0) == [
        record("c1", replica="b", attempts=2, latency_s=2.0, ttft_s=0.75, hedge="won")
    ]
    machine.on(Ended("c2", 1, 200), 2.0)
    assert nothing_held(machine)


def test_the_first_attempt_wins() -> None:
    """Then the hedge is cancelled; the row names the replica that answered."""
    machine = hedged()
    assert machine.on(Began("c1", 1), 0.7) == [Cancel("c1", 2)]
    assert machine.counts()["seats_taken"] == 1
    assert machine.on(Ended("c1", 1, 200), 2.0) == [record("c1", attempts=2, latency_s=2.0, ttft_s=0.7, hedge="lost")]
    assert nothing_held(machine)


@pytest.mark.parametrize("winner, loser, replica_id, hedge", [(1, 2, "a", "lost"), (2, 1, "b", "won")])
def test_a_whole_answer_wins_like_a_first_byte(winner: int, loser: int, replica_id: str, hedge: str) -> None:
    """An Ended without a Began cancels the other attempt before the row."""
    machine = hedged()
    assert machine.on(Ended("c1", winner, 200), 1.0) == [
        Cancel("c1", loser),
        record("c1", replica=replica_id, attempts=2, latency_s=1.0, hedge=hedge),
    ]
    assert nothing_held(machine)


@pytest.mark.parametrize("fact", [Began("c1", 1), Ended("c1", 1, 200), Failed("c1", 1, "upstream_5xx")])
def test_what_the_loser_still_says_means_nothing(fact: Event) -> None:
    """A fact of an attempt that was cancelled changes nothing."""
    machine = hedged()
    machine.on(Began("c1", 2), 0.7)
    assert machine.on(fact, 0.8) == []
    assert machine.counts()["flights"] == 1
    assert {view.id: view.failed for view in machine.replicas(1.0)} == {"a": 0, "b": 0}


def test_after_the_first_byte_there_is_no_other_attempt() -> None:
    """The winner fails in the middle of its answer: that is the call's end, though a replica is free."""
    machine = hedged()
    machine.on(Began("c1", 2), 0.7)
    assert kinds(machine.on(Failed("c1", 2, "died_mid_answer"), 0.8)) == ["Refuse", "Record"]
    assert nothing_held(machine)


def test_the_losers_time_counts_as_slow_and_not_as_a_failure() -> None:
    """Its replica has let a call wait for 0.7 s at least: that is known of it, and nothing worse."""
    machine = hedged()
    machine.on(Began("c1", 2), 0.7)
    slow, quick = machine._fleet.seats.values()
    assert slow.latency_s == pytest.approx(0.7)
    assert quick.latency_s == pytest.approx(0.2)
    assert (slow.failed, slow.health.failures) == (0, 0)


# ===== one of two, or both, fail =====


@pytest.mark.parametrize("label", ["upstream_5xx", "connect_refused", "answer_too_large", "stale_connection"])
@pytest.mark.parametrize("failing, other, replica_id", [(1, 2, "b"), (2, 1, "a")])
def test_one_of_two_fails_and_the_other_goes_on(failing: int, other: int, replica_id: str, label: Label) -> None:
    """No retry, no refusal: the failed attempt's seat is free, the other's answer is the client's."""
    machine = hedged("a", "b", "c")
    assert machine.on(Failed("c1", failing, label), 1.0) == []
    assert machine.counts()["seats_taken"] == 1
    assert machine.on(Began("c1", other), 2.0) == []
    found = row(machine.on(Ended("c1", other, 200), 3.0))
    assert (found.replica, found.outcome, found.attempts) == (replica_id, "ok", 2)
    assert found.hedge == ("won" if other == 2 else "lost")
    assert nothing_held(machine)


def test_a_failed_rival_is_blamed_and_its_seat_goes_to_who_waits() -> None:
    """Its breaker counts the failure like any other."""
    machine = hedged(breaker=BreakerSpec(suspect_after=2, failures=9))
    machine.on(arrived("c2"), 0.6)
    assert machine.on(Failed("c1", 2, "upstream_5xx"), 1.0) == [send("c2", 1, "b", queue_s=0.4)]
    assert {view.id: view.failed for view in machine.replicas(1.0)} == {"a": 0, "b": 1}


def test_both_fail_and_the_call_is_retried_as_usual() -> None:
    """After the second failure the usual path: an untried replica at once, within the attempts that are allowed."""
    machine = hedged("a", "b", "c")
    assert machine.on(Failed("c1", 1, "upstream_5xx"), 1.0) == []
    assert machine.on(Failed("c1", 2, "upstream_5xx"), 2.0) == [send("c1", 3, "c")]
    assert row(machine.on(Ended("c1", 3, 200), 3.0)).attempts == 3


def test_a_hedge_is_no_retry() -> None:
    """It does not use up an attempt: with `attempts: 2` there is a retry after both have failed, and no more."""
    machine = hedged("a", "b", "c", retries=RetrySpec(attempts=2))
    machine.on(Failed("c1", 2, "upstream_5xx"), 1.0)
    assert machine.on(Failed("c1", 1, "upstream_5xx"), 2.0) == [send("c1", 3, "c")]
    assert kinds(machine.on(Failed("c1", 3, "upstream_5xx"), 3.0)) == ["Refuse", "Record"]
    assert nothing_held(machine)


def test_both_fail_without_a_retry_and_the_client_hears_the_last_failure() -> None:
    """One refusal, one row."""
    machine = hedged(retries=RetrySpec(attempts=1))
    machine.on(Failed("c1", 1, "upstream_5xx"), 1.0)
    assert machine.on(Failed("c1", 2, "closed_early"), 2.0) == [
        Refuse("c1", "closed_early", 502),
        record("c1", "closed_early", 502, replica="b", attempts=2, latency_s=2.0, hedge="neither"),
    ]
    assert nothing_held(machine)


@pytest.mark.parametrize("first, last", [(1, 2), (2, 1)])
def test_time_at_replicas_is_no_time_in_the_queue(first: int, last: int) -> None:
    """After both have failed the call may wait for as long as it could before it was sent."""
    line = QueueSpec(timeout_s=10.0, unavailable_wait_s=99.0)
    machine = hedged(queue=line, breaker=BreakerSpec(failures=1, open_s=900.0))
    machine.on(Failed("c1", first, "closed_early"), 50.0)
    machine.on(Failed("c1", last, "closed_early"), 100.0)
    assert machine.counts()["waiting"] == 1
    assert machine.next_wake() == 110.0


# ===== while two run =====


def test_the_client_leaves_and_both_are_stopped() -> None:
    """Both are cancelled, both seats are free for who waits, and both replicas have shown how slow they are."""
    machine = hedged()
    tell(machine, arrived("c2"), arrived("c3"), now=0.6)
    orders = machine.on(ClientGone("c1"), 2.0)
    assert kinds(orders) == ["Cancel", "Cancel", "Record", "Send", "Send"]
    assert orders[:2] == [Cancel("c1", 1), Cancel("c1", 2)]
    assert row(orders).hedge == "neither"
    assert [seat.latency_s for seat in machine._fleet.seats.values()] == [2.0, 1.5]


def test_the_client_leaves_before_the_hedge_is_due() -> None:
    """Its alarm goes with it."""
    machine = hedging("a", "b")
    tell(machine, arrived("c1"), ClientGone("c1"), now=0.0)
    assert machine.next_wake() is None


def test_a_replica_leaves_the_fleet_and_loses() -> None:
    """Its last call is cancelled: it is gone in that turn."""
    machine = hedged()
    machine.on(fleet("b"), 0.6)
    assert machine.on(Began("c1", 2), 0.7) == [Cancel("c1", 1), Forget("a")]


def test_a_replica_leaves_the_fleet_and_wins() -> None:
    """What is under way goes on: its answer is as good as any."""
    machine = hedged()
    machine.on(fleet("a"), 0.6)
    assert machine.on(Began("c1", 2), 0.7) == [Cancel("c1", 1)]
    assert kinds(machine.on(Ended("c1", 2, 200), 1.0)) == ["Forget", "Record"]
    assert nothing_held(machine)


def test_the_pool_is_taken_out_while_two_run() -> None:
    """The call ends as if nothing had happened, and nothing is left of either attempt."""
    machine = hedged()
    machine.on(Reconfigured(GateSpec(pools=(pool("other", models=("n",)),))), 0.6)
    assert machine.on(Began("c1", 2), 0.7) == [Cancel("c1", 1), Forget("a")]
    assert kinds(machine.on(Ended("c1", 2, 200), 1.0)) == ["Forget", "Record"]
    assert nothing_held(machine)


@pytest.mark.parametrize("after", [GateSpec(pools=(pool(),)), GateSpec(pools=(pool("other", models=("n",)),))])
def test_settings_change_before_the_hedge_is_due(after: GateSpec) -> None:
    """Where the pool hedges no more, or is gone, the alarm means nothing."""
    machine = hedging("a", "b")
    machine.on(arrived("c1"), 0.0)
    machine.on(Reconfigured(after), 0.1)
    assert sends(machine.on(Woke(), 0.5)) == []
    assert row(machine.on(Ended("c1", 1, 200), 1.0)).hedge == ""
    assert nothing_held(machine)


def test_new_settings_keep_what_was_learnt() -> None:
    """Another budget does not make the pool forget how long its calls take."""
    machine = house("a", "b", seats=9, hedge=HedgeSpec())
    for number in range(20):
        tell(machine, arrived(f"c{number}"), Ended(f"c{number}", 1, 200), now=float(number))
    machine.on(Reconfigured(GateSpec(pools=(pool(hedge=HedgeSpec(budget=1.0)),))), 20.0)
    machine.on(arrived("c"), 20.0)
    assert machine.next_wake() == 20.05


def test_a_beaten_attempt_is_remembered_with_what_it_took() -> None:
    """And its hedge, which only shows when it wins, is not: the pool would seem the quicker the more it hedges."""
    machine = house("a", "b", seats=9, hedge=HedgeSpec(delay_s=0.5, budget=1.0))
    found: float | None = None
    for number in range(20):
        machine.on(arrived(f"c{number}", stream=True), float(number))
        machine.on(Woke(), number + 0.5)
        tell(machine, Began(f"c{number}", 2), Ended(f"c{number}", 2, 200), now=number + 0.6)
        known = machine._fleet.pools["main"].hedging
        assert known is not None
        found = known.ttft.value()
        assert (found is None) is (number < 19), "one time a call"
    assert found is not None
    assert 0.6 <= found < 0.66


def test_send_of_a_hedge_is_a_whole_order() -> None:
    """It names the upstream's own model, the time-outs and the time in the queue, like any other."""
    machine = gate(pool(hedge=HEDGE))
    machine.on(FleetSeen((replica("a"), replica("b", models={"m": "upstream-m"}))), 0.0)
    machine.on(arrived("c1"), 0.0)
    (order,) = machine.on(Woke(), 0.5)
    assert order == send("c1", 2, "b", model="upstream-m")
    assert isinstance(order, Send)


def test_a_hedge_does_not_count_against_its_tenants_share() -> None:
    """With a bound on a tenant's share of the seats, a call holds one of them, however many attempts it has had."""
    machine = hedged(queue=QueueSpec(max_share=0.9))
    tell(machine, Began("c1", 2), Ended("c1", 2, 200), now=1.0)
    assert [flow.held for flow in machine._fleet.pools["main"].fair._flows.values()] == [0]
