"""A region goes dark: what is lost, when it is noticed, and where the calls go."""

from typing import Any

import pytest

from penstock.base.nouns import Region
from penstock.config.regions import ClientRegions
from penstock.config.scenarios import Group, Policy, RegionDark, Scale, Scenario
from penstock.core.route.presets import Regional
from penstock.core.spec import ProbeSpec, RetrySpec
from penstock.sim.cloud import LOST_S
from penstock.sim.run import Run, simulate
from tests.sim.support import request, scenario, steady

REGIONS = ClientRegions(places={"eu": Region(), "us": Region()}, round_trips={"eu": {"us": 0.1}}, here="eu")
POLICY = Policy(strategy=Regional(), probe=ProbeSpec(interval_s=1.0))


def world(*faults: RegionDark, **fields: Any) -> Scenario:
    """Two quick replicas in each of two regions; all clients are in Europe."""
    fleet = tuple(Group(count=2, cost="fast", seats=8, region=name) for name in ("eu", "us"))
    return scenario(**{"fleet": fleet, "regions": REGIONS, "policy": POLICY, "faults": faults, **fields})


def dark(**fields: Any) -> RegionDark:
    """Europe, from 5 s on."""
    return RegionDark(at_s=5.0, region="eu", **fields)


@pytest.mark.slow
def test_the_others_take_over() -> None:
    """What was under way in the dark region and had not begun is made again elsewhere; what comes goes elsewhere; only
    answers that had begun are broken off. When it is light again, calls come home."""
    made = world(dark(for_s=20.0))
    result = simulate(made, POLICY, steady(2400, 0.05), 1)
    assert set(result.outcomes) <= {"ok", "died_mid_answer"}
    assert result.failed <= 16  # as many as may have been in the middle of an answer
    assert min(result.replicas["r0"], result.replicas["r1"]) > 300
    assert min(result.replicas["r2"], result.replicas["r3"]) > 100


def test_it_is_noticed_in_time() -> None:
    """A request that comes a moment after the dark waits until the connection is known to be lost, not longer: then it
    is made again in the other region, with a first token within half a second."""
    made = world(dark())
    result = simulate(made, POLICY, [request(1.0), request(5.1)], 1)
    assert result.outcomes == {"ok": 2}
    assert LOST_S < result.ttft_p99_s < LOST_S + 0.5


def test_new_connections_time_out() -> None:
    """Once kept connections are known to be lost, a call that is sent there all the same waits for its connection."""
    policy = Policy(strategy=Regional(), probe=ProbeSpec(enabled=False))
    made = world(dark(), policy=policy)
    result = simulate(made, policy, [request(5.0 + LOST_S + 1.0)], 1)
    assert result.outcomes == {"ok": 1}
    assert 5.0 < result.ttft_mean_s < 5.5


def test_where_all_is_dark_calls_fail() -> None:
    """Both regions at once, and no probes to tell: attempts fail until they are used up."""
    policy = Policy(strategy=Regional(), retries=RetrySpec(attempts=2))
    made = world(dark(), RegionDark(at_s=5.0, region="us"), policy=policy)
    result = simulate(made, policy, [request(6.0)], 1)
    assert result.failed == 1


def test_what_was_computed_is_lost_and_the_cache_is_kept() -> None:
    """An answer that had begun is broken off as if its replica had died; afterwards the engine works on."""
    made = world(dark(for_s=30.0), fleet=(Group(cost="fast", region="eu"),))
    run = Run(made, POLICY, [request(4.9, output_tokens=5000), request(50.0)], 1)
    assert run.go().result.outcomes == {"died_mid_answer": 1, "ok": 1}
    (engine,) = run.cloud.engines.values()
    assert not engine.dead
    assert engine.batcher.running == 0


def test_who_joins_a_dark_region_is_in_the_dark() -> None:
    """A replica that is started there while it is dark cannot be reached either; the fleet's others serve."""
    fleet = (Group(cost="fast", region="us", seats=64), Group(count=1, cost="fast", seats=1, region="eu"))
    made = world(dark(), fleet=fleet, scale=Scale(group=1, min=3, max=3, interval_s=1.0, look_s=0.5))
    run = Run(made, POLICY, steady(400, 0.05), 1)
    run.go()
    started = [name for name in run.cloud.engines if name.startswith("sim-")]
    assert started
    late = world(RegionDark(at_s=0.0, region="eu"), fleet=fleet, scale=made.scale)
    run = Run(late, POLICY, steady(200, 0.05), 1)
    run.go()
    assert all(run.cloud.engines[name].dark_since is not None for name in run.cloud.engines if name != "r0")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: world(RegionDark(at_s=1.0, region="mars")), "no replica is in region 'mars'"),
        (lambda: RegionDark(at_s=1.0, region="eu", replicas=(1,)), "leave out `replicas`"),
    ],
)
def test_what_cannot_go_dark(make: Any, said: str) -> None:
    """A region without replicas, or some replicas of one."""
    with pytest.raises(ValueError, match=said):
        make()
