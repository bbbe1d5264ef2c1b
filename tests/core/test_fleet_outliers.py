"""Playbooks of ejection and panic through the Gate: who is put out, when he is back, when ill replicas are asked."""

from typing import Any

import pytest

from penstock.base.rand import Rand
from penstock.core.effects import Send
from penstock.core.events import Arrived, Began, Ended, Failed, FleetSeen, Probed, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.route.presets import RoundRobin
from penstock.core.spec import (
    BreakerSpec,
    GateSpec,
    LatencySpec,
    OutlierSpec,
    PanicSpec,
    PoolSpec,
    ProbeSpec,
    QueueSpec,
    RetrySpec,
    SlowStartSpec,
)
from tests.core.playbook import arrived, call, fleet, gate, house, pool, refusals, replica, sends, states, tell

ONCE = RetrySpec(attempts=1)
FIVE = ("a", "b", "c", "d", "e")


def traffic(machine: Gate, bad: str, now: float, count: int = 600) -> dict[str, int]:
    """Calls one after another; at one replica every second fails (never five in a row). How many each got."""
    got = dict.fromkeys(FIVE, 0)
    for number in range(count):
        name = f"{now}-{number}"
        ((_, where),) = sends(machine.on(Arrived(call(name)), now))
        got[where] += 1
        failed = where == bad and got[where] % 2
        machine.on(Failed(name, 1, "upstream_5xx") if failed else Ended(name, 1, 200), now)
    return got


def turns(**fields: Any) -> Gate:
    """Five replicas that take turns."""
    return house(*FIVE, seats=8, strategy=RoundRobin(), retries=ONCE, slow_start=SlowStartSpec(window_s=0.0), **fields)


def passing(machine: Gate, bad: str, *ends: int) -> list[str]:
    """Let intervals with traffic pass that end at these times; who is put out then."""
    for end in ends:
        traffic(machine, bad, end - 0.5)
        machine.on(Woke(), float(end))
    return ejected(machine)


def ejected(machine: Gate, now: float = 0.0) -> list[str]:
    """Who is put out."""
    return [view.id for view in machine.replicas(now) if view.ejected]


def test_an_outlier_is_out_for_thirty_seconds_then_sixty() -> None:
    """After the interval the replica that fails every second call gets nothing; it is back after 30 s, and where it has
    not changed it is out for 60 s; the count is kept by time in which it behaves."""
    machine = turns()
    assert machine.next_wake() == 10.0
    machine.on(Woke(), 10.0)
    assert traffic(machine, "c", 15.0) == dict.fromkeys(FIVE, 120)
    machine.on(Woke(), 20.0)
    assert ejected(machine) == ["c"]
    assert (states(machine)["c"], machine.pools(20.0)[0].healthy) == ("unhealthy", 4)
    assert machine.pools(20.0)[0].ejections == {"success_rate": 1}
    assert traffic(machine, "c", 25.0)["c"] == 0
    assert passing(machine, "c", 30, 40) == ["c"]
    assert passing(machine, "c", 50) == []
    assert passing(machine, "c", 60) == ["c"]
    assert passing(machine, "c", 70, 80, 90, 100, 110, 119) == ["c"]
    assert passing(machine, "c", 120) == []
    health = machine._fleet.seats["c"].health
    counts = []
    for at in (130, 140, 150):
        passing(machine, "nobody", at)
        counts.append(health.ejections)
    assert counts == [1, 0, 0]


def test_a_good_probe_does_not_bring_it_back() -> None:
    """A probe says that a process answers; what put it out was how it answered calls."""
    machine = turns(probe=ProbeSpec())
    tell(machine, *(Probed(each, True) for each in FIVE), now=0.0)
    machine.on(Woke(), 10.0)
    traffic(machine, "c", 15.0)
    machine.on(Woke(), 20.0)
    tell(machine, Probed("c", True), Probed("c", True), Probed("c", True), now=21.0)
    assert ejected(machine) == ["c"]
    assert traffic(machine, "c", 22.0)["c"] == 0


def test_fewer_than_five_replicas_run_no_clock() -> None:
    """Nobody is woken for a comparison that cannot be made; it begins and ends with the fifth."""
    machine = house("a", "b", "c", "d")
    assert machine.next_wake() is None
    machine.on(fleet(*FIVE), 7.0)
    assert machine.next_wake() == 17.0
    machine.on(fleet("a", "b"), 8.0)
    assert machine.next_wake() is None


def test_who_is_out_comes_back_when_it_is_switched_off() -> None:
    """A reload without outliers ends what they began; who leaves the fleet leaves no alarm."""
    machine = turns()
    machine.on(Woke(), 10.0)
    traffic(machine, "c", 15.0)
    machine.on(Woke(), 20.0)
    assert ejected(machine) == ["c"]
    machine.on(Reconfigured(GateSpec(pools=(pool(outliers=OutlierSpec(enabled=False)),))), 21.0)
    assert ejected(machine) == []
    assert machine.next_wake() is None
    machine.on(FleetSeen(()), 22.0)
    machine.on(Reconfigured(GateSpec()), 23.0)
    assert machine.next_wake() is None


def test_a_frozen_replica_that_answers_probes_is_put_out() -> None:
    """With latency on: five streamed calls wait at it for far longer than is its habit, while the others go on."""
    machine = turns(probe=ProbeSpec(), outliers=OutlierSpec(latency=LatencySpec(enabled=True)))
    tell(machine, *(Probed(each, True) for each in FIVE), now=0.0)

    def answer(name: str, now: float, frozen: str) -> None:
        ((_, where),) = sends(machine.on(Arrived(call(name, stream=True)), now))
        if where != frozen:
            tell(machine, Began(name, 1), now=now + 0.5)
            tell(machine, Ended(name, 1, 200), now=now + 0.6)

    machine.on(Woke(), 10.0)
    for number in range(50):
        answer(f"one{number}", 11.0, "")
    machine.on(Woke(), 20.0)
    for number in range(30):
        answer(f"two{number}", 21.0, "d")
        tell(machine, *(Probed(each, True) for each in FIVE), now=22.0)
    machine.on(Woke(), 30.0)
    assert ejected(machine) == ["d"]
    assert machine.pools(30.0)[0].ejections == {"latency": 1}


# ===== panic =====


def probed(*ids: str, below: float = 0.5, **fields: Any) -> Gate:
    """Replicas of two seats that were well at first, in a pool that may panic."""
    plain: dict[str, Any] = {"probe": ProbeSpec(), "panic": PanicSpec(below=below), "retries": ONCE, **fields}
    machine = gate(pool(**plain))
    machine.on(fleet(*ids, max_concurrent_requests=2), 0.0)
    tell(machine, *(Probed(each, True) for each in ids), now=0.0)
    return machine


def ill(machine: Gate, *ids: str, now: float = 1.0) -> None:
    """Probes take these out."""
    for each in ids:
        tell(machine, *(Probed(each, False) for _ in range(3)), now=now)


def in_panic(machine: Gate) -> bool:
    """Whether the pool shows it."""
    return machine.pools(1.0)[0].panic


def test_panic_begins_below_half_and_not_at_half() -> None:
    """Two of four ill: the well ones carry it. Three: all four are asked, the ill ones on trial, one call each."""
    machine = probed("a", "b", "c", "d")
    ill(machine, "a", "b")
    assert not in_panic(machine)
    assert {to for _, to in sends(tell(machine, *(arrived(f"c{n}") for n in range(9)), now=2.0))} == {"c", "d"}
    machine = probed("a", "b", "c", "d")
    ill(machine, "a", "b", "c")
    assert in_panic(machine)
    assert machine.pools(1.0)[0].healthy == 1
    sent = sends(tell(machine, *(arrived(f"c{n}") for n in range(9)), now=2.0))
    assert sorted(to for _, to in sent) == ["a", "b", "c", "d", "d"]


def test_the_first_good_answer_brings_back_all_seats() -> None:
    """In a panic an ill replica that ends a call well has proved the probes wrong; a failure puts it on trial again."""
    machine = probed("a")
    ill(machine, "a")
    assert not machine.ready()
    assert sends(tell(machine, *(arrived(f"c{n}") for n in range(4)), now=2.0)) == [("c0", "a")]
    assert sends(machine.on(Ended("c0", 1, 200), 3.0)) == [("c1", "a"), ("c2", "a")]
    assert machine.ready()
    assert sends(machine.on(Failed("c1", 1, "upstream_5xx"), 4.0)) == []
    assert not machine.ready()
    assert sends(machine.on(Ended("c2", 1, 200), 5.0)) == [("c3", "a")]


def test_panic_ends_when_enough_are_well() -> None:
    """Two good probes bring one back to health, and with it half of the pool: the others are left alone again."""
    machine = probed("a", "b")
    ill(machine, "a", "b")
    assert in_panic(machine)
    tell(machine, Probed("a", True), Probed("a", True), now=2.0)
    assert not in_panic(machine)
    assert {to for _, to in sends(tell(machine, *(arrived(f"c{n}") for n in range(4)), now=3.0))} == {"a"}


def test_a_pool_that_is_truly_dead_refuses_after_a_few_attempts() -> None:
    """Five refused connections a replica open the breakers, which panic does not doubt: from then on calls are refused
    without an attempt, until the breakers try again."""
    machine = probed("a", "b", breaker=BreakerSpec(open_s=1000.0), queue=QueueSpec(unavailable_wait_s=0.0))
    ill(machine, "a", "b")
    attempts = []
    for number in range(50):
        sent = sends(machine.on(arrived(f"c{number}"), 2.0))
        attempts += sent
        for name, _ in sent:
            out = machine.on(Failed(name, 1, "connect_refused"), 2.0)
            assert refusals(out) == [(name, "no_replica", 503)]
    assert sorted(to for _, to in attempts) == ["a"] * 5 + ["b"] * 5
    machine.on(arrived("last"), 3.0)
    assert refusals(machine.on(Woke(), 3.0))[-1] == ("last", "no_replica", 503)
    assert not machine.ready()


def test_a_call_reaches_somebody_in_a_panic() -> None:
    """Of four replicas that probes call ill three are dead; retries and failover find the one that is not."""
    machine = probed("a", "b", "c", "d", retries=RetrySpec())
    ill(machine, "a", "b", "c", "d")
    served = 0
    for number in range(40):
        orders = machine.on(arrived(f"c{number}"), 2.0)
        while found := sends(orders):
            ((name, where),) = found
            (attempt,) = (order.attempt for order in orders if isinstance(order, Send))
            if where == "d":
                machine.on(Ended(name, attempt, 200), 2.0)
                served += 1
                break
            orders = machine.on(Failed(name, attempt, "connect_refused"), 2.0)
    assert served >= 35


@pytest.mark.parametrize("below", [0.0, 1.0])
def test_the_threshold_is_configurable(below: float) -> None:
    """0 never panics, 1 does as soon as one is ill."""
    machine = probed("a", "b", "c", below=below)
    ill(machine, "a")
    assert in_panic(machine) == bool(below)
    ill(machine, "b", "c")
    assert in_panic(machine) == bool(below)


def test_panic_asks_nobody_who_was_never_well_or_is_leaving() -> None:
    """A replica that still loads its model and one that drains get nothing, and do not count."""
    machine = probed("a", "b")
    machine.on(FleetSeen((replica("a"), replica("b", drain=True), replica("c"), replica("d"))), 0.5)
    assert not in_panic(machine)
    ill(machine, "a", "c", "d")
    assert in_panic(machine)
    sent = sends(tell(machine, *(arrived(f"c{n}") for n in range(9)), now=2.0))
    assert sent == [("c0", "a")]


def test_a_pause_that_a_replica_asked_for_holds_in_a_panic() -> None:
    """Retry-After and a long queue are a living replica's own word, not our judgement of it."""
    machine = probed("a")
    ill(machine, "a")
    machine.on(arrived("c1"), 2.0)
    machine.on(Failed("c1", 1, "upstream_busy", 429, 5.0), 2.0)
    assert sends(machine.on(arrived("c2"), 3.0)) == []


def test_backups_carry_the_load_before_anybody_panics() -> None:
    """All primaries ill and a backup well: it takes over. When it falls ill too, everybody is asked."""
    machine = probed("a", "b", "z")
    machine.on(FleetSeen((replica("a"), replica("b"), replica("z", backup=True))), 0.5)
    ill(machine, "a", "b")
    assert not in_panic(machine)
    assert sends(machine.on(arrived("c1"), 2.0)) == [("c1", "z")]
    ill(machine, "z", now=3.0)
    assert in_panic(machine)
    assert {to for _, to in sends(tell(machine, arrived("c2"), arrived("c3"), now=4.0))} == {"a", "b"}


def test_a_call_that_waits_is_sent_when_panic_begins() -> None:
    """Who waits for the one well replica is served by an ill one as soon as the pool panics."""
    machine = probed("a", "b", "c")
    ill(machine, "a")
    tell(machine, *(arrived(f"c{n}") for n in range(6)), now=2.0)
    out = tell(machine, *(Probed("b", False) for _ in range(3)), now=3.0)
    assert [to for _, to in sends(out)] == ["a"]


# ===== a bound on the pool =====


def test_a_pool_may_have_fewer_calls_in_flight_than_seats() -> None:
    """With max_in_flight 3 the fourth call waits though seats are free, and goes when one ends."""
    machine = Gate(GateSpec(pools=(pool(queue=QueueSpec(max_in_flight=3)),)), Rand(1))
    machine.on(fleet("a", "b", max_concurrent_requests=8), 0.0)
    assert len(sends(tell(machine, *(arrived(f"c{n}") for n in range(5)), now=1.0))) == 3
    assert sends(machine.on(Ended("c0", 1, 200), 2.0)) == [("c3", "a")]
    assert PoolSpec(name="x").queue.max_in_flight is None
