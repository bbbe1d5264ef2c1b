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


@pytest.mark.parametrize("strategy", ["adaptive", "prefix_aware"])
def test_prompts_are_as_asked_for(strategy: str) -> None:
    """Unique ones are known to nobody, shared ones to somebody after a while, and without any nothing is remembered."""
    found = {}
    for prompts in ("none", "unique", "shared"):
        fleet = Fleet(strategy, 4, prompts=prompts)
        for _ in range(100):
            fleet.turn()
        prefix = fleet.gate._fleet.pools["pool"].pipeline.prefix
        assert prefix is not None
        found[prompts] = (len(prefix.index), prefix.index.turn)
    assert found["none"] == (0, 0)
    assert found["unique"][1] > found["shared"][1] == 64


def test_calls_wait_where_that_is_asked_for() -> None:
    """All seats are taken, and so many calls wait after every turn."""
    fleet = Fleet("adaptive", 2, prompts="shared", waiting=5)
    for _ in range(30):
        assert fleet.turn() > 0
        assert fleet.gate.counts()["waiting"] == 5
        assert fleet.gate.counts()["seats_taken"] == 2 * SEATS


def test_limits_are_held_where_that_is_asked_for() -> None:
    """Every call in flight holds something of its tenant's limits, and none is ever barred."""
    fleet = Fleet("round_robin", 4, limits=True)
    for _ in range(30):
        assert fleet.turn() > 0
    assert fleet.gate.counts()["limit_holds"] == 4 * SEATS // 2
    assert Fleet("round_robin", 4).gate.counts()["limit_holds"] == 0
