"""A simulated fleet that scales itself: the gateway's own Governor, engines that take their time, and what it costs."""

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.config.scenarios import Die, Group, Policy, Runaway, Scale, Scenario
from penstock.core.route.presets import LeastLoaded
from penstock.core.scale.record import Decision
from penstock.core.scale.spec import DownPace, P95Target, PanicWindow, RpsTarget, Schedule, Targets, UpPace
from penstock.core.spec import ProbeSpec, QueueSpec
from penstock.sim.run import Run, simulate
from penstock.workload.request import Request
from tests.sim.support import scenario, steady

SCALE = Scale(
    min=1, max=5, interval_s=1.0, look_s=0.5, up=UpPace(stabilisation_s=0.0, period_s=1.0),
    down=DownPace(stabilisation_s=5.0, period_s=1.0, cooldown_s=0.0, starts=0.0), panic=None,
)  # fmt: skip
PATIENT = Policy(strategy=LeastLoaded(), queue=QueueSpec(timeout_s=600.0), probe=ProbeSpec(interval_s=1.0))


def busy(seconds: float) -> list[Request]:
    """More than one replica of four seats can do."""
    return steady(int(seconds * 40), 0.025, output_tokens=200)


def world(**fields: Any) -> Scenario:
    """One replica at first, at one unit of money an hour, that takes three seconds to start."""
    fleet = (Group(count=1, cost="fast", seats=4, speed=0.2, hourly_cost=1.0, startup_s=3.0),)
    return scenario(**{"fleet": fleet, "scale": SCALE, **fields})


def played(made: Scenario, requests: list[Request]) -> tuple[Run, list[Decision]]:
    """A run that is over, and what its Governor decided."""
    run = Run(made, PATIENT, requests, 1)
    run.go()
    assert run.scaling is not None
    entries = run.scaling.governor.history("sim", 10_000)
    assert entries is not None
    return run, [entry for entry in entries[::-1] if isinstance(entry, Decision)]


@pytest.mark.slow
def test_it_grows_with_its_load() -> None:
    """Under load replicas are started, join the fleet, and serve once they have started up; all is answered, sooner."""
    fixed, scaled = (
        simulate(world(scale=scale), PATIENT, busy(20.0), 1) for scale in (None, SCALE)
    )  # fmt: skip
    assert (fixed.failed, scaled.failed) == (0, 0)
    assert list(fixed.replicas) == ["r0"]
    assert set(scaled.replicas) == {"r0", "sim-1", "sim-2", "sim-3", "sim-4"}
    assert min(scaled.replicas.values()) > 0
    assert scaled.ttft_p95_s < fixed.ttft_p95_s / 3
    assert scaled.cost < 5 * scaled.duration_s / 3600


def test_its_bounds_hold_and_are_told() -> None:
    """The Governor is the gateway's own: its decisions are remembered with reason and bounds."""
    run, decisions = played(world(), busy(20.0))
    assert max(decision.wanted for decision in decisions) == 5
    assert any("max 5" in decision.bounds for decision in decisions)
    assert run.scaling is not None
    assert sum(run.scaling.governor.views(run.kernel.clock())[0].states.values()) <= 5


@pytest.mark.slow
def test_a_burst_is_met_at_once() -> None:
    """With the default pace a burst is a matter of a minute and more; with the panic window, of the time to start."""
    calm = replace(SCALE, max=20, up=UpPace())
    ttft_s, reasons = {}, {}
    for panic in (None, PanicWindow()):
        run, decisions = played(world(scale=replace(calm, panic=panic)), busy(40.0))
        ttft_s[panic] = run.tally.result(0.0).ttft_p95_s
        reasons[panic] = {decision.reason.split(":")[0] for decision in decisions}
    assert "a burst" in str(reasons[PanicWindow()])
    assert "a burst" not in str(reasons[None])
    assert ttft_s[PanicWindow()] < ttft_s[None] / 2


def test_it_grows_by_what_flows() -> None:
    """Calls that come in a second, and how long they take, are counted in a simulation as at a gateway."""
    by = Targets(utilisation=None, queue=None, rps=RpsTarget(target=10.0), p95=P95Target())
    run, decisions = played(world(scale=replace(SCALE, targets=by)), busy(10.0))
    assert decisions[-1].wanted > 1
    (rps, p95) = max(decisions, key=lambda decision: decision.readings[0].value or 0.0).readings
    assert (rps.metric, p95.metric) == ("rps", "p95")
    assert max(decision.readings[1].value or 0.0 for decision in decisions) > 1.0
    assert run.tally.result(0.0).failed == 0


def test_a_run_begins_on_a_monday() -> None:
    """At midnight UTC: schedules hold by that, and a month's money is that of a whole month."""
    monday = Schedule(days=("mon",), ends="00:01", min=3)
    _, decisions = played(world(scale=replace(SCALE, schedules=(monday,))), steady(2, 90.0))
    assert (decisions[0].wanted, decisions[0].was) == (3, 3)  # one was there at the first look
    assert {decision.wanted for decision in decisions if 2.0 < decision.at < 60.0} == {3}
    assert decisions[-1].wanted == 1


def test_it_shrinks_when_the_load_is_gone() -> None:
    """After the load one replica is left, what was drained had ended its calls, and nothing is lost."""
    requests = busy(10.0)
    late = [Request(request.at_ns + 60_000_000_000, 100, 5) for request in steady(3, 1.0)]
    run, decisions = played(world(), [*requests, *late])
    assert decisions[-1].wanted == 1
    assert run.tally.result(0.0).failed == 0
    assert run.lifecycle.hourly_cost(0.0, run.tally.ended_at) < 5.0


def test_one_that_dies_is_replaced() -> None:
    """An engine that dies for good is seen to have ended, and another is started in its place."""
    made = world(scale=SCALE, faults=(Die(at_s=10.0, replicas=(0,)),))
    run, _ = played(made, steady(600, 0.1, output_tokens=5))
    assert run.scaling is not None
    (view,) = run.scaling.governor.views(run.kernel.clock())
    assert "r0" not in [unit.unit for unit in view.units]
    assert view.states["ready"] >= 1


def test_equal_seeds_are_equal_runs() -> None:
    """Scaling adds no luck: the same seed gives the same facts and orders, to the last one."""
    digests = {Run(world(), PATIENT, busy(5.0), 7).go(digest=True).journal for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (Scale(group=1), "there is no group 1 to scale: the fleet's are 0 to 0"),
        (Scale(min=3, max=2), "`scale.min` is 3, which is more than `scale.max`, 2"),
    ],
)
def test_what_cannot_scale(scale: Scale, said: str) -> None:
    """A group that is not there, or bounds the wrong way round, are mistakes."""
    with pytest.raises(ValueError, match=said):
        world(scale=scale)


def test_a_group_that_joins_later_does_not_scale() -> None:
    """A group that joins by a time of its own and one that the Governor starts would be two plans for one thing."""
    with pytest.raises(ValueError, match="leave out its `joins`"):
        world(fleet=(Group(joins_s=5.0),))


def test_one_whose_death_nobody_notices_is_not_replaced_at_once() -> None:
    """Its actuator goes on to show it as running: only health can tell."""
    made = world(scale=SCALE, faults=(Die(at_s=1.0, replicas=(0,), noticed=False),))
    run, _ = played(made, steady(60, 0.1, output_tokens=5))
    assert run.scaling is not None
    (view,) = run.scaling.governor.views(run.kernel.clock())
    assert "r0" in [unit.unit for unit in view.units]


def test_a_runaway_is_bounded_and_alarmed() -> None:
    """A billion calls that seem to wait: the pool goes to its bound and not beyond, and somebody is told of it."""
    heard: list[Decision] = []
    run = Run(world(faults=(Runaway(at_s=2.0, for_s=10.0),)), PATIENT, steady(200, 0.1, output_tokens=5), 1)
    assert run.scaling is not None
    run.scaling.decided = heard.append
    run.go()
    assert max(decision.wanted for decision in heard) == SCALE.max
    assert sum(bool(decision.alarm) for decision in heard) >= 5
    assert heard[-1].wanted < SCALE.max
    assert run.lifecycle.spending()[0] <= SCALE.max


def test_a_fleet_may_begin_with_nobody() -> None:
    """Calls wait in the waiting room until the first replica has started, and none is lost."""
    group = Group(count=0, cost="fast", seats=4, startup_s=3.0)
    made = world(fleet=(group,), scale=Scale(min=0, max=2, interval_s=1.0, look_s=0.5))
    run, _ = played(made, steady(20, 0.1, output_tokens=5))
    result = run.tally.result(0.0)
    assert (result.requests, result.failed) == (20, 0)
    assert result.ttft_p95_s > 2.0
