"""Playbooks of benchmarks: when one begins, what ends it, and what its result does; with literal times."""

from typing import Any

import pytest

from penstock.base.nouns import BenchmarkView
from penstock.core.bench import AGAIN_S, AT_ONCE
from penstock.core.effects import Forget
from penstock.core.events import (
    Began,
    Benched,
    Ended,
    Event,
    Failed,
    FleetSeen,
    Listed,
    Observed,
    Probed,
    Reconfigured,
    Woke,
)
from penstock.core.gate import Gate
from penstock.core.spec import (
    GateSpec,
    ProbeSpec,
    QueueSpec,
    RetrySpec,
)
from tests.core.benched import LIMIT_S, ON, bench, benched_house, good, held, shown, stop
from tests.core.playbook import (
    arrived,
    fleet,
    gate,
    house,
    looks,
    nothing_held,
    pool,
    replica,
    send,
    sends,
    stats,
    tell,
)

# ===== begin =====


def test_it_is_off_unless_it_is_asked_for() -> None:
    """Without the setting no alarm is set and no order given."""
    machine = house("a")
    assert machine.next_wake() is None
    assert shown(machine, 0.0) is None


def test_a_new_replica_is_benchmarked_once() -> None:
    """At once, with one of its seats, which comes back with the result; and not again."""
    machine = benched_house("a", seats=4)
    assert machine.next_wake() == 0.0
    assert machine.on(Woke(), 0.0) == [bench(1)]
    assert held(machine) == 1
    assert shown(machine, 1.0) == BenchmarkView(state="running")
    assert machine.on(good(1), 2.0) == []
    assert nothing_held(machine)
    assert machine.next_wake() is None
    assert shown(machine, 5.0) == BenchmarkView(state="ok", ttft_s=0.5, tokens_per_s=64.0, age_s=3.0)


def test_it_waits_for_the_first_good_probe() -> None:
    """A replica that warms up owes nothing; once it is healthy it does."""
    machine = gate(pool(probe=ProbeSpec(), benchmark=ON))
    machine.on(fleet("a"), 0.0)
    assert looks(machine.on(Woke(), 0.0)) == [("a", "health")]
    machine.on(Probed("a", True), 0.5)
    assert machine.next_wake() == 0.5
    assert machine.on(Woke(), 0.5) == [bench(1)]


def test_it_waits_until_a_model_is_known() -> None:
    """The engine must have listed what it serves; the first of that is asked for."""
    machine = gate(pool(models=(), benchmark=ON))
    machine.on(fleet("a"), 0.0)
    assert looks(machine.on(Woke(), 0.0)) == [("a", "models")]
    machine.on(Listed("a", ("x", "y")), 0.25)
    assert machine.on(Woke(), 0.25) == [bench(1, model="x")]


@pytest.mark.parametrize(
    "fields, model",
    [
        ({}, "m"),
        ({"models": {"m": "own-name"}}, "own-name"),
        ({"models": {"m": "m", "n": "own-n"}, "compatibility": {"m": "unsupported"}}, "own-n"),
        ({"compatibility": {"m": "unsupported"}}, "n"),
    ],
)
def test_the_model_is_the_first_that_it_serves(fields: dict[str, Any], model: str) -> None:
    """By the replica's own name for it, and never one that it does not run."""
    machine = gate(pool(models=("m", "n"), benchmark=ON))
    machine.on(fleet("a", **fields), 0.0)
    assert machine.on(Woke(), 0.0) == [bench(1, model=model)]


def test_without_a_model_that_it_runs_there_is_none() -> None:
    """It is looked again every second, at no cost."""
    machine = gate(pool(benchmark=ON))
    machine.on(fleet("a", compatibility={"m": "unsupported"}), 0.0)
    assert machine.on(Woke(), 0.0) == []
    assert machine.next_wake() == AGAIN_S


def test_a_replica_that_calls_have_measured_owes_none() -> None:
    """Real calls know better: a benchmark that has not begun is dropped."""
    machine = benched_house("a", seats=1)
    machine.on(arrived("c1", stream=True), 0.0)
    assert machine.on(Woke(), 0.0) == []  # its seat is taken
    tell(machine, Began("c1", 1), Ended("c1", 1, 200), now=0.5)
    assert machine.on(Woke(), 1.0) == []
    assert machine.next_wake() is None
    assert shown(machine, 1.0) is None


def test_it_does_not_begin_while_calls_wait() -> None:
    """A seat that frees goes to who waits for it, and the benchmark waits for an empty line."""
    machine = benched_house("a", retries=RetrySpec(attempts=1))
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    assert machine.on(Woke(), 0.0) == []
    assert sends(machine.on(Failed("c1", 1, "bad_response"), 0.5)) == [("c2", "a")]
    assert machine.on(Woke(), 1.0) == []
    machine.on(Failed("c2", 1, "bad_response"), 1.5)
    assert machine.on(Woke(), 2.0) == [bench(1)]


def test_at_most_so_many_run_at_the_same_time() -> None:
    """A fleet that starts is benchmarked in turns."""
    names = [f"r{n:02}" for n in range(AT_ONCE + 2)]
    machine = benched_house(*names)
    begun = machine.on(Woke(), 0.0)
    assert looks(begun) == [(name, "bench") for name in names[:AT_ONCE]]
    machine.on(good(1, "r00"), 0.5)
    assert looks(machine.on(Woke(), 1.0)) == [(names[AT_ONCE], "bench")]


def test_a_pool_at_its_own_bound_begins_none() -> None:
    """Where the pool may have no more in flight, a benchmark is too much as well."""
    machine = house("a", seats=4, benchmark=ON, queue=QueueSpec(max_in_flight=1))
    machine.on(arrived("c1"), 0.0)
    assert machine.on(Woke(), 0.0) == []


# ===== real traffic comes first =====


def test_other_seats_serve_meanwhile() -> None:
    """With two seats a call is sent at once beside the benchmark."""
    machine = benched_house("a", seats=2)
    machine.on(Woke(), 0.0)
    assert machine.on(arrived("c1"), 1.0) == [send("c1", 1, "a")]
    assert machine.on(good(1), 2.0) == []
    assert held(machine) == 1


def test_a_call_that_would_wait_ends_it() -> None:
    """It is stopped at its engine and the call has its seat, at the same time; its turn comes again later."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    assert machine.on(arrived("c1"), 1.0) == []
    assert machine.next_wake() == 1.0
    assert machine.on(Woke(), 1.0) == [stop(1), send("c1", 1, "a")]
    assert shown(machine, 1.0) == BenchmarkView(state="given_up")


def test_one_that_was_given_up_is_begun_anew() -> None:
    """Unless the call has shown how quick the replica is."""
    machine = benched_house("a", retries=RetrySpec(attempts=1))
    machine.on(Woke(), 0.0)
    tell(machine, arrived("c1"), Woke(), now=1.0)
    machine.on(Failed("c1", 1, "bad_response"), 1.5)
    assert machine.on(Woke(), 2.0) == [bench(2)]
    tell(machine, arrived("c2"), Woke(), Ended("c2", 1, 200), now=3.0)
    assert machine.on(Woke(), 4.0) == []
    assert machine.next_wake() is None
    assert nothing_held(machine)


def test_what_is_told_of_one_that_was_given_up_means_nothing() -> None:
    """A late result frees no seat and shows nothing."""
    machine = benched_house("a")
    tell(machine, Woke(), arrived("c1"), Woke(), now=0.0)
    assert machine.on(good(1), 0.5) == []
    assert held(machine) == 1
    assert machine.replicas(0.5)[0].ttft_ewma_s is None
    for fact in (good(0), good(7), good(1, "z")):
        assert machine.on(fact, 1.0) == []
    assert held(machine) == 1


# ===== every way out =====


@pytest.mark.parametrize("ok", [True, False])
def test_its_seat_goes_to_who_waits(ok: bool) -> None:
    """However it ends, before the Gate was woken to end it."""
    machine = benched_house("a")
    tell(machine, Woke(), arrived("c1"), now=0.0)
    fact = good(1) if ok else Benched("a", 1, detail="TimeoutError")
    assert machine.on(fact, 0.0) == [send("c1", 1, "a")]


def test_a_failed_one_changes_nothing_but_is_shown() -> None:
    """No mean, no health; and no second try while the replica stays in service."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    assert machine.on(Benched("a", 1, detail="status 400"), 3.0) == []
    (view,) = machine.replicas(4.0)
    assert view.benchmark == BenchmarkView(state="failed", age_s=1.0, detail="status 400")
    assert (view.state, view.ttft_ewma_s, view.error_rate, view.failed) == ("healthy", None, 0.0, 0)
    assert nothing_held(machine)
    assert machine.next_wake() is None


def test_one_that_never_comes_back_loses_its_seat() -> None:
    """Its performer ends it at its limit; if he does not, the Gate does, a little later."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    assert machine.next_wake() == LIMIT_S
    assert machine.on(Woke(), LIMIT_S) == [stop(1)]
    assert nothing_held(machine)
    assert shown(machine, LIMIT_S) == BenchmarkView(state="failed", age_s=0.0, detail="no answer")
    assert machine.next_wake() is None


def test_a_replica_that_leaves_ends_it() -> None:
    """The order to stop comes before the replica is forgotten."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    assert machine.on(FleetSeen(()), 1.0) == [stop(1), Forget("a")]
    assert nothing_held(machine)
    assert machine.next_wake() is None
    assert machine.on(good(1), 2.0) == []


def test_who_moves_is_another_replica() -> None:
    """The old address's benchmark is stopped; the new one has its own, which the old one's result does not end."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    assert machine.on(FleetSeen((replica("a", url="http://elsewhere"),)), 1.0) == [stop(1)]
    assert machine.on(Woke(), 1.0) == [bench(2)]
    machine.on(good(1), 2.0)
    assert held(machine) == 1
    machine.on(good(2), 3.0)
    assert nothing_held(machine)


def drained(machine: Gate) -> list[Event]:
    """The replica is drained."""
    return [fleet("a", drain=True)]


def ill(machine: Gate) -> list[Event]:
    """Three probes in a row fail."""
    return [Probed("a", False)] * 3


def crowded(machine: Gate) -> list[Event]:
    """The engine's own queue is long."""
    return [Observed("a", stats(waiting=99))]


def switched_off(machine: Gate) -> list[Event]:
    """The settings no longer want it."""
    return [Reconfigured(GateSpec(pools=(pool(probe=ProbeSpec()),)))]


@pytest.mark.parametrize("what", [drained, ill, crowded, switched_off])
def test_out_of_service_means_given_up(what: Any) -> None:
    """The seat is back at the next turn, and nothing begins while it is so."""
    machine = gate(pool(probe=ProbeSpec(), benchmark=ON))
    machine.on(fleet("a"), 0.0)
    machine.on(Probed("a", True), 0.0)
    assert bench(1) in machine.on(Woke(), 0.0)
    tell(machine, *what(machine), now=1.0)
    out = machine.on(Woke(), 1.0)
    assert stop(1) in out
    assert nothing_held(machine)
    assert "bench" not in [look for _, look in looks(out)]


def test_a_pool_that_goes_takes_its_benchmark_along() -> None:
    """A reload without the pool stops it and forgets its replica."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    assert machine.on(Reconfigured(GateSpec(pools=(pool("other"),))), 1.0) == [stop(1), Forget("a")]
    assert nothing_held(machine)


def test_a_reload_that_keeps_it_lets_it_go_on() -> None:
    """New settings of another kind do not disturb it."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    machine.on(Reconfigured(GateSpec(pools=(pool(benchmark=ON, retries=RetrySpec(attempts=2)),))), 1.0)
    assert machine.on(Woke(), 1.0) == []
    assert held(machine) == 1
    assert machine.next_wake() == LIMIT_S


def test_it_may_be_switched_on_by_a_reload() -> None:
    """Replicas that serve and were never measured owe one from then on."""
    machine = house("a")
    machine.on(Reconfigured(GateSpec(pools=(pool(benchmark=ON),))), 1.0)
    assert machine.on(Woke(), 1.0) == [bench(1)]
