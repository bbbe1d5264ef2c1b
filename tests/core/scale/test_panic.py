"""The panic window on a table of Knative's published rules, and what a burst does to a pool.

Sources of the rules, by the letter that each row has:
A https://knative.dev/docs/serving/autoscaling/kpa-specific/ : stable window 60 s, panic window 10 %, threshold 200 %;
B https://knative.dev/docs/serving/autoscaling/autoscaling-targets/ : desired = observed / target, rounded up;
C https://github.com/knative/serving/blob/main/pkg/autoscaler/scaling/autoscaler.go : what holds while it panics;
D https://github.com/knative/serving/blob/main/config/core/configmaps/autoscaler.yaml : max-scale-up-rate 1000.
"""

from math import inf, nan
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from penstock.core.scale.panic import Panic, demand_of
from penstock.core.scale.recommend import MOST
from penstock.core.scale.spec import InFlightTarget, PanicWindow, QueueTarget, Targets, UpPace, UtilisationTarget
from penstock.core.scale.words import Start
from tests.core.scale.pools import QUICK, World, seen, window

TARGET = 10.0
"""Concurrency that a pod should have."""


class Case(NamedTuple):
    """A rule; looks of two seconds each, as (how many, concurrency, ready pods); pods that are wanted in the end, None
    without a panic."""

    rule: str
    looks: list[tuple[int, float, int]]
    wanted: int | None
    spec: PanicWindow = PanicWindow()


LONG, HALF, SLOW = (
    PanicWindow(stable_window_s=600.0),
    PanicWindow(window_percent=50.0),
    PanicWindow(max_scale_up_rate=2.0),
)

TABLE = [
    # B, A: the average of the last 6 s over the target, rounded up; from 200 % of what is ready it panics
    Case("B", [(3, 0, 1)], None),
    Case("B", [(3, 10, 1)], None),  # 1 / 1
    Case("A", [(3, 11, 1)], 2),  # 1.1, rounded up, is twice what is ready
    Case("A", [(3, 20, 1)], 2),
    Case("A", [(3, 30, 2)], None),  # 3 / 2
    Case("A", [(3, 31, 2)], 4),  # 4 / 2
    Case("A", [(3, 1000, 10)], 100),
    Case("A", [(3, 190, 10)], None),  # 19 / 10
    Case("A", [(3, 191, 10)], 20),
    Case("A", [(30, 10, 1), (1, 60, 1)], 3),  # (10 + 10 + 60) / 3, of which 27 is over 10
    Case("A", [(30, 10, 1), (3, 60, 1)], 6),
    Case("A", [(30, 10, 1), (1, 39, 1)], 2),  # 59 / 3
    Case("A", [(30, 30, 3), (1, 60, 3)], None),  # 120 / 3 is 4, and three are ready
    # C: none ready counts as one
    Case("C", [(3, 10, 0)], None),
    Case("C", [(3, 50, 0)], 5),
    Case("C", [(1, 5000, 0)], 500),
    # C: it does not shrink while it panics, and goes on growing
    Case("C", [(3, 100, 2), (10, 20, 2)], 10),
    Case("C", [(3, 100, 2), (3, 200, 2)], 20),
    Case("C", [(3, 100, 2), (10, 0, 10)], 10),
    # C: it ends when the demand was below the threshold for longer than the stable window
    Case("C", [(3, 100, 2), (30, 40, 10)], 10),  # the last time above was 60 s ago
    Case("C", [(3, 100, 2), (31, 40, 10)], None),
    Case("C", [(3, 100, 2), (25, 40, 10), (3, 300, 10), (25, 40, 30)], 30),  # above again: it goes on from then
    Case("C", [(3, 100, 2), (40, 40, 10), (3, 300, 10)], 30),  # ended, and begun anew
    # C: the stable average counts where it is the larger one
    Case("C", [(20, 100, 6), (3, 60, 2)], 10),  # 92 over 60 s, 60 over 6 s
    # D: at most so many times those that are ready
    Case("D", [(3, 1000, 1)], 2, SLOW),
    Case("D", [(3, 1000, 7)], 14, SLOW),
    Case("D", [(3, 1000, 1), (3, 1000, 2), (3, 1000, 4)], 8, SLOW),
    Case("D", [(3, 1e9, 1)], 1000),
    Case("D", [(3, 1000, 3)], 8, PanicWindow(max_scale_up_rate=2.5)),  # 7.5, rounded up
    # A: windows and threshold are settings
    Case("A", [(100, 10, 1), (20, 25, 1)], 2, LONG),  # a panic window of 60 s: (10 x 25 + 20 x 10) / 30
    Case("A", [(30, 10, 1), (7, 30, 1)], 2, HALF),  # 30 s: (7 x 30 + 8 x 10) / 15
    Case("A", [(3, 40, 2)], 4),
    Case("A", [(3, 40, 2)], None, PanicWindow(threshold_percent=300.0)),
]


@pytest.mark.parametrize("case", TABLE)
def test_the_published_rules(case: Case) -> None:
    """Looks in, two seconds apart; what is wanted after the last is what the rules say."""
    panic, now, wanted = Panic(case.spec), 0.0, None
    for times, concurrency, ready in case.looks:
        for _ in range(times):
            wanted = panic.see(concurrency / TARGET, ready, now)
            now += 2.0
    assert (wanted, panic.on) == (case.wanted, case.wanted is not None)


def test_the_table_is_long_enough() -> None:
    """At least twenty cases stand in it, none twice."""
    assert len({str(case) for case in TABLE}) == len(TABLE) >= 20


def test_a_look_that_tells_nothing() -> None:
    """Without a demand nothing begins, and a panic neither grows nor ends early; nonsense counts as none, and what is
    infinite stays within the rate."""
    panic = Panic(PanicWindow())
    assert panic.see(None, 1, 0.0) is None
    assert panic.see(nan, 1, 1.0) is panic.see(-1.0, 1, 2.0) is None
    assert panic.see(8.0, 1, 3.0) == 8
    assert [panic.see(None, 1, now) for now in (10.0, 63.0)] == [8, 8]
    assert panic.see(None, 1, 63.5) is None
    assert Panic(PanicWindow()).see(inf, 1, 0.0) == 1000
    assert Panic(PanicWindow(max_scale_up_rate=1e6)).see(inf, 10**4, 0.0) == MOST


def test_a_clock_that_jumps() -> None:
    """After a jump the past is forgotten: no panic is left, and none begins by it."""
    panic = Panic(PanicWindow())
    assert panic.see(8.0, 1, 0.0) == 8
    assert panic.see(1.0, 8, 1e9) is None
    assert not panic.on


def test_demand() -> None:
    """Calls in flight and waiting, over what a replica should have; the largest of the targets; who is ill has no say,
    and who loads tells only its seats."""
    everything = Targets(utilisation=UtilisationTarget(), queue=QueueTarget(), in_flight=InFlightTarget(target=4.0))
    fleet = window(seen("a", 10), seen("b", 4), seen("c", 9, well=False), queued=7)
    assert demand_of(Targets(queue=None), fleet) == 21 / 7
    assert demand_of(everything, fleet) == 21 / 4
    assert demand_of(Targets(utilisation=None), fleet) == 7 / 10
    assert demand_of(Targets(utilisation=None, queue=None), fleet) is None
    loading = window(seen("a", well=False, loading=True), queued=700)
    assert demand_of(Targets(), loading) == 100.0
    assert demand_of(Targets(queue=None), window(queued=700)) is None
    assert demand_of(Targets(), window(seen("a", waiting=30))) == 3.0


# ===== where replicas are slow to start =====


def looked(panic: Panic, startup_s: float | None, *looks: tuple[int, float], now: float = 0.0) -> list[int | None]:
    """What is wanted after each group of looks, five seconds apart, as (how many, demand), with four ready."""
    found: list[int | None] = []
    for times, demand in looks:
        wanted = None
        for _ in range(times):
            wanted = panic.see(demand, 4, now, startup_s)
            now += 5.0
        found.append(wanted)
    return found


def test_a_burst_that_must_have_lasted() -> None:
    """Where a start takes three minutes a burst is met once it has lasted for half of that, with the least that it
    asked for meanwhile; one look below the threshold, and it has not."""
    assert looked(Panic(PanicWindow()), 180.0, (3, 1.0), (17, 9.0), (1, 10.0)) == [None, None, 9]
    assert looked(Panic(PanicWindow()), 180.0, (3, 1.0), (17, 9.0), (1, 7.0), (17, 9.0)) == [None] * 4
    assert looked(Panic(PanicWindow()), 180.0, (17, 50.0)) == [None], "nobody knows what was before"
    assert looked(Panic(PanicWindow(starts=0.25)), 180.0, (3, 1.0), (8, 9.0), (1, 9.0)) == [None, None, 9]


def test_where_starts_are_quick_or_not_known() -> None:
    """Up to the stable window Knative's rules hold as they are, and where no start was seen; also by settings."""
    for startup_s in (None, 20.0, 60.0):
        assert looked(Panic(PanicWindow()), startup_s, (1, 8.0)) == [8]
    assert looked(Panic(PanicWindow(starts=0.0)), 600.0, (1, 8.0)) == [8]
    assert looked(Panic(PanicWindow()), 60.1, (1, 8.0)) == [None]


def test_a_burst_that_has_lasted_ends_like_any() -> None:
    """It is over a stable window after it was last seen to have lasted."""
    panic = Panic(PanicWindow())
    assert looked(panic, 100.0, (1, 1.0), (11, 9.0), (12, 1.0), (1, 1.0)) == [None, 9, 9, None]


# ===== in a pool =====

HASTY = replace(QUICK, max=60, panic=PanicWindow())
SLOWLY = replace(HASTY, up=UpPace(), interval_s=15.0)
"""With the default pace: it would wait for a minute, and then start four."""


def spike(world: World) -> World:
    """Two replicas of ten seats that are on target, and from then on calls for forty."""
    world.load = 7
    world.run(30)
    assert world.wanted == 1
    world.queued = 273
    return world


def test_a_burst_is_met_within_seconds() -> None:
    """Without waiting for the next decision, a stabilisation or a pace, and the reason is told."""
    world = spike(World(SLOWLY)).run(6)
    assert (world.wanted, len(world.ordered(Start))) == (40, 40)
    found = [(it.at, it.wanted) for it in world.decisions if it.was != it.wanted]
    assert found == [(31.0, 8), (32.0, 14), (33.0, 21), (34.0, 27), (35.0, 33), (36.0, 40)]
    assert world.governor.views(world.now)[0].panic


def test_without_a_panic_window_it_takes_its_time() -> None:
    """With null a burst waits for the stabilisation and the pace of `up`."""
    assert spike(World(replace(SLOWLY, panic=None))).run(45).wanted == 1


def test_nothing_shrinks_in_a_panic() -> None:
    """For as long as it lasts the number stays, however fast `down` is, and the burst is told as the reason."""
    world = World(HASTY)
    spike(world).run(6)
    world.queued, world.load = 0, 7
    world.run(50)
    assert (world.wanted, world.decisions[-1].reason) == (40, "a burst: calls for 0 replicas, 40 ready: wants 40")
    world.run(60)
    assert world.wanted == 1


def test_most_and_money_hold_in_a_panic() -> None:
    """Whatever a burst asks for, there are never more than `max` and the money allow."""
    world = spike(World(replace(SLOWLY, max=30, max_hourly_cost=20.0), hourly_cost=1.0)).run(20)
    assert (world.wanted, world.most) == (20, 20)
    assert world.decisions[-1].bounds == ("max_hourly_cost 20",)


def test_a_burst_where_starts_are_seen_to_be_slow() -> None:
    """The first burst is met at once, because nobody knows how long a start takes. Then it is known to be longer than
    the stable window, and a second burst must have lasted; `down` looks back over that time as well."""
    quick = PanicWindow(stable_window_s=4.0, window_percent=25.0, starts=5.0)
    world = World(replace(SLOWLY, panic=quick, life=replace(SLOWLY.life, loading_s=60.0)))
    world.load = 7
    world.run(10)
    world.slow, world.queued = True, 70
    world.run(10)
    assert world.wanted == 11
    world.slow = False
    world.run(2)
    world.load, world.queued = 70, 0
    world.run(30)
    assert world.governor._pools["p"].guard.startup_s == 11.0
    assert not world.governor.views(world.now)[0].panic
    world.queued = 300
    world.run(45)
    assert world.wanted == 10
    world.run(20)
    assert world.wanted > 40


def test_a_backlog_because_of_ill_replicas_is_no_burst() -> None:
    """While most of the replicas are ill nothing is started for those who wait because of that."""
    world = World(replace(SLOWLY, replace_after_s=600.0))
    world.load = 28
    world.run(150)
    assert world.wanted == 4
    world.ill = set(world.units)
    world.queued = 500
    world.run(10)
    assert not world.governor.views(world.now)[0].panic


def test_settings_may_change_meanwhile() -> None:
    """A panic goes on by the new settings, ends when there are none, and another may come when there are again."""
    world = spike(World(SLOWLY)).run(6)
    for panic, on in ((PanicWindow(threshold_percent=150.0), True), (None, False), (PanicWindow(), False)):
        world.change(replace(SLOWLY, panic=panic))
        world.run(3)
        assert world.governor.views(world.now)[0].panic is on
    world.queued = 4000
    assert world.run(3).governor.views(world.now)[0].panic
