"""Spot replicas of a pool: notices, replacements at once, on demand where spot is dry, and back."""

from msgspec.structs import replace

from penstock.core.scale.record import Step
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.spot import SpotSpec
from penstock.core.scale.words import Drain, Noticed, Scaled, Start, Stop
from tests.core.scale.pools import QUICK, World

SPOT = SpotSpec(base=0.5, hourly_cost=1.0, within_s=10.0, retry_s=60.0)
MIXED = replace(QUICK, min=4, max=8, spot=SPOT)


def grown(spec: ScaleSpec = MIXED) -> World:
    """A pool of four, two of them spot, all ready."""
    world = World(spec, hourly_cost=3.0)
    return world.run(4.0)


def kinds(world: World) -> dict[str, str]:
    """Replica -> how it is had, of those that the pool has or will have soon."""
    (view,) = world.governor.views(world.now)
    return {one.unit: one.purchase for one in view.units if one.state not in ("draining", "stopping")}


def whys(world: World, unit: str) -> list[str]:
    """What was said of its steps."""
    return [entry.why for entry in world.records if isinstance(entry, Step) and entry.unit == unit and entry.why]


def test_a_pool_is_half_spot() -> None:
    """The base is started first; the order says how each is to be had, and what it costs is told by kind."""
    world = grown()
    starts = [order for order in world.orders if isinstance(order, Start)]
    assert [order.purchase for order in starts] == ["on_demand", "on_demand", "spot", "spot"]
    (view,) = world.governor.views(world.now)
    assert view.hourly_cost == 8.0
    assert view.hourly_costs == {"on_demand": 6.0, "spot": 2.0}


def test_a_notice_drains_and_orders_another_at_once() -> None:
    """In the same turn: it takes nothing new, and its replacement is ordered."""
    world = grown()
    world.busy.add("p-4")
    world.tell(Noticed("p", "p-4", 120.0))
    assert world.orders[-2:] == [Drain("p", "p-4"), Start("p", "p-5", "spot")]
    assert whys(world, "p-4") == ["spot", "its provider takes it back in 120 s"]
    (view,) = world.governor.views(world.now)
    assert view.notices == 1
    assert {one.unit: one.gone_in_s for one in view.units}["p-4"] == 120.0


def test_one_that_is_drained_in_time_is_stopped() -> None:
    """Once its calls have ended it costs nothing more."""
    world = grown()
    world.tell(Noticed("p", "p-4", 120.0))
    world.run(3.0)
    assert Stop("p", "p-4") in world.orders
    assert kinds(world) == {"p-1": "on_demand", "p-2": "on_demand", "p-3": "spot", "p-5": "spot"}


def test_a_notice_ends_when_it_said() -> None:
    """Who still has calls then is stopped, though draining may take longer; the earlier of two ends holds."""
    world = grown()
    world.busy.add("p-4")
    world.tell(Noticed("p", "p-4", 15.0))
    world.tell(Noticed("p", "p-4", 5.0))
    world.tell(Noticed("p", "p-4", 500.0))
    world.run(4.0)
    assert Stop("p", "p-4") not in world.orders
    world.run(2.0)
    assert Stop("p", "p-4") in world.orders
    (view,) = world.governor.views(world.now)
    assert view.notices == 1


def test_one_that_is_taken_back_is_no_failure() -> None:
    """It ended while it drained, as was said: nobody waits before the next start."""
    world = grown()
    world.busy.add("p-4")
    world.tell(Noticed("p", "p-4", 15.0))
    world.units["p-4"] = replace(world.units["p-4"], state="ended")
    world.run(2.0)
    assert "its provider has taken it back" in whys(world, "p-4")
    assert not any(entry.failed for entry in world.records if isinstance(entry, Step))
    world = grown()
    world.busy.add("p-4")
    world.tell(Noticed("p", "p-4", 15.0))
    del world.units["p-4"]
    world.run(2.0)
    assert not any(entry.failed for entry in world.records if isinstance(entry, Step))


def test_who_still_starts_is_given_up_at_a_notice() -> None:
    """It would be gone before it served long; nobody that drains by a notice is taken back, and unknown ones are no
    matter."""
    world = grown()
    world.slow = True
    world.load = 40
    world.run(1.0)
    coming = [name for name in world.units if name not in world.loaded]
    world.tell(Noticed("p", coming[0], 120.0))
    assert Stop("p", coming[0]) in world.orders
    assert world.tell(Noticed("p", "p-99", 120.0)) == []
    assert world.tell(Noticed("q", "p-4", 120.0)) == []
    world = grown()
    world.busy.add("p-4")
    world.tell(Noticed("p", "p-4", 120.0))
    world.load = 80
    world.run(3.0)
    assert Drain("p", "p-4", False) not in world.orders


def test_an_order_that_is_refused_goes_on_demand_at_once() -> None:
    """Spot is dry: the next order, in the next turn, is on demand; the pool does not back off."""
    world = grown()
    world.tell(Noticed("p", "p-4", 120.0))
    del world.units["p-5"]
    world.tell(Scaled("p", "p-5", "no capacity"))
    world.run(1.0)
    assert [order.purchase for order in world.orders if isinstance(order, Start)][-1] == "on_demand"
    (view,) = world.governor.views(world.now)
    assert (view.failures, view.dry_s) == (0, 59.0)


def test_one_that_has_no_address_in_time_is_not_to_be_had() -> None:
    """Ten seconds after its order spot counts as dry, and one on demand is ordered."""
    world = grown()
    world.ignores = True
    world.tell(Noticed("p", "p-4", 120.0))
    world.run(5.0)
    world.ignores = False
    world.run(8.0)
    assert sorted(kinds(world).values()) == ["on_demand", "on_demand", "on_demand", "spot"]


def test_spot_comes_back() -> None:
    """When the wait is over, one spot replica is ordered beside those wanted, and once it is ready one that stood in
    goes: never fewer than wanted serve."""
    world = grown()
    world.tell(Noticed("p", "p-4", 120.0))
    del world.units["p-5"]
    world.tell(Scaled("p", "p-5", "no capacity"))
    world.run(50.0)
    assert sorted(kinds(world).values()) == ["on_demand", "on_demand", "on_demand", "spot"]
    fewest = 4
    for _ in range(40):
        world.run(1.0)
        fewest = min(fewest, world.states.get("ready", 0))
    assert sorted(kinds(world).values()) == ["on_demand", "on_demand", "spot", "spot"]
    assert fewest == 4
    (view,) = world.governor.views(world.now)
    assert view.spent["on_demand"] > view.spent["spot"] > 0.0


def test_the_bounds_hold_through_a_storm() -> None:
    """All spot replicas of a full pool are noticed at once: never more than the most are there, draining ones counted
    in."""
    world = World(replace(MIXED, min=8), hourly_cost=3.0).run(5.0)
    for name in [name for name, kind in kinds(world).items() if kind == "spot"]:
        world.busy.add(name)
        world.tell(Noticed("p", name, 10.0))
    world.run(30.0)
    assert world.most <= 8
    assert world.states["ready"] == 8


def test_a_pool_without_spot_is_as_it_was() -> None:
    """A notice about one of its replicas is heard all the same: whoever says so takes it back."""
    world = World(replace(QUICK, min=2)).run(4.0)
    world.tell(Noticed("p", "p-2", 10.0))
    assert world.orders[-2:] == [Drain("p", "p-2"), Start("p", "p-3")]
