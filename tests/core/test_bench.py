"""Playbooks of benchmarks: when one begins, what ends it, and what its result does; with literal times."""

from typing import Any

import pytest

from penstock.base.nouns import BenchmarkView
from penstock.core.bench import AGAIN_S, AT_ONCE, GRACE_S
from penstock.core.effects import BENCHMARK, Bench, Cancel, Forget, Probe
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
from penstock.core.route.presets import Adaptive, LeastResponseTime, P2CPeakEwma, ResourceBased, Strategy
from penstock.core.spec import (
    BenchmarkSpec,
    BreakerSpec,
    GateSpec,
    OutlierSpec,
    ProbeSpec,
    QueueSpec,
    RetrySpec,
    ScrapeSpec,
    SlowStartSpec,
)
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
    states,
    stats,
    tell,
)

ON = BenchmarkSpec(enabled=True)
LIMIT_S = ON.timeout_s + GRACE_S


def benched_house(*ids: str, seats: int = 1, **fields: Any) -> Gate:
    """A house whose replicas owe a benchmark."""
    return house(*ids, seats=seats, benchmark=ON, **fields)


def bench(number: int, replica: str = "a", model: str = "m") -> Probe:
    """The order to begin one, with the default settings."""
    return Probe(replica, "bench", 30.0, Bench(number, model, 512, 32, 2))


def stop(number: int, replica: str = "a") -> Cancel:
    """The order to give one up."""
    return Cancel(BENCHMARK + replica, number)


def good(number: int, replica: str = "a", ttft_s: float = 0.5, tokens_per_s: float | None = 64.0) -> Benched:
    """It went well."""
    return Benched(replica, number, True, ttft_s, tokens_per_s)


def held(machine: Gate) -> int:
    """Seats that are taken."""
    return machine.counts()["seats_taken"]


def shown(machine: Gate, now: float) -> BenchmarkView | None:
    """What the only replica's view says."""
    (view,) = machine.replicas(now)
    return view.benchmark


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


# ===== who returns =====


def test_who_returns_owes_one_while_calls_have_measured_nothing() -> None:
    """Its engine may be another one: the new result takes the old one's place."""
    machine = gate(pool(benchmark=ON))
    machine.on(fleet("a"), 0.0)
    machine.on(Woke(), 0.0)
    machine.on(good(1, ttft_s=0.5), 1.0)
    machine.on(fleet("a", drain=True), 2.0)
    machine.on(fleet("a"), 3.0)
    assert machine.on(Woke(), 3.0) == [bench(2)]
    assert shown(machine, 3.0) == BenchmarkView(state="running", ttft_s=0.5, tokens_per_s=64.0, age_s=2.0)
    machine.on(good(2, ttft_s=0.25), 4.0)
    assert machine.replicas(4.0)[0].ttft_ewma_s == 0.25


def test_who_is_on_trial_owes_none_yet() -> None:
    """A half-open breaker lets one call through, and that is no benchmark."""
    machine = house("a", seats=4, benchmark=ON, retries=RetrySpec(attempts=1), breaker=BreakerSpec(failures=1))
    machine.on(arrived("c1"), 0.0)
    machine.on(Failed("c1", 1, "bad_response"), 0.0)
    assert states(machine) == {"a": "unhealthy"}
    assert machine.on(Woke(), 0.0) == []
    assert machine.on(Woke(), 30.0) == []
    assert machine.replicas(30.0)[0].breaker == "half_open"
    assert machine.on(Woke(), 31.0) == []


# ===== the result =====


def test_the_means_begin_with_it() -> None:
    """Time to first token as measured; a whole answer at the measured speed; calls then weigh a tenth each."""
    machine = benched_house("a", seats=2, strategy=ResourceBased())
    machine.on(Woke(), 0.0)
    machine.on(good(1, ttft_s=0.5, tokens_per_s=64.0), 1.0)
    seat = machine._fleet.seats["a"]
    assert (seat.ttft_s, seat.latency_s, seat.whole_s) == (0.5, 4.5, 4.5)  # 256 tokens at 64 a second
    assert seat.peak.value_at(10.0, 9.0, 1.0) == 0.5
    tell(machine, arrived("c1", stream=True), now=2.0)
    tell(machine, Began("c1", 1), now=3.5)
    assert seat.ttft_s == pytest.approx(0.5 + 0.1 * 1.0)
    assert seat.measured
    machine.on(Ended("c1", 1, 200), 3.5)
    assert seat.whole_s == pytest.approx(4.5 - 0.1 * 3.0)


def test_what_calls_have_measured_meanwhile_stays() -> None:
    """A benchmark whose replica served a call beside it does not overwrite what the call showed."""
    machine = benched_house("a", seats=2)
    machine.on(Woke(), 0.0)
    machine.on(arrived("c1", stream=True), 0.0)
    tell(machine, Began("c1", 1), Ended("c1", 1, 200), now=0.25)
    machine.on(good(1, ttft_s=9.0), 1.0)
    seat = machine._fleet.seats["a"]
    assert (seat.ttft_s, seat.peak.value, seat.latency_s) == (0.25, 0.25, 13.0)


def test_without_a_speed_only_the_first_token_is_known() -> None:
    """An engine that sends its answer in one piece tells nothing of whole answers."""
    machine = benched_house("a")
    machine.on(Woke(), 0.0)
    machine.on(good(1, tokens_per_s=None), 1.0)
    seat = machine._fleet.seats["a"]
    assert (seat.ttft_s, seat.latency_s, seat.whole_s) == (0.5, None, None)


@pytest.mark.parametrize(
    "strategy", [Adaptive(), LeastResponseTime(), P2CPeakEwma(), ResourceBased()], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("stream", [True, False])
def test_routing_uses_it(strategy: Strategy, stream: bool) -> None:
    """Before any call was measured the replica that its benchmark found quicker is chosen; without benchmarks both are
    alike, and the turn or the lot decides."""
    machine = house("slow", "quick", seats=8, strategy=strategy, benchmark=ON, slow_start=SlowStartSpec(window_s=0))
    machine.on(Woke(), 0.0)
    machine.on(good(1, "slow", ttft_s=4.0, tokens_per_s=4.0), 5.0)
    machine.on(good(2, "quick", ttft_s=0.25, tokens_per_s=100.0), 5.0)
    assert sends(machine.on(arrived("c1", stream=stream), 5.0)) == [("c1", "quick")]


def test_health_is_not_judged_by_it() -> None:
    """A replica that a benchmark found ten times slower than the others is not put out for that."""
    machine = house("a", "b", "c", benchmark=ON, outliers=OutlierSpec())
    machine.on(Woke(), 0.0)
    for number, name in enumerate("abc", 1):
        machine.on(good(number, name, ttft_s=0.1 if name < "c" else 10.0), 1.0)
    machine.on(Woke(), 60.0)
    assert states(machine, 60.0) == {"a": "healthy", "b": "healthy", "c": "healthy"}


def test_scrapes_and_probes_go_on_beside_it() -> None:
    """A benchmark is one look among others."""
    machine = gate(pool(probe=ProbeSpec(), scrape=ScrapeSpec(), benchmark=ON))
    machine.on(fleet("a", engine="vllm"), 0.0)
    machine.on(Probed("a", True), 0.0)
    assert looks(machine.on(Woke(), 0.0)) == [("a", "health"), ("a", "stats"), ("a", "bench")]
