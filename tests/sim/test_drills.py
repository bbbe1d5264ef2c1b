"""The ten tests: all there, each with a small size of its own and a fleet that is ordered at once."""

import pytest
from msgspec.structs import replace

from penstock.cli.pressure import scenario_of
from penstock.config.scenarios import Die, Expect, Group, Scale, Scenario, Storm
from penstock.core.scale.spot import SpotSpec
from penstock.sim.drills import DRILLS, Drill, clairvoyant, smaller, without_greed
from penstock.sim.pressure import KNOWN
from penstock.workload.arrivals import Poisson
from penstock.workload.combine import Cut, Merge, Thin
from penstock.workload.synthetic import Synthetic
from tests.sim.support import scenario

ONE = Synthetic(arrivals=Poisson(rate=1.0), requests=10)


def test_ten_of_them() -> None:
    """Numbers from 1 to 10, each with its file and at least one criterion beside the calm."""
    assert [drill.number for drill in DRILLS] == list(range(1, 11))
    assert len({drill.name for drill in DRILLS}) == 10


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_its_scenario_is_whole(drill: Drill) -> None:
    """The file can be read, expects numbers that there are, and says when all should have settled; so does its small
    size, which has the same criteria."""
    made = scenario_of(drill)
    small = smaller(made, drill.smaller, drill.shorter_s)
    for one in (made, small):
        assert one.calm_s is not None
        assert {expect.metric for expect in one.expect} <= set(KNOWN)
        assert any(not expect.metric.startswith("calm_") for expect in one.expect)
    assert [expect.metric for expect in small.expect] == [expect.metric for expect in made.expect]
    assert bool(small.faults) == bool(made.faults)


def many(**fields: object) -> Scenario:
    """Two groups of replicas, of which the second scales itself."""
    return scenario(
        workload=ONE, fleet=(Group(count=4, cost="fast"), Group(count=6, cost="fast", startup_s=9.0, hourly_cost=2.0)),
        scale=Scale(group=1, min=2, max=20), **fields,
    )  # fmt: skip


def test_smaller() -> None:
    """Requests, replicas, bounds and what is as large as the fleet shrink together; shares and times do not."""
    expect = (Expect(metric="replicas_peak", at_most=20.0), Expect(metric="failed_share", at_most=0.01))
    made = smaller(many(expect=expect), 2, None)
    assert made.workload == Thin(keep=0.5, of=ONE)
    assert [group.count for group in made.fleet] == [2, 3]
    assert made.scale is not None
    assert (made.scale.min, made.scale.max) == (1, 10)
    assert [one.at_most for one in made.expect] == [10.0, 0.01]


def test_faults_befall_the_same_share_of_each_group() -> None:
    """Half of a group stays half of it, and a fault that befalls all still does."""
    faults = (Die(at_s=1.0, replicas=(0, 1, 4, 5, 6)), Die(at_s=2.0))
    made = smaller(many(faults=faults), 2, None)
    assert [fault.replicas for fault in made.faults] == [(0, 2, 3), ()]
    assert smaller(many(faults=faults), 1, None).faults == faults


def test_shorter() -> None:
    """Only the first seconds come, of which the last half is the calm."""
    made = smaller(many(calm_s=500.0), 1, 100.0)
    assert made.workload == Cut(to_s=100.0, of=ONE)
    assert made.calm_s == 50.0


def test_the_fleet_that_is_ordered_at_once() -> None:
    """What is there at first is up, all others up to the bound come after the start-up; replicas keep their numbers."""
    made = clairvoyant(many())
    assert made.scale is None
    assert [(group.count, group.startup_s) for group in made.fleet] == [(4, 0.0), (6, 0.0), (14, 9.0)]
    more = clairvoyant(many(), 9)
    assert [(group.count, group.startup_s) for group in more.fleet] == [(4, 0.0), (6, 0.0), (3, 0.0), (11, 9.0)]


def test_money_bounds_it_too() -> None:
    """The largest fleet is what may be paid for."""
    made = many()
    assert made.scale is not None
    dear = scenario(fleet=made.fleet, scale=Scale(group=1, min=2, max=20, max_hourly_cost=16.0))
    assert [group.count for group in clairvoyant(dear).fleet] == [4, 6, 2]


def test_a_storm_does_not_reach_what_is_on_demand() -> None:
    """The fleet that is ordered at once has as many replicas, none of them spot."""
    made = many()
    assert made.scale is not None
    stormy = replace(made, scale=replace(made.scale, spot=SpotSpec()), faults=(Storm(at_s=1.0), Die(at_s=2.0)))
    assert clairvoyant(stormy).faults == (Die(at_s=2.0),)


def test_a_fleet_that_does_not_scale_is_its_own_bound() -> None:
    """There is nothing to order."""
    made = scenario()
    assert clairvoyant(made) is made


def test_without_greed() -> None:
    """The last part of the merge is left out."""
    assert without_greed(Merge(of=(ONE, ONE))) == Merge(of=(ONE,))
