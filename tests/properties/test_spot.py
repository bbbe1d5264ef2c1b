"""Whatever happens to a pool that is partly spot, its bounds hold, and who is taken back is never called back."""

from math import fsum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.scale.mix import base_of, price_of
from penstock.core.scale.spot import SpotSpec
from penstock.core.scale.words import Drain, Noticed, Start
from tests.core.scale.pools import QUICK, World

pytestmark = pytest.mark.slow

SPOT = SpotSpec(base=0.4, hourly_cost=1.0, within_s=10.0, retry_s=30.0, retry_max_s=120.0)
SPEC = replace(QUICK, min=3, max=8, max_hourly_cost=14.0, spot=SPOT)
PRICE = 3.0
"""On demand. Seven of the mix are paid for: three on demand and four spot are 13; all on demand, four."""

WHAT_HAPPENS = st.one_of(
    st.tuples(st.just("load"), st.integers(0, 200)),
    st.tuples(st.just("time"), st.sampled_from([0.5, 1.0, 3.0, 10.0, 40.0])),
    st.tuples(st.sampled_from(["blind", "refuses", "dry", "ignores", "crashes", "slow"]), st.booleans()),
    st.tuples(st.sampled_from(["kill", "vanish", "busy", "notice"]), st.integers(1, 8)),
    st.tuples(st.just("well"), st.none()),
)


def happen(world: World, noticed: set[str], what: str, value: Any) -> None:
    """One thing."""
    names = list(world.units)[:value] if isinstance(value, int) else []
    if what == "time":
        world.run(value)
    elif what == "kill":
        world.units.update({name: replace(world.units[name], state="ended") for name in names})
    elif what == "vanish":
        for name in names:
            del world.units[name]
    elif what == "busy":
        world.busy.update(names)
    elif what == "notice":
        for name in names:
            noticed.add(name)
            world.tell(Noticed("p", name, 20.0))
    elif what == "well":
        world.ill.clear()
        world.busy.clear()
    else:
        setattr(world, what, value)


def money(world: World) -> float:
    """What all that are there cost an hour."""
    return fsum(price_of(one.purchase, SPOT, PRICE) for one in world.units.values())


@given(st.lists(WHAT_HAPPENS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_bounds_hold_whatever_is_taken_back(history: list[tuple[str, Any]]) -> None:
    """Never more replicas than `max`, never more money than was set, those that are being taken back counted in; and of
    these nobody is ever called back."""
    world, noticed = World(SPEC, hourly_cost=PRICE).run(3), set[str]()
    for what, value in history:
        happen(world, noticed, what, value)
        assert len(world.units) <= 7
        assert money(world) <= 14.0
    assert not [
        order for order in world.orders if isinstance(order, Drain) and not order.drain and order.unit in noticed
    ]


@given(st.lists(WHAT_HAPPENS, max_size=30))
@settings(max_examples=80, deadline=None)
def test_after_the_storm_the_mix_is_what_it_should_be(history: list[tuple[str, Any]]) -> None:
    """When spot can be had again and all is calm, the pool has what it wants, its base on demand and the rest spot, and
    nothing moves any more."""
    world = World(SPEC, hourly_cost=PRICE).run(3)
    for what, value in history:
        happen(world, set(), what, value)
    for what in ("blind", "refuses", "dry", "ignores", "crashes", "slow"):
        setattr(world, what, False)
    happen(world, set(), "well", None)
    world.load = 0
    world.run(1500)
    kinds = [one.purchase for one in world.units.values()]
    assert (len(kinds), kinds.count("on_demand")) == (3, base_of(SPOT, 3))
    before = len(world.orders)
    world.run(100)
    assert not [order for order in world.orders[before:] if isinstance(order, Start | Drain)]


def test_a_restart_finds_the_mix_again() -> None:
    """A new Governor over the same actuator orders nothing and knows each kind."""
    world = World(SPEC, hourly_cost=PRICE).run(5)
    other = World(SPEC, hourly_cost=PRICE)
    other.units, other.loaded = dict(world.units), set(world.loaded)
    other.run(10)
    assert not [order for order in other.orders if isinstance(order, Start | Drain)]
    (view,) = other.governor.views(other.now)
    assert [one.purchase for one in view.units] == ["on_demand", "on_demand", "spot"]
