"""Playbooks of failed attempts: which may be followed by another, where, when, and within which budget."""

from typing import get_args

import pytest

from penstock.base.errors import REFUSALS, Label
from penstock.base.rand import Rand
from penstock.core.effects import Refuse, Send
from penstock.core.events import Began, Ended, Failed, FleetSeen, Probed, Woke
from penstock.core.gate import Gate
from penstock.core.spec import BreakerSpec, GateSpec, QueueSpec, RetrySpec
from tests.core.playbook import (
    STEADY,
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

UPSTREAM: list[Label] = [label for label in get_args(Label) if REFUSALS[label].type == "upstream_error"]


@pytest.mark.parametrize("label", [label for label in UPSTREAM if REFUSALS[label].retryable])
def test_a_retryable_failure_goes_to_another_replica_at_once(label: Label) -> None:
    """Before the first byte a retryable failure leads to another attempt, without a pause, at an untried replica."""
    gate = house("a", "b")
    gate.on(arrived("c1"), 0.0)
    orders = gate.on(Failed("c1", 1, label), 1.0)
    assert kinds(orders) == ["Send"]
    if REFUSALS[label].blames_replica or REFUSALS[label].says_retry_after:
        assert orders == [send("c1", 2, "b")]


@pytest.mark.parametrize("label", [label for label in UPSTREAM if not REFUSALS[label].retryable])
def test_a_final_failure_is_the_calls_end(label: Label) -> None:
    """What is not retryable is told to the client at once."""
    gate = house("a", "b")
    gate.on(arrived("c1"), 0.0)
    assert refusals(gate.on(Failed("c1", 1, label), 1.0)) == [("c1", label, REFUSALS[label].http)]
    assert nothing_held(gate)


@pytest.mark.parametrize("label", UPSTREAM)
def test_after_the_first_byte_there_is_no_second_attempt(label: Label) -> None:
    """A call that has begun ends with its attempt, whatever the failure and however many replicas are free."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), Began("c1", 1), now=0.0)
    orders = gate.on(Failed("c1", 1, label, relayed_tokens=7), 2.0)
    assert kinds(orders) == ["Refuse", "Record"]
    assert orders[1] == record("c1", label, REFUSALS[label].http, latency_s=2.0, ttft_s=0.0, relayed_tokens=7)
    assert nothing_held(gate)


@pytest.mark.parametrize("label", UPSTREAM)
def test_what_must_not_be_done_twice_is_repeated_only_when_nothing_was_sent(label: Label) -> None:
    """A call that is not repeatable gets another attempt only where no byte of it had reached the replica."""
    gate = house("a", "b")
    gate.on(arrived("c1", repeatable=False), 0.0)
    again = bool(sends(gate.on(Failed("c1", 1, label), 1.0)))
    assert again is (label in ("connect_refused", "connect_timeout", "pending_full"))


def test_a_second_stale_connection_leads_elsewhere() -> None:
    """One is no fault of the replica, which may have the call again at once; a replica that resets every connection
    looks the same, and must not cost the call its last attempt."""
    gate = house("a", "b")
    assert sends(gate.on(arrived("c1"), 0.0)) == [("c1", "a")]
    assert sends(gate.on(Failed("c1", 1, "stale_connection"), 1.0)) == [("c1", "a")]
    assert sends(gate.on(Failed("c1", 2, "stale_connection"), 2.0)) == [("c1", "b")]


def test_a_failure_frees_the_seat_for_who_waits() -> None:
    """The seat that a failed attempt gives back goes to the next in line when the retry goes elsewhere or ends."""
    gate = house("a", retries=RetrySpec(attempts=1))
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    orders = gate.on(Failed("c1", 1, "upstream_5xx", 500), 1.0)
    assert orders == [
        Refuse("c1", "upstream_5xx", 500),
        record("c1", "upstream_5xx", 500, latency_s=1.0),
        send("c2", 1, "a", queue_s=1.0),
    ]


def test_attempts_are_counted_and_end_in_the_last_failure() -> None:
    """Three attempts in all, then the client gets the last failure; the row counts them."""
    gate = house("a", "b", "c", "d")
    gate.on(arrived("c1"), 0.0)
    assert gate.on(Failed("c1", 1, "upstream_5xx", 500), 1.0) == [send("c1", 2, "b")]
    assert gate.on(Failed("c1", 2, "closed_early"), 2.0) == [send("c1", 3, "c")]
    assert gate.on(Failed("c1", 3, "bad_response"), 3.0) == [
        Refuse("c1", "bad_response", 502),
        record("c1", "bad_response", 502, replica="c", attempts=3, latency_s=3.0),
    ]


def test_what_reached_no_engine_uses_up_no_attempt() -> None:
    """Two replicas die at once: a stale connection and a refused one leave a call the attempts that it had."""
    gate = house("a", "b", "c")
    assert sends(gate.on(arrived("c1"), 0.0)) == [("c1", "a")]
    assert sends(gate.on(Failed("c1", 1, "stale_connection"), 1.0)) == [("c1", "a")]
    assert sends(gate.on(Failed("c1", 2, "connect_refused"), 1.0)) == [("c1", "b")]
    assert sends(gate.on(Failed("c1", 3, "closed_early"), 1.0)) == [("c1", "c")]
    assert kinds(gate.on(Failed("c1", 4, "upstream_5xx", 500), 1.0)) == []  # it pauses: one attempt is left


def test_attempts_that_reached_no_engine_end_too() -> None:
    """Where every replica refuses, a call meets at most five of them with three attempts; with one attempt, one."""
    for attempts, met in ((3, 5), (1, 1)):
        gate = house(*"abcdefgh", retries=RetrySpec(attempts=attempts))
        gate.on(arrived("c1"), 0.0)
        orders = [gate.on(Failed("c1", number, "connect_refused"), 1.0) for number in range(1, met + 1)]
        assert [bool(sends(out)) for out in orders] == [True] * (met - 1) + [False]
        assert refusals(orders[-1]) == [("c1", "connect_refused", 502)]


def test_a_replica_that_is_well_may_have_the_call_again_at_once() -> None:
    """A connection that had gone stale says nothing about its replica: the next attempt may go there at once."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    assert gate.on(Failed("c1", 1, "stale_connection"), 1.0) == [send("c1", 2, "a")]


# ===== pauses =====


def test_trying_the_same_replica_again_takes_a_growing_pause() -> None:
    """With no other replica left the call pauses 1 s, then 1.5 s, and holds no seat meanwhile."""
    gate = house("a", breaker=BreakerSpec(suspect_after=9, failures=9))
    gate.on(arrived("c1"), 0.0)
    assert gate.on(Failed("c1", 1, "upstream_5xx"), 2.0) == []
    assert gate.counts() == {"flights": 1, "waiting": 0, "held_ids": 0, "limit_holds": 0, "seats_taken": 0}
    assert gate.next_wake() == 3.0
    assert gate.on(Woke(), 3.0) == [send("c1", 2, "a")]
    assert gate.on(Failed("c1", 2, "upstream_5xx"), 4.0) == []
    assert gate.next_wake() == 5.5
    assert gate.on(Woke(), 5.5) == [send("c1", 3, "a")]
    assert refusals(gate.on(Failed("c1", 3, "upstream_5xx"), 6.0)) == [("c1", "upstream_5xx", 502)]


def test_a_pause_is_never_shorter_than_the_retry_after() -> None:
    """A replica that asks for 4 s gets no call of anybody for 4 s, then the call that it turned away."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    assert gate.on(Failed("c1", 1, "upstream_busy", 429, 4.0), 1.0) == []
    assert gate.on(arrived("c2"), 2.0) == []
    assert gate.next_wake() == 5.0
    assert gate.on(Woke(), 5.0) == [send("c1", 2, "a")]


def test_a_pause_that_reaches_the_deadline_ends_in_the_last_failure() -> None:
    """Who would have to pause past its deadline is told the failure, with a Retry-After, when its time is over."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    gate.on(Failed("c1", 1, "upstream_busy", 429, 100.0), 0.0)
    assert gate.next_wake() == 30.0
    orders = gate.on(Woke(), 30.0)
    assert refusals(orders) == [("c1", "upstream_busy", 429)]
    assert isinstance(orders[0], Refuse)
    assert orders[0].retry_after_s == 1.0
    assert nothing_held(gate)


def test_a_retry_that_finds_no_seat_waits_beside_the_line() -> None:
    """It goes before those who arrived later as soon as a seat of an untried replica is free."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), arrived("c2"), arrived("c3"), now=0.0)
    assert gate.on(Failed("c1", 1, "closed_early"), 1.0) == [send("c3", 1, "a", queue_s=1.0)]
    assert gate.on(Ended("c2", 1, 200), 3.0) == [
        record("c2", replica="b", latency_s=3.0),
        send("c1", 2, "b", queue_s=2.0),
    ]


def test_a_waiting_retry_holds_nobody_up() -> None:
    """While a retry waits for an untried replica, a new call takes the free seat of the tried one at once."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    assert gate.on(Failed("c1", 1, "closed_early"), 1.0) == []
    assert gate.on(arrived("c3"), 2.0) == [send("c3", 1, "a")]


def test_a_retry_takes_a_tried_replica_when_no_other_is_left() -> None:
    """When the untried replica it waited for is gone, the call goes back to the one that failed it."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    gate.on(Failed("c1", 1, "closed_early"), 1.0)
    assert gate.on(fleet("a"), 2.0) == [send("c1", 2, "a", queue_s=1.0)]


def test_no_bound_of_the_queue_refuses_a_retry() -> None:
    """A call that was admitted once may wait again though the queue is full by now."""
    gate = house("a", "b", queue=QueueSpec(max=1), retries=STEADY)
    tell(gate, arrived("c1"), arrived("c2"), arrived("c3"), now=0.0)
    assert sends(gate.on(Failed("c1", 1, "closed_early"), 1.0)) == [("c3", "a")]
    gate.on(arrived("c4"), 1.0)
    assert gate.counts()["waiting"] == 1
    assert refusals(gate.on(arrived("c5"), 1.0)) == [("c5", "queue_full", 429)]
    assert gate.on(Failed("c2", 1, "closed_early"), 2.0) == [send("c1", 2, "b", queue_s=1.0)]
    assert gate.counts()["waiting"] == 1


def test_the_deadline_bounds_waiting_and_not_the_time_at_a_replica() -> None:
    """A call whose replica dies after minutes still has the whole of its waiting time for another."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    assert gate.on(Failed("c1", 1, "closed_early"), 300.0) == []
    assert gate.next_wake() == 330.0
    assert gate.on(Ended("c2", 1, 200), 320.0)[1] == send("c1", 2, "b", queue_s=20.0)


def test_waiting_twice_does_not_double_the_deadline() -> None:
    """All waits of a call together are bounded by the queue's timeout."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), arrived("c2"), arrived("c3"), now=0.0)
    assert sends(gate.on(Ended("c1", 1, 200), 20.0)) == [("c3", "a")]
    assert gate.on(Failed("c3", 1, "closed_early"), 100.0) == []
    assert gate.next_wake() == 110.0
    assert refusals(gate.on(Woke(), 110.0)) == [("c3", "closed_early", 502)]


# ===== budget =====


def test_a_spent_budget_ends_in_the_failure() -> None:
    """Where the retry budget is spent, the failure is the answer even though another replica is free."""
    gate = house("a", "b", retries=RetrySpec(budget=0.0, budget_min_per_s=0.1))
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    assert kinds(gate.on(Failed("c1", 1, "upstream_5xx"), 1.0)) == []
    assert refusals(gate.on(Failed("c2", 1, "upstream_5xx"), 1.0)) == [("c2", "upstream_5xx", 502)]


def test_the_first_failover_from_a_refusing_replica_is_free() -> None:
    """Refused and closed connections cost no budget the first time, and do the second."""
    gate = house("a", "b", "c", retries=RetrySpec(budget=0.0, budget_min_per_s=0.0))
    gate.on(arrived("c1"), 0.0)
    assert gate.on(Failed("c1", 1, "connect_refused"), 1.0) == [send("c1", 2, "b")]
    assert refusals(gate.on(Failed("c1", 2, "connect_refused"), 2.0)) == [("c1", "connect_refused", 502)]


def test_the_budget_grows_with_the_traffic() -> None:
    """Twenty per cent of the last ten seconds' calls: of ten failing calls two are tried again."""
    gate = house("a", "b", seats=20, retries=RetrySpec(budget=0.2, budget_min_per_s=0.0))
    tell(gate, *(arrived(f"c{n}") for n in range(10)), now=0.0)
    orders = tell(gate, *(Failed(f"c{n}", 1, "first_byte_timeout") for n in range(10)), now=1.0)
    assert [each for each, _ in sends(orders)] == ["c0", "c1"]
    assert len(refusals(orders)) == 8


def test_retries_earn_no_retries() -> None:
    """Only first attempts are traffic: with one retry a call allowed, a second one is not paid for by the first."""
    gate = house("a", "b", "c", retries=RetrySpec(budget=1.0, budget_min_per_s=0.0))
    gate.on(arrived("c1"), 0.0)
    assert sends(gate.on(Failed("c1", 1, "upstream_5xx"), 1.0)) == [("c1", "b")]
    assert refusals(gate.on(Failed("c1", 2, "upstream_5xx"), 2.0)) == [("c1", "upstream_5xx", 502)]


# ===== what the client is told =====


def test_the_client_reads_the_upstreams_status_only_where_it_is_a_failure() -> None:
    """A 5xx or 429 of the upstream is passed on; a 401 meant for us becomes 502."""
    for label, status, told in (("upstream_5xx", 507, 507), ("upstream_auth", 401, 502), ("upstream_busy", 429, 429)):
        gate = house("a", retries=RetrySpec(attempts=1))
        gate.on(arrived("c1"), 0.0)
        assert refusals(gate.on(Failed("c1", 1, label, status), 1.0)) == [("c1", label, told)]  # type: ignore[arg-type]


def test_a_replicas_retry_after_reaches_the_client() -> None:
    """Retry-After of the last attempt is told to the client as it was."""
    gate = house("a", retries=RetrySpec(attempts=1))
    gate.on(arrived("c1"), 0.0)
    assert gate.on(Failed("c1", 1, "upstream_unavailable", 503, 17.0), 1.0)[0] == Refuse(
        "c1", "upstream_unavailable", 503, "", 17.0
    )


# ===== fallback =====


def test_a_call_that_failed_all_its_attempts_goes_on_to_the_fallback() -> None:
    """After the last attempt at its model a retryable call gets its attempts at the fallback, and the row says so."""
    machine = two_pools(retries=RetrySpec(attempts=1))
    machine.on(arrived("c1"), 0.0)
    assert machine.on(Failed("c1", 1, "upstream_5xx", 500), 1.0) == [send("c1", 2, "s", "n")]
    assert machine.on(Ended("c1", 2, 200), 2.0) == [
        record("c1", pool="spare", replica="s", attempts=2, latency_s=2.0),
    ]


def test_a_fallback_in_the_same_pool_prefers_another_replica() -> None:
    """A replica that has failed the call under one model comes last under the next as well."""
    machine = gate(pool(models=("m", "n"), retries=RetrySpec(attempts=1)), fallback={"m": ("n",)})
    machine.on(fleet("a", "b"), 0.0)
    machine.on(arrived("c1"), 0.0)
    assert machine.on(Failed("c1", 1, "upstream_5xx"), 1.0) == [send("c1", 2, "b", "n")]


def test_the_last_failure_is_told_when_the_fallback_is_down_too() -> None:
    """A fallback without a usable replica is no way out."""
    machine = two_pools(retries=RetrySpec(attempts=1))
    machine.on(FleetSeen((replica("a"),)), 0.0)
    machine.on(arrived("c1"), 0.0)
    assert refusals(machine.on(Failed("c1", 1, "upstream_5xx"), 1.0)) == [("c1", "upstream_5xx", 502)]


def test_a_paused_call_whose_pool_went_down_goes_to_the_fallback() -> None:
    """When the pause before another attempt is over and no replica of the model is usable any more, the fallback is."""
    machine = two_pools(retries=RetrySpec(attempts=3, backoff_s=1.0, jitter=0.0), breaker=BreakerSpec(failures=1))
    machine.on(arrived("c1"), 0.0)
    assert machine.on(Failed("c1", 1, "connect_refused"), 0.5) == [send("c1", 2, "s", "n")]


# ===== jitter and determinism =====


def test_jitter_stays_within_its_share_of_the_pause() -> None:
    """With the default jitter a first pause lies between 0.8 and 1.2 s, and not always at one place."""
    pauses = set()
    for seed in range(20):
        machine = Gate(GateSpec(pools=(pool(retries=RetrySpec()),)), Rand(seed))
        machine.on(fleet("a"), 0.0)
        machine.on(arrived("c1"), 0.0)
        machine.on(Failed("c1", 1, "upstream_5xx"), 0.0)
        wake = machine.next_wake()
        assert wake is not None
        assert 0.8 <= wake <= 1.2
        pauses.add(wake)
    assert len(pauses) == 20


def test_a_retry_is_sent_within_the_turn_that_told_of_the_failure() -> None:
    """Failing over costs no time: the order follows from the fact itself, after probes took other replicas out too."""
    machine = house("a", "b", "c")
    machine.on(arrived("c1"), 0.0)
    tell(machine, *(Probed("b", False) for _ in range(3)), now=0.5)
    orders = machine.on(Failed("c1", 1, "connect_timeout"), 5.0)
    assert [type(order) for order in orders] == [Send]
    assert sends(orders) == [("c1", "c")]
