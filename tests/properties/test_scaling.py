"""Whatever happens to a scaled pool, its bounds hold: random histories of load, outages, crashes and clocks."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.scale.guards import Guard
from penstock.core.scale.spec import DownPace, PanicWindow, ScaleSpec, UpPace
from penstock.core.scale.words import Drain, Start, Stop
from tests.core.scale.pools import QUICK, World, unit

pytestmark = pytest.mark.slow

SPEC = replace(QUICK, min=2, max=7, max_hourly_cost=12.0, panic=PanicWindow(stable_window_s=10.0))
PRICE = 2.0
MOST = 6
"""What the money is enough for."""

WHAT_HAPPENS = st.one_of(
    st.tuples(st.just("load"), st.integers(0, 200)),
    st.tuples(st.just("queued"), st.sampled_from([0, 3, 500, 10**12])),
    st.tuples(st.just("time"), st.sampled_from([0.5, 1.0, 3.0, 10.0, 40.0])),
    st.tuples(st.just("jump"), st.sampled_from([60.0, 3600.0, 1e7])),
    st.tuples(st.sampled_from(["blind", "refuses", "ignores", "crashes", "slow"]), st.booleans()),
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


@given(st.lists(WHAT_HAPPENS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_bounds_hold_whatever_happens(history: list[tuple[str, Any]]) -> None:
    """There are never more replicas than `max` and the money allow, and never fewer wanted than `min`."""
    world = World(SPEC, hourly_cost=PRICE).run(3)
    for what, value in history:
        happen(world, what, value)
        assert len(world.units) <= MOST
        assert world.wanted is not None
        assert SPEC.min <= world.wanted <= MOST
    assert all(SPEC.min <= decision.wanted <= MOST for decision in world.decisions)


@given(st.lists(WHAT_HAPPENS, max_size=30))
@settings(max_examples=80, deadline=None)
def test_after_the_storm_it_settles(history: list[tuple[str, Any]]) -> None:
    """When everything works again and the load is steady, the pool has what it wants, and nothing moves any more."""
    world = World(SPEC, hourly_cost=PRICE).run(3)
    for what, value in history:
        happen(world, what, value)
    for what in ("blind", "refuses", "ignores", "crashes", "slow"):
        setattr(world, what, False)
    world.ill, world.busy, world.load, world.queued = set(), set(), 25, 0
    world.run(300)
    before = len([order for order in world.orders if isinstance(order, Start | Stop | Drain)])
    assert world.states == {"ready": 4}
    world.run(60)
    assert len([order for order in world.orders if isinstance(order, Start | Stop | Drain)]) == before


@given(st.lists(WHAT_HAPPENS, max_size=30))
@settings(max_examples=80, deadline=None)
def test_no_outage_makes_it_shrink(history: list[tuple[str, Any]]) -> None:
    """While the load is high, nothing but the load makes the number that is wanted fall: no outage, crash or clock."""
    world = World(SPEC, hourly_cost=PRICE)
    world.load = 1000
    world.run(60)
    assert world.wanted == MOST
    for what, value in history:
        if what not in ("load", "queued", "well"):
            happen(world, what, value)
            assert world.wanted == MOST


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
