"""What holds whatever happens where replicas are benchmarked all the time: no call waits for one, no seat is lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from penstock.base.nouns import Call, Replica
from penstock.core import spec as parts
from penstock.core.route.presets import LeastResponseTime
from penstock.engine.batcher import EngineSpec
from tests.helpers.arena import Arena, Visit
from tests.properties.drawn import TENANTS, replicas, specs
from tests.properties.test_gate import GateMachine


class BenchingMachine(GateMachine):
    """All pools have benchmarks, and replicas come that nobody knows."""

    @initialize(spec=specs(benching=True), fleet=replicas(least=2), seed=st.integers(0, 9))
    def start(self, spec: parts.GateSpec, fleet: tuple[Replica, ...], seed: int) -> None:
        super().start(spec, fleet, seed)
        self.time_passes(0.0)

    @rule(fleet=replicas(least=2), calls=st.integers(0, 6), tenant=st.sampled_from(TENANTS))
    def fleet_seen(self, fleet: tuple[Replica, ...], calls: int = 0, tenant: str = "t1") -> None:
        """A fleet whose benchmarks have begun when calls come."""
        self.tell_fleet(fleet)
        self.time_passes(0.0)
        for _ in range(calls):
            self.arrive("m", tenant, "", True, True, 1, "/v1/chat/completions", 2, "standard", None)
        self.time_passes(0.0)

    @rule(spec=specs(benching=True))
    def reconfigured(self, spec: parts.GateSpec) -> None:
        super().reconfigured(spec)


@pytest.mark.slow
def test_benchmarks_take_nothing_from_calls() -> None:
    """A benchmark holds one seat and gives it back on every way out, and at once where a call would wait for it."""
    run_state_machine_as_test(BenchingMachine, settings=settings(max_examples=100, stateful_step_count=40))


# ===== over emulated engines, in virtual time =====


def arena(replicas: int, seats: int) -> Arena:
    """A pool with benchmarks whose first replica is ten times slower than the others."""
    pool = parts.PoolSpec(
        name="main", models=("m",), strategy=LeastResponseTime(), probe=parts.ProbeSpec(enabled=False),
        scrape=parts.ScrapeSpec(enabled=False), slow_start=parts.SlowStartSpec(window_s=0),
        benchmark=parts.BenchmarkSpec(enabled=True),
    )  # fmt: skip
    return Arena(pool, replicas, seats, EngineSpec(), slow=EngineSpec(speed=0.1))


def visit(number: int, at: float) -> Visit:
    """A streamed call at this time."""
    return Visit(at, Call(f"c{number}", model="m", stream=True, prompt_tokens=400), 20)


def test_engines_are_found_to_be_as_quick_as_they_are() -> None:
    """A tenth of the speed is ten times the time to first token and a tenth of the tokens a second; and the slow one
    gets none of the first calls, one after the other."""
    made = arena(replicas=3, seats=4)
    rows = made.run([visit(number, 30.0 + number) for number in range(20)])
    slow, quick, other = (view.benchmark for view in made.gate.replicas(30.0))
    assert slow is not None
    assert quick is not None
    assert other is not None
    assert quick.ttft_s == other.ttft_s
    assert (slow.ttft_s or 0.0) / (quick.ttft_s or 1.0) == pytest.approx(10.0)
    assert (quick.tokens_per_s or 0.0) / (slow.tokens_per_s or 1.0) == pytest.approx(10.0)
    assert "r0" not in {row.replica for row in rows}


def test_a_call_that_comes_during_a_benchmark_waits_not_a_moment() -> None:
    """On the only seat of the only replica a benchmark runs; the call has its seat at the time at which it came."""
    made = arena(replicas=1, seats=1)
    (row,) = made.run([visit(0, 0.25)])
    assert (row.queue_s, row.outcome, row.attempts) == (0.0, "ok", 1)
    assert made.engines["r0"].batcher.running == 0
    assert not any(made.gate.counts().values())
