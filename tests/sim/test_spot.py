"""Simulated spot: who can be had, who is taken back when, and what that costs a fleet that scales itself."""

import pytest
from msgspec.structs import replace

from penstock.base.rand import Rand
from penstock.config.markets import Market, Offer
from penstock.config.scenarios import Group, Policy, Scale, Scenario, Storm
from penstock.core.route.presets import LeastLoaded
from penstock.core.scale.spot import SpotSpec
from penstock.core.spec import ProbeSpec, QueueSpec
from penstock.drive.kernel import Kernel
from penstock.sim.run import Run
from penstock.sim.spot import Spot
from tests.sim.support import scenario, steady

START_S = 10.0


class Desk:
    """A market, and what it says: when, and to whom."""

    def __init__(self, market: Market, *storms: Storm, held: int = 0) -> None:
        self.kernel = Kernel()
        self.notices: list[tuple[float, str, float]] = []
        self.taken: list[tuple[float, str]] = []
        self.spot = Spot(market, self.kernel, self._notice, self._take, Rand(1))
        self.spot.begin(START_S, storms)
        for number in range(held):
            assert self.spot.ask(f"s{number}") == ""

    def _notice(self, name: str, within_s: float) -> None:
        self.notices.append((self.kernel.clock(), name, within_s))

    def _take(self, name: str) -> None:
        self.taken.append((self.kernel.clock(), name))


def test_no_more_than_are_offered() -> None:
    """Before the first offer as many as are wanted; then who would be one too many is refused, until one is given
    back."""
    desk = Desk(Market(offers=(Offer(at_s=5.0, replicas=2),)), held=2)
    desk.kernel.run(START_S + 5.0)
    assert desk.spot.ask("s2") == "no spot capacity: 2 can be had"
    desk.spot.gone("s0")
    assert desk.spot.ask("s2") == ""
    assert desk.notices == []


def test_who_is_beyond_an_offer_gets_a_notice() -> None:
    """By lot, and is taken back when it is over; one that was ended meanwhile is not."""
    desk = Desk(Market(offers=(Offer(at_s=5.0, replicas=1),), notice_s=30.0), held=4)
    desk.kernel.run(START_S + 6.0)
    assert [(at, within_s) for at, _, within_s in desk.notices] == [(15.0, 30.0)] * 3
    names = [name for _, name, _ in desk.notices]
    assert len(set(names)) == 3
    desk.spot.gone(names[0])
    desk.kernel.run(START_S + 60.0)
    assert desk.taken == [(45.0, name) for name in names[1:]]
    assert len(desk.spot.held) == 1


def test_a_storm_takes_its_share_one_after_the_other() -> None:
    """Eight of ten within two minutes, two minutes' notice for each; while it lasts none can be had."""
    desk = Desk(Market(), Storm(at_s=20.0, share=0.8, for_s=300.0), held=10)
    desk.kernel.run(21.0)
    assert desk.spot.ask("more") == "no spot capacity: a storm"
    desk.kernel.run(400.0)
    assert [at for at, _, _ in desk.notices] == [20.0 + 15.0 * number for number in range(8)]
    assert [at for at, _ in desk.taken] == [140.0 + 15.0 * number for number in range(8)]
    assert desk.spot.ask("more") == ""


def test_a_storm_without_an_end() -> None:
    """Then there is no more spot at all."""
    desk = Desk(Market(), Storm(at_s=20.0, share=1.0, over_s=0.0, notice_s=0.0), held=3)
    desk.kernel.run(21.0)
    assert len(desk.taken) == 3
    assert desk.spot.ask("more") != ""


# ===== as a fleet meets it =====

SCALE = Scale(min=10, max=20, interval_s=5.0, look_s=1.0, spot=SpotSpec(base=0.3, hourly_cost=1.0, retry_s=60.0))
POLICY = Policy(strategy=LeastLoaded(), queue=QueueSpec(timeout_s=120.0), probe=ProbeSpec(interval_s=1.0))


def stormy(storm: Storm | None = None, **fields: object) -> Scenario:
    """Ten replicas, seven of them spot, that take twenty seconds to start and three for an answer."""
    fleet = (Group(count=10, cost="fast", speed=0.02, seats=8, hourly_cost=4.0, startup_s=20.0),)
    faults = () if storm is None else (storm,)
    return scenario(**{"fleet": fleet, "scale": SCALE, "policy": POLICY, "faults": faults, **fields})


def played(made: Scenario, seed: int = 1, seconds: float = 200.0) -> Run:
    """A run that is over, of ten requests a second."""
    run = Run(made, made.policy, steady(int(seconds * 10), 0.1, output_tokens=300), seed)
    run.go()
    return run


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_request_fails_in_a_storm(seed: int) -> None:
    """Four fifths of the spot replicas are taken back within two minutes and none can be had: all is answered, and on
    demand stands in."""
    run = played(stormy(Storm(at_s=30.0)), seed)
    assert run.tally.result(0.0).outcomes == {"ok": 2000}
    assert run.scaling is not None
    (view,) = run.scaling.governor.views(run.kernel.clock())
    assert view.notices == 6
    assert sum(unit.purchase == "spot" for unit in view.units) == 1
    assert view.states["ready"] == 10


@pytest.mark.slow
def test_a_storm_without_notice_loses_requests() -> None:
    """The same without a notice: what was under way there is broken off. So the test above can fail."""
    run = played(stormy(Storm(at_s=30.0, notice_s=0.0)))
    assert run.tally.result(0.0).failed > 0


@pytest.mark.slow
def test_spot_comes_back_when_the_storm_is_over() -> None:
    """One after the other takes the place of one that stood in; never fewer than ten are there, and each kind has its
    price."""
    run = played(stormy(Storm(at_s=10.0, for_s=130.0, over_s=10.0, notice_s=30.0)), seconds=600.0)
    assert run.tally.result(0.0).failed == 0
    assert run.scaling is not None
    (view,) = run.scaling.governor.views(run.kernel.clock())
    assert sum(unit.purchase == "spot" for unit in view.units if unit.state == "ready") == 7
    assert view.hourly_costs == {"on_demand": 12.0, "spot": 7.0}
    assert run.lifecycle.hourly_cost(0.0, run.tally.ended_at) == pytest.approx(
        sum(view.spent.values()) * 3600.0 / run.kernel.clock(), rel=0.02
    )


def test_the_mix_costs_less() -> None:
    """Ten replicas, three at four and seven at one: nineteen an hour instead of forty."""
    for scale, cost in ((SCALE, 19.0), (replace(SCALE, spot=None), 40.0)):
        run = played(stormy(scale=scale), seconds=5.0)
        assert run.lifecycle.hourly_cost(0.0, run.tally.ended_at) == pytest.approx(cost)


def test_a_storm_needs_spot() -> None:
    """Without a mix there is nobody to take back; and it takes a share, not numbers."""
    with pytest.raises(ValueError, match=r"set `scale\.spot`"):
        stormy(Storm(at_s=1.0), scale=replace(SCALE, spot=None))
    with pytest.raises(ValueError, match="leave out `replicas`"):
        Storm(at_s=1.0, replicas=(1,))
