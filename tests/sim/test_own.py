"""A pressure test over somebody's own fleet."""

from pathlib import Path

import pytest

from penstock.base.errors import ConfigError
from penstock.base.nouns import Region
from penstock.config.load import load_file
from penstock.config.regions import ClientRegions
from penstock.config.scenarios import Die, Group, RegionDark, Scale, Scenario, Storm
from penstock.config.schema import Settings
from penstock.core.scale.spot import SpotSpec
from penstock.core.spec import GateSpec, PoolSpec
from penstock.sim.own import Own, loaded
from penstock.workload.arrivals import Poisson
from penstock.workload.combine import Merge, Rate
from penstock.workload.synthetic import Synthetic
from tests.sim.support import scenario

SCALED = """
pools:
  - name: first
    replicas: [{url: 'http://a:1'}]
  - name: chat
    models: [m]
    strategy: round_robin
    replicas: [{url: 'http://h:1', max_concurrent_requests: 5}]
    scale:
      {min: 3, max: 7, interval: 4s, actuator: {kind: dry_run}, replica: {max_concurrent_requests: 12, hourly_cost: 2}}
"""
FIXED = "pools: [{name: chat, replicas: [{url: 'http://h:1'}, {url: 'http://h:2'}]}]\n"
TEST = scenario(
    workload=Synthetic(arrivals=Poisson(rate=1.0), requests=10), faults=(Die(at_s=1.0, replicas=(0,)), Die(at_s=2.0))
)


def over(text: str, tmp_path: Path, load: float = 1.0) -> Scenario:
    """The test over a configuration."""
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return Own(load_file(str(file), {})).scenario(TEST, load)


def test_the_pool_that_scales_itself(tmp_path: Path) -> None:
    """Its policy, seats, price and bounds, beside the replicas that its file lists; engines are the test's."""
    made = over(SCALED, tmp_path)
    assert type(made.policy.strategy).__name__ == "RoundRobin"
    assert [(group.count, group.seats) for group in made.fleet] == [(1, 5), (3, 12)]
    assert {group.cost for group in made.fleet} == {"fast"}
    assert made.fleet[1].hourly_cost == 2.0
    assert made.scale is not None
    assert (made.scale.group, made.scale.min, made.scale.max, made.scale.interval_s) == (1, 3, 7, 4.0)


def test_a_fleet_that_does_not(tmp_path: Path) -> None:
    """The first pool's replicas, and nothing scales."""
    made = over(FIXED, tmp_path)
    assert [group.count for group in made.fleet] == [1, 1]
    assert made.scale is None


def test_faults_befall_the_same_share(tmp_path: Path) -> None:
    """One of two becomes the first of four's halves; all stay all."""
    assert [fault.replicas for fault in over(SCALED, tmp_path).faults] == [(0,), ()]


def test_more_or_less_load(tmp_path: Path) -> None:
    """So many times as many requests; a merge stays a merge."""
    made = over(FIXED, tmp_path, load=0.5)
    assert made.workload == Rate(factor=0.5, spread_s=0.0, of=TEST.workload)
    two = loaded(Merge(of=(TEST.workload, TEST.workload)), 2.0)
    assert isinstance(two, Merge)
    assert [type(part) for part in two.of] == [Rate, Rate]


def test_what_cannot_be_played_is_told(tmp_path: Path) -> None:
    """A storm needs spot replicas, a dark region regions; all else can be played."""
    file = tmp_path / "mine.yaml"
    file.write_text(SCALED)
    own = Own(load_file(str(file), {}))
    assert own.why_not(TEST) == ""
    stormy = scenario(scale=Scale(spot=SpotSpec()), faults=(Storm(at_s=1.0),))
    assert "no spot" in own.why_not(stormy)
    file.write_text(SCALED.replace("interval: 4s", "interval: 4s, spot: {}"))
    assert Own(load_file(str(file), {})).why_not(stormy) == ""
    dark = scenario(
        regions=ClientRegions(places={"a": Region()}), fleet=(Group(region="a"),),
        faults=(RegionDark(at_s=1.0, region="a"),),
    )  # fmt: skip
    assert "regions" in own.why_not(dark)


def test_nothing_to_try() -> None:
    """Without a pool, or with a pool of nobody, it is said."""
    with pytest.raises(ConfigError, match="no pool"):
        Own(Settings())
    nobody = Own(Settings(gate=GateSpec(pools=(PoolSpec(name="chat"),))))
    with pytest.raises(ConfigError, match="no replicas"):
        nobody.scenario(TEST, 1.0)
