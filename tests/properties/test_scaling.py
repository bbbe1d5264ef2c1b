"""Whatever happens to a scaled pool, its bounds hold: random histories of load, outages, crashes and clocks."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.scale.guards import Guard
from penstock.core.scale.record import Step
from penstock.core.scale.spec import DownPace, GpuTarget, LifeSpec, PanicWindow, ScaleSpec, Schedule, Targets, UpPace
from penstock.core.scale.words import Drain, Start, Stop
from tests.core.scale.pools import MONDAY_S, QUICK, World, unit

pytestmark = pytest.mark.slow

SPEC = replace(
    QUICK, min=2, max=7, max_hourly_cost=12.0, panic=PanicWindow(stable_window_s=10.0),
    targets=replace(QUICK.targets, gpu=GpuTarget()),
)  # fmt: skip
PRICE = 2.0
MOST = 6
"""What the money is enough for."""

FAULTS = ["blind", "refuses", "ignores", "crashes", "slow", "sticks", "mute", "flaps"]

WHAT_HAPPENS = st.one_of(
    st.tuples(st.just("load"), st.integers(0, 200)),
    st.tuples(st.just("queued"), st.sampled_from([0, 3, 500, 10**12])),
    st.tuples(st.just("time"), st.sampled_from([0.5, 1.0, 3.0, 10.0, 40.0])),
    st.tuples(st.just("jump"), st.sampled_from([60.0, 3600.0, 1e7])),
    st.tuples(st.sampled_from(FAULTS), st.booleans()),
    st.tuples(st.just("wall"), st.sampled_from([-1e8, -86400.0, -60.0, 60.0, 86400.0, 1e8])),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.sampled_from(["kill", "vanish", "ill", "busy"]), st.integers(1, 8)),
    st.tuples(st.just("well"), st.none()),
    st.tuples(st.just("stranger"), st.integers(1, 3)),
)


def happen(world: World, what: str, value: Any) -> None:
    """One thing."""
    names = list(world.units)
    if what == "time":
        world.run(value)
    elif what == "jump":
        world.now += value
    elif what == "wall":
        world.began_s += value
    elif what == "restart":
        world.restart()
        world.run(0)
    elif what in ("kill", "vanish"):
        for name in names[:value]:
            if what == "vanish":
                del world.units[name]
            else:
                world.units[name] = unit(name, "ended")
    elif what in ("ill", "busy"):
        getattr(world, what).update(names[:value])
    elif what == "well":
        world.ill.clear()
        world.busy.clear()
    elif what == "stranger":
        for number in range(value):
            if len(world.units) < MOST:
                world.units.setdefault(f"x{number}", unit(f"x{number}"))
    else:
        setattr(world, what, value)


def storm_over(world: World) -> None:
    """Everything works again."""
    for what in FAULTS:
        setattr(world, what, False)
    world.ill, world.busy, world.queued = set(), set(), 0


@given(st.lists(WHAT_HAPPENS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_bounds_hold_whatever_happens(history: list[tuple[str, Any]]) -> None:
    """There are never more replicas than `max` and the money allow, and never fewer wanted than `min`; after a restart
    of the gateway nothing is wanted until it was looked."""
    world = World(SPEC, hourly_cost=PRICE).run(3)
    for what, value in history:
        happen(world, what, value)
        assert len(world.units) <= MOST
        assert world.wanted is None or SPEC.min <= world.wanted <= MOST
        assert world.wanted is not None or world.blind
    assert all(SPEC.min <= decision.wanted <= MOST for decision in world.decisions)


@given(st.lists(WHAT_HAPPENS, max_size=40))
@settings(max_examples=80, deadline=None)
def test_the_bounds_of_schedules_hold(history: list[tuple[str, Any]]) -> None:
    """Whichever schedule holds, and however the clock on the wall is set, the number is within the bounds of one."""
    night = Schedule(begins="20:00", ends="08:00", max=3)
    world = World(replace(SPEC, schedules=(night, Schedule(days=("sat", "sun"), min=4))), hourly_cost=PRICE).run(3)
    for what, value in history:
        happen(world, what, value)
        assert len(world.units) <= MOST
    for decision in world.decisions:
        assert 2 <= decision.wanted <= MOST
    storm_over(world)
    world.load = 1000
    world.run(120)
    (view,) = world.governor.views(world.now)
    assert view.wanted == min(view.max, MOST)


@given(st.lists(WHAT_HAPPENS, max_size=30))
@settings(max_examples=80, deadline=None)
def test_after_the_storm_it_settles(history: list[tuple[str, Any]]) -> None:
    """When everything works again and the load is steady, the pool has what it wants, and nothing moves any more."""
    world = World(SPEC, hourly_cost=PRICE).run(3)
    for what, value in history:
        happen(world, what, value)
    storm_over(world)
    world.load = 25
    world.run(300)
    before = len([order for order in world.orders if isinstance(order, Start | Stop | Drain)])
    assert world.states == {"ready": 4}
    world.run(60)
    assert len([order for order in world.orders if isinstance(order, Start | Stop | Drain)]) == before


@given(st.lists(WHAT_HAPPENS, max_size=30))
@settings(max_examples=80, deadline=None)
def test_no_outage_makes_it_shrink(history: list[tuple[str, Any]]) -> None:
    """While the load is high, nothing but the load makes the number that is wanted fall: no outage of metrics, crash,
    clock or actuator that fails; and after a restart of the gateway nobody who is well is drained."""
    seen_by_gpu_only = Targets(utilisation=None, gpu=GpuTarget())
    world = World(replace(SPEC, targets=seen_by_gpu_only), hourly_cost=PRICE)
    world.load = 1000
    world.run(60)
    assert world.wanted == MOST
    restarted = False
    for what, value in history:
        if what not in ("load", "queued", "well"):
            restarted = restarted or what == "restart"
            happen(world, what, value)
            assert restarted or world.wanted == MOST
    ill = {step.unit for step in world.records if isinstance(step, Step) and step.why == "ill for too long"}
    assert {order.unit for order in world.orders if isinstance(order, Drain) and order.drain} <= ill


CALM = replace(SPEC, interval_s=15.0, look_s=15.0, life=LifeSpec(draining_s=60.0), max_hourly_cost=None)
"""Looks that are not too many for hours."""
MEANWHILE = st.one_of(
    st.tuples(st.just("load"), st.integers(0, 200)),
    st.tuples(st.sampled_from(["refuses", "crashes", "slow", "mute", "flaps"]), st.booleans()),
    st.tuples(st.just("kill"), st.integers(1, 8)),
    st.tuples(st.just("wall"), st.sampled_from([-86400.0, -60.0, 60.0])),
    st.tuples(st.just("restart"), st.none()),
)


@given(st.lists(st.tuples(MEANWHILE, st.integers(20, 40)), min_size=15, max_size=25), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_a_months_money_is_not_passed(history: list[tuple[tuple[str, Any], int]], free: int) -> None:
    """Whatever happens to load, metrics, replicas, gateway and clocks, what they cost stays within the budget."""
    budget = 2 * PRICE * 3 + free
    world = World(replace(CALM, max_monthly_cost=float(budget)), hourly_cost=PRICE)
    world.began_s = MONDAY_S + 741 * 3600.0  # the month's last three hours
    world.load = 400
    for (what, value), pause in history:
        happen(world, what, value)
        world.run(15.0 * pause)
        if world.wall_s > MONDAY_S + 744 * 3600.0 - 900.0:
            break
        assert world.spent <= budget + 0.1


@given(st.lists(st.tuples(st.sampled_from([0, 5, 20, 60, 400]), st.sampled_from([2, 10, 30, 60, 200, 400]))))
@settings(max_examples=60, deadline=None)
def test_a_pool_with_defaults_does_not_thrash(loads: list[tuple[int, int]]) -> None:
    """With the default settings the direction changes at most twice in five minutes, however the load goes: each of
    stabilisation and cooldown is enough for that."""
    for spec in (ScaleSpec(), ScaleSpec(down=DownPace(stabilisation_s=0.0)), ScaleSpec(down=DownPace(cooldown_s=0.0))):
        world = World(spec)
        for load, seconds in loads:
            world.load = load
            world.run(seconds)
        turns = turned(world)
        assert all(third - first >= 300.0 for first, third in zip(turns, turns[2:]))


def turned(world: World) -> list[float]:
    """When the direction changed."""
    found, direction = [], 0
    for decision in world.decisions:
        sign = (decision.wanted > decision.was) - (decision.wanted < decision.was)
        if sign and sign != direction:
            if direction:
                found.append(decision.at)
            direction = sign
    return found


@pytest.mark.parametrize("pause_s", [30, 360, 370, 380, 400, 600])
def test_the_worst_rhythm(pause_s: int) -> None:
    """A load that comes and goes in the worst rhythm for five hours turns the direction twenty times in one at most."""
    world = World(ScaleSpec())
    while world.now < 5 * 3600:
        for load, seconds in ((400, 10), (0, pause_s)):
            world.load = load
            world.run(seconds)
    turns = turned(world)
    assert max([0, *(sum(at <= it < at + 3600 for it in turns) for at in turns)]) <= 20


NUMBERS = st.one_of(st.none(), st.integers(0, 40), st.just(10**9))


@given(st.lists(st.tuples(NUMBERS, st.sampled_from([15.0, 15.0, 15.0, 15.0, 3600.0])), min_size=1, max_size=400))
@settings(max_examples=100, deadline=None)
def test_it_does_not_thrash(wants: list[tuple[int | None, float]]) -> None:
    """With the default pace the direction changes at most twice in six minutes, whatever is recommended."""
    spec = ScaleSpec(up=UpPace(), down=DownPace())
    guard, current, now, direction = Guard(spec, 0.0), 2, 0.0, 0
    turns: list[float] = []
    for want, pause_s in wants:
        now += pause_s
        count = guard.bound(want, current, now).count
        assert spec.min <= count <= spec.max
        sign = (count > current) - (count < current)
        if sign and sign != direction:
            turns.append(now)
            direction = sign
        current = count
    assert all(third - first >= 360.0 for first, third in zip(turns, turns[2:]))
