"""Playbooks of what real traffic does to a replica's standing: suspect, open, half-open, closed, set aside."""

import pytest

from penstock.core.events import Ended, Failed, Probed, Woke
from penstock.core.gate import Gate
from penstock.core.route.presets import RoundRobin
from penstock.core.spec import BreakerSpec, ProbeSpec, RetrySpec
from tests.core.playbook import arrived, fleet, gate, house, nothing_held, pool, send, sends, states, tell

ONCE = RetrySpec(attempts=1)


def fail(machine: Gate, times: int, now: float, label: str = "upstream_5xx", first: int = 0) -> None:
    """Let so many calls in a row be sent and fail, at a time of its own each."""
    for n in range(first, first + times):
        machine.on(arrived(f"f{n}"), now)
        machine.on(Failed(f"f{n}", 1, label), now)  # type: ignore[arg-type]


def succeed(machine: Gate, times: int, now: float, first: int = 0) -> None:
    """Let so many calls in a row be sent and end well."""
    for n in range(first, first + times):
        machine.on(arrived(f"s{now}-{n}"), now)
        machine.on(Ended(f"s{now}-{n}", 1, 200), now)


# ===== breaker =====


def test_three_failures_in_a_row_make_a_replica_suspect() -> None:
    """A suspect replica gets one call at a time; a single success restores its seats."""
    machine = house("a", seats=4, retries=ONCE)
    fail(machine, 2, 0.0)
    assert len(sends(tell(machine, arrived("c1"), arrived("c2"), now=1.0))) == 2
    tell(machine, Ended("c1", 1, 200), Ended("c2", 1, 200), now=2.0)
    fail(machine, 3, 3.0, first=10)
    assert machine.replicas(3.0)[0].suspect
    assert sends(tell(machine, arrived("c3"), arrived("c4"), arrived("c5"), now=4.0)) == [("c3", "a")]
    assert sends(machine.on(Ended("c3", 1, 200), 5.0)) == [("c4", "a"), ("c5", "a")]
    assert not machine.replicas(5.0)[0].suspect


def test_five_failures_in_a_row_open_the_breaker_for_thirty_seconds() -> None:
    """An open replica gets nothing; after 30 s one call at a time tries it, and three good ones close it."""
    machine = house("a", seats=4, retries=ONCE)
    fail(machine, 4, 0.0)
    assert machine.replicas(0.0)[0].breaker == "closed"
    fail(machine, 1, 1.0, first=4)
    assert machine.replicas(1.0)[0].breaker == "open"
    assert states(machine) == {"a": "unhealthy"}
    assert not machine.ready()
    assert tell(machine, *(arrived(f"c{n}") for n in range(5)), now=25.0) == []
    assert machine.next_wake() == 31.0
    assert machine.on(Woke(), 31.0) == [send("c0", 1, "a", queue_s=6.0)]
    assert machine.replicas(31.0)[0].breaker == "half_open"
    assert sends(machine.on(Ended("c0", 1, 200), 32.0)) == [("c1", "a")]
    assert sends(machine.on(Ended("c1", 1, 200), 33.0)) == [("c2", "a")]
    assert sends(machine.on(Ended("c2", 1, 200), 34.0)) == [("c3", "a"), ("c4", "a")]
    assert machine.replicas(34.0)[0].breaker == "closed"


def test_a_failure_while_half_open_opens_it_again() -> None:
    """One bad trial costs another 30 s, and the successes so far count no more."""
    machine = house("a", retries=ONCE)
    fail(machine, 5, 0.0)
    machine.on(Woke(), 30.0)
    succeed(machine, 2, 31.0)
    fail(machine, 1, 32.0, first=9)
    assert machine.replicas(32.0)[0].breaker == "open"
    assert machine.next_wake() == 62.0
    machine.on(Woke(), 62.0)
    succeed(machine, 2, 63.0)
    assert machine.replicas(63.0)[0].breaker == "half_open"
    succeed(machine, 1, 64.0)
    assert machine.replicas(64.0)[0].breaker == "closed"


def test_half_open_lets_as_many_try_as_its_setting_says() -> None:
    """`breaker.half_open` trial calls may be in flight at once."""
    machine = house("a", seats=4, retries=ONCE, breaker=BreakerSpec(half_open=2))
    fail(machine, 5, 0.0)
    machine.on(Woke(), 30.0)
    assert len(sends(tell(machine, *(arrived(f"c{n}") for n in range(4)), now=31.0))) == 2


def test_a_success_in_between_starts_the_count_anew() -> None:
    """Only failures in a row open a breaker."""
    machine = house("a", retries=ONCE)
    for n in range(4):
        fail(machine, 2, float(n), first=10 * n)
        succeed(machine, 1, n + 0.5)
    assert machine.replicas(4.0)[0].breaker == "closed"
    assert not machine.replicas(4.0)[0].suspect


def test_failures_that_do_not_blame_the_replica_leave_its_breaker_alone() -> None:
    """A busy replica and a stale connection are no failures of it; its error rate stays 0."""
    machine = house("a", retries=ONCE)
    fail(machine, 9, 0.0, "stale_connection")
    (view,) = machine.replicas(0.0)
    assert (view.breaker, view.failed, view.error_rate) == ("closed", 0, 0.0)


def test_calls_that_were_under_way_do_not_lengthen_or_end_the_open_time() -> None:
    """What was sent before the breaker opened proves nothing about now, neither its failure nor its success."""
    machine = house("a", seats=9, retries=ONCE)
    tell(machine, *(arrived(f"c{n}") for n in range(7)), now=0.0)
    tell(machine, *(Failed(f"c{n}", 1, "idle_timeout") for n in range(5)), now=10.0)
    tell(machine, Failed("c5", 1, "idle_timeout"), Ended("c6", 1, 200), now=20.0)
    assert machine.replicas(20.0)[0].breaker == "open"
    assert machine.next_wake() == 40.0


def poison(machine: Gate, call_id: str, now: float, *, attempts: int = 3) -> None:
    """A call that every replica that gets it answers with an error."""
    machine.on(arrived(call_id), now)
    for attempt in range(1, attempts + 1):
        machine.on(Failed(call_id, attempt, "upstream_5xx"), now)
        machine.on(Woke(), now + 5.0)


def test_a_call_that_two_healthy_replicas_cannot_serve_is_no_fault_of_theirs() -> None:
    """However often a client sends what engines answer with a 500, no replica is taken from the others."""
    machine = house("a", "b", "c", seats=4)
    for n in range(40):
        poison(machine, f"p{n}", 10.0 * n)
    views = machine.replicas(400.0)
    assert [view.breaker for view in views] == ["closed"] * 3
    assert not any(view.suspect for view in views)
    assert nothing_held(machine)


def test_a_replica_that_fails_what_others_serve_is_still_found_beside_such_calls() -> None:
    """Clearing takes back what one call has said, never what others have."""
    machine = house("a", "b", "c", seats=4, strategy=RoundRobin())
    for n in range(12):
        poison(machine, f"p{n}", 10.0 * n)
        for k in range(3):
            at = 10.0 * n + 6.0
            for name, to in sends(machine.on(arrived(f"c{n}-{k}"), at)):
                if to == "a":
                    ((_, other),) = sends(machine.on(Failed(name, 1, "upstream_5xx"), at))
                    assert other != "a"
                    machine.on(Ended(name, 2, 200), at)
                else:
                    machine.on(Ended(name, 1, 200), at)
    assert [view.breaker for view in machine.replicas(200.0)].count("open") == 1


def test_one_call_says_as_much_of_a_replica_as_it_can_once() -> None:
    """A single replica that answers a call's three attempts with errors has failed once, not three times."""
    machine = house("a", seats=4)
    for n in range(4):
        poison(machine, f"p{n}", 100.0 * n)
    assert machine.replicas(400.0)[0].breaker == "closed"
    poison(machine, "p4", 400.0)
    assert machine.replicas(400.0)[0].breaker == "open"


def test_an_open_breaker_fails_fast_to_another_replica() -> None:
    """While one replica is open all calls go to the other."""
    machine = house("a", "b", seats=2, retries=ONCE)
    fail(machine, 5, 0.0)
    assert sends(tell(machine, arrived("c1"), arrived("c2"), arrived("c3"), now=1.0)) == [("c1", "b"), ("c2", "b")]


def test_waiting_calls_whose_replicas_are_all_out_end_as_no_replica() -> None:
    """Who waited for a free seat when the last replica went out is told so at its deadline, not that it was slow."""
    machine = gate(pool(probe=ProbeSpec()))
    machine.on(fleet("a"), 0.0)
    tell(machine, Probed("a", True), arrived("c1"), arrived("c2"), now=0.0)
    tell(machine, *(Probed("a", False) for _ in range(3)), now=1.0)
    out = tell(machine, Woke(), now=30.0)
    assert [order.label for order in out if hasattr(order, "label")] == ["no_replica"]


# ===== set aside =====


def test_a_busy_answer_sets_its_replica_aside_for_a_second() -> None:
    """429 without Retry-After: no call for 1 s, then all seats again; no harm to its name."""
    machine = house("a", seats=2, retries=ONCE)
    fail(machine, 1, 0.0, "upstream_busy")
    assert tell(machine, arrived("c1"), arrived("c2"), now=0.5) == []
    assert machine.next_wake() == 1.0
    assert sends(machine.on(Woke(), 1.0)) == [("c1", "a"), ("c2", "a")]
    assert states(machine)["a"] == "busy"


@pytest.mark.parametrize(
    ("label", "retry_after_s", "aside_s"),
    [
        ("upstream_busy", 7.0, 7.0),
        ("upstream_busy", 0.0, 0.0),
        ("upstream_busy", 500.0, 30.0),
        ("upstream_unavailable", 7.0, 7.0),
    ],
)
def test_retry_after_is_obeyed_up_to_thirty_seconds(label: str, retry_after_s: float, aside_s: float) -> None:
    """A replica is set aside for as long as it asks, within a bound."""
    machine = house("a", retries=ONCE)
    machine.on(arrived("c1"), 0.0)
    machine.on(Failed("c1", 1, label, 429, retry_after_s), 0.0)  # type: ignore[arg-type]
    assert machine.on(arrived("c2"), 0.0 if aside_s < 9 else 9.0) == []
    assert machine.next_wake() == aside_s
    assert sends(machine.on(Woke(), aside_s)) == [("c2", "a")]


def test_unavailable_without_retry_after_is_a_failure_but_no_pause() -> None:
    """A 503 that names no time counts against the replica and leaves it in traffic."""
    machine = house("a", retries=ONCE)
    fail(machine, 1, 0.0, "upstream_unavailable")
    assert machine.replicas(0.0)[0].failed == 1
    assert sends(machine.on(arrived("c1"), 0.0)) == [("c1", "a")]
