"""The Governor in a small world: pools grow with their load and shrink after it, whatever happens to their replicas."""

import pytest
from msgspec.structs import replace

from penstock.base.nouns import Unit
from penstock.core.scale.governor import Governor
from penstock.core.scale.recommend import Recommendation
from penstock.core.scale.record import Decision, Reading
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.window import Window
from penstock.core.scale.words import Drain, Look, Reconfigured, Scaled, Seen, Start, Stop, Woke
from tests.core.scale.pools import QUICK, World, seen, unit, window


def test_a_look_is_ordered_and_answered() -> None:
    """It looks at once, then every `look`; what it orders follows from what is seen."""
    governor = Governor()
    assert governor.next_wake() is None
    assert governor.on(Reconfigured({"p": QUICK}, {}), 5.0) == []
    assert governor.next_wake() == 5.0
    assert governor.on(Woke(), 5.0) == [Look("p")]
    assert governor.next_wake() == 6.0
    orders = governor.on(Seen("p", window(), ()), 5.1)
    assert [order for order in orders if isinstance(order, Start)] == [Start("p", "p-1")]


def test_it_begins_with_what_it_finds() -> None:
    """After a restart the replicas that run are the pool's, as many as there are, within [min, max]."""
    governor = Governor()
    governor.on(Reconfigured({"p": QUICK}, {}), 0.0)
    fleet = window(seen("p-3", 5), seen("p-4", 5))
    orders = governor.on(Seen("p", fleet, (unit("p-3"), unit("p-4"))), 0.0)
    assert (governor.wanted("p"), [order for order in orders if isinstance(order, Start | Stop | Drain)]) == (2, [])


def test_the_load_makes_it_grow_and_shrink() -> None:
    """With more load it grows to what the target wants; without, after the stabilisation, back to the minimum."""
    world = World().run(5)
    assert world.states == {"ready": 1}
    world.load = 40  # 7 seats of 10 are the target
    world.run(20)
    assert world.states == {"ready": 6}
    world.load = 0
    world.run(4)
    assert world.states == {"ready": 6}
    world.run(30)
    assert (world.states, world.most) == ({"ready": 1}, 6)


def test_crashed_ones_are_replaced() -> None:
    """When half of the replicas vanish, as many are started, and the number that is wanted stays."""
    world = World()
    world.load = 25
    world.run(30)
    assert world.states == {"ready": 4}
    for name in list(world.units)[:2]:
        world.units[name] = unit(name, "ended", detail="killed")
    world.run(4)
    assert (world.states, world.wanted) == ({"ready": 4}, 4)


def test_a_blind_actuator_is_left_alone() -> None:
    """While it cannot say what there is nothing is ordered, and people are told; then it goes on."""
    world = World().run(5)
    world.blind, world.load = True, 40
    before = [order for order in world.orders if not isinstance(order, Look)]
    world.run(60)
    assert [order for order in world.orders if not isinstance(order, Look)] == before
    assert world.governor.views(world.now)[0].blind == "it is away"
    world.blind = False
    world.run(20)
    assert world.states == {"ready": 6}


def test_no_metric_no_shrinking() -> None:
    """When nothing can be read of the load the number stays what it is, and so the reason is told."""
    world = World()
    world.load = 25
    world.run(30)
    world.ill |= set(world.units)
    world.load = 0
    world.run(5)
    assert (world.wanted, world.decisions[-1].recommended) == (4, None)
    assert world.decisions[-1].reason == "utilisation cannot be read: not shrunk"


def test_every_decision_is_recorded() -> None:
    """Its inputs, its reason, what bounded it; those that say the same again are counted."""
    world = World(replace(QUICK, max=3))
    world.load = 80
    world.run(30)
    first = next(decision for decision in world.decisions if decision.wanted == 3)
    assert (first.was, first.bounds, first.alarm) == (1, ("max 3",), "")
    assert first.reason == "utilisation is 8 (target 0.7): wants 12"
    assert (first.ready, first.readings[1].metric) == (1, "queue")
    history = world.governor.history("p", 100)
    assert history is not None
    last = history[0]
    assert isinstance(last, Decision)
    assert last.times > 10
    assert world.governor.history("x", 100) is None


def test_changes_of_direction_are_counted() -> None:
    """Each change that goes the other way than the one before, however many replicas it is about."""
    world = World()
    for load in (40, 0, 40, 56, 0):
        world.load = load
        world.run(60)
    assert world.governor.views(world.now)[0].turns == 3


def test_scale_to_zero_and_back() -> None:
    """A pool whose minimum is none ends its last replica when idle, and starts one as soon as somebody waits."""
    world = World(replace(QUICK, min=0)).run(10)
    assert world.states == {}
    world.queued = 3
    world.run(2)
    assert world.states == {"loading": 1}
    world.queued, world.load = 0, 5
    world.run(10)
    assert world.states == {"ready": 1}
    world.load = 0
    world.run(20)
    assert world.states == {}


def test_somebody_waits_between_two_decisions() -> None:
    """From none it does not wait for its next decision."""
    world = World(replace(QUICK, min=0, interval_s=600.0)).run(10)
    world.queued = 1
    world.run(1)
    assert world.wanted == 1


def test_others_are_counted() -> None:
    """Replicas of the pool that somebody else runs carry load; only the rest is started."""
    world = World(replace(QUICK, min=0))
    world.extra = (seen("static-1", 20), seen("static-2", 20))
    world.run(3)
    assert world.wanted == 4  # 2 x 2.0 / 0.7 is six, and two are there
    assert world.decisions[0].others == 2


def test_money() -> None:
    """With a price, as many are started as the money is enough for."""
    world = World(replace(QUICK, max_hourly_cost=10.0), hourly_cost=2.5)
    world.load = 80
    world.run(30)
    assert (world.states, world.most) == ({"ready": 4}, 4)
    (view,) = world.governor.views(world.now)
    assert (view.hourly_cost, view.last is not None and view.last.bounds) == (10.0, ("max_hourly_cost 10",))


def test_a_runaway_is_bounded_alarmed_and_explained() -> None:
    """A metric that goes mad wants a billion replicas: the pool stops at its maximum, and says why."""
    world = World()
    world.run(3)
    world.queued = 10**12
    world.run(20)
    assert world.most == 8
    (view,) = world.governor.views(world.now)
    assert view.alarms > 0
    assert world.decisions[-1].alarm == "a recommendation of 1,000,000,000 replicas, with max 8"
    assert world.decisions[-1].bounds[-1] == "max 8"


@pytest.mark.parametrize("count", [10**9, 10**18, -1])
def test_a_recommendation_that_runs_away(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in what recommends is bounded, urgent or not, by `max` and money; each such decision is an alarm, and the
    history says what was recommended."""

    def mad(spec: ScaleSpec, window: Window, unready: int, current: int, more: tuple[Reading, ...]) -> Recommendation:
        return Recommendation(count=count, reason="a bug", readings=(), urgent=count if current % 2 else None)

    world = World(replace(QUICK, min=2, max_hourly_cost=12.0), hourly_cost=2.0).run(3)
    monkeypatch.setattr("penstock.core.scale.governor.recommend", mad)
    world.run(60)
    assert (world.wanted, world.most) == ((6, 6) if count > 0 else (2, 2))
    last = world.decisions[-1]
    assert last.alarm == f"a recommendation of {max(0, count):,} replicas, with max 8" if count > 0 else not last.alarm
    assert (last.recommended, last.reason) == (count, "a bug")


def test_a_pool_that_scales_itself_no_more() -> None:
    """Its replicas drain and stop, and then it is forgotten; a look that tells nothing does not end that."""
    world = World()
    world.load = 25
    world.run(30)
    world.busy = {"p-1"}
    world.tell(Reconfigured({}, {}))
    world.run(4)
    assert world.states == {"draining": 1}
    world.blind = True
    world.run(3)
    assert world.governor.pools() == ["p"]
    world.blind, world.busy = False, set()
    world.run(4)
    assert (world.governor.pools(), world.units, world.governor.next_wake()) == ([], {}, None)


def test_new_settings_hold_at_once() -> None:
    """A smaller maximum makes it shrink at the next decision, a larger minimum grow; what runs stays known."""
    world = World()
    world.load = 56
    world.run(30)
    assert world.states == {"ready": 8}
    world.tell(Reconfigured({"p": replace(QUICK, max=3)}, {}))
    world.run(5)
    assert world.wanted == 3
    world.load = 0
    world.tell(Reconfigured({"p": replace(QUICK, min=5)}, {}))
    world.run(10)
    assert world.states == {"ready": 5}


def test_facts_about_unknown_pools_mean_nothing() -> None:
    """What comes back late, about a pool that is forgotten, is no mistake."""
    governor = Governor()
    assert governor.on(Seen("x", window(), ()), 0.0) == governor.on(Scaled("x", "x-1", "no"), 0.0) == []
    assert (governor.wanted("x"), governor.pools()) == (None, [])


def test_failed_orders_are_shown() -> None:
    """What an actuator answers to an order is part of the history, and how many starts failed of the view."""
    world = World()
    world.refuses = True
    world.run(3)
    (view,) = world.governor.views(world.now)
    history = world.governor.history("p", 100)
    assert history is not None
    assert view.failures > 0
    assert any(getattr(entry, "why", "") == "no room" for entry in history)


def test_a_spec_of_its_own_for_each_pool() -> None:
    """Two pools do not know of each other."""
    governor = Governor()
    governor.on(Reconfigured({"a": QUICK, "b": ScaleSpec(min=3)}, {"b": 1.0}), 0.0)
    assert governor.on(Woke(), 0.0) == [Look("a"), Look("b")]
    for pool, count in (("a", 1), ("b", 3)):
        found = governor.on(Seen(pool, window(), ()), 0.0)
        assert sum(isinstance(order, Start) for order in found) == count
    assert [view.pool for view in governor.views(0.0)] == ["a", "b"]
    assert isinstance(unit("a-1"), Unit)
