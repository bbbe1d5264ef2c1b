"""Playbooks of what a benchmark's result does, and of replicas that return; with literal times."""

import pytest

from penstock.base.nouns import BenchmarkView
from penstock.core.events import (
    Began,
    Ended,
    Failed,
    Probed,
    Woke,
)
from penstock.core.route.presets import Adaptive, LeastResponseTime, P2CPeakEwma, ResourceBased, Strategy
from penstock.core.spec import (
    BreakerSpec,
    OutlierSpec,
    ProbeSpec,
    RetrySpec,
    ScrapeSpec,
    SlowStartSpec,
)
from tests.core.benched import ON, bench, benched_house, good, shown
from tests.core.playbook import (
    arrived,
    fleet,
    gate,
    house,
    looks,
    pool,
    sends,
    states,
    tell,
)

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
