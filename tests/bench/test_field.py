"""The field: ten scenarios that can be read, each with the knob that its load is set by."""

import pytest

from bench.field import NAMES, OPPOSED, TRIED, at_load
from penstock.config.scenarios import Scenario
from penstock.core.route.presets import STRATEGIES
from penstock.workload.combine import Speed


@pytest.mark.parametrize("name", NAMES)
def test_each_scenario_is_read_and_can_be_made_faster(name: str) -> None:
    """Twice the load is twice the speed, and nothing else is changed."""
    own, twice = at_load(name, 1.0), at_load(name, 2.0)
    assert isinstance(own, Scenario)
    assert isinstance(own.workload, Speed)
    assert isinstance(twice.workload, Speed)
    assert twice.workload.factor == 2.0 * own.workload.factor
    assert (own.fleet, own.slo, own.faults) == (twice.fleet, twice.slo, twice.faults)


def test_there_are_ten_and_all_strategies_that_can_tell_replicas_apart() -> None:
    """Left out are the two that need readings which a simulation does not have."""
    assert len(NAMES) == 10
    assert set(STRATEGIES.names()) - set(TRIED) == {
        "gpu_aware", "resource_based", "regional", "regional_classic",
    }  # fmt: skip
    assert len(OPPOSED) == 6
