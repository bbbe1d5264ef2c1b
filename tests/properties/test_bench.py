"""What holds whatever happens where replicas are benchmarked all the time: no call waits for one, no seat is lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from penstock.base.nouns import Replica
from penstock.core import spec as parts
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
