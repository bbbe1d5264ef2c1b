"""The cost of decisions is measured on a Gate that really sends, at every size."""

import pytest

from bench.core_cost import SEATS, Fleet, cost_us
from penstock.core.route.presets import STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES.names())
def test_fleet_is_half_full(strategy: str) -> None:
    """While it is measured, the fleet stays half full with an empty queue, whatever the strategy."""
    fleet = Fleet(strategy, 4)
    for _ in range(50):
        assert fleet.turn() > 0
    assert fleet.gate.counts()["flights"] == 4 * SEATS // 2
    assert fleet.gate.counts()["waiting"] == 0


@pytest.mark.parametrize("hedge", [False, True])
def test_cost_is_microseconds(hedge: bool) -> None:
    """One call's decisions cost more than nothing and less than a millisecond, with alarms for hedges or without."""
    assert 0.5 < cost_us("round_robin", 2, calls=50, rounds=2, hedge=hedge) < 1000
