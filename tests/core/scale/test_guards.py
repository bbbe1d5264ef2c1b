"""The bounds of a pool's size: stabilisation, pace, [min, max], cost, and what a gap in time does to them."""

from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from penstock.core.scale.guards import Bounded, Guard, ceiling
from penstock.core.scale.spec import DownPace, ScaleSpec, UpPace

FREE_UP = UpPace(stabilisation_s=0.0, percent=1e6, replicas=1000)
FREE_DOWN = DownPace(stabilisation_s=0.0, percent=100.0, replicas=1000, select="max", cooldown_s=0.0)


def guard(hourly_cost: float = 0.0, **fields: Any) -> Guard:
    """One without bounds but those that are given."""
    usual = {"min": 0, "max": 1000, "up": FREE_UP, "down": FREE_DOWN, "interval_s": 10.0}
    return Guard(ScaleSpec(**{**usual, **fields}), hourly_cost)


def through(made: Guard, wants: list[int | None], start: int, every_s: float = 10.0) -> list[int]:
    """The numbers after each of these recommendations, one an interval."""
    found, current = [], start
    for turn, want in enumerate(wants):
        current = made.bound(want, current, turn * every_s).count
        found.append(current)
    return found


# ===== stabilisation =====


def test_growing_waits_until_it_was_wanted_throughout() -> None:
    """The pool grows to the least that was wanted in the window, so a peak that is shorter starts nothing."""
    spec: dict[str, Any] = {"up": UpPace(stabilisation_s=30.0, percent=1e6, replicas=1000)}
    assert through(guard(**spec), [8, 8, 8, 8, 8], 2) == [2, 2, 2, 8, 8]
    assert through(guard(**spec), [8, 8, 2, 8, 8], 2) == [2, 2, 2, 2, 2]
    assert through(guard(**spec), [5, 9, 7, 6, 6, 6, 6], 2) == [2, 2, 2, 6, 6, 6, 6]


def test_shrinking_waits_until_it_was_wanted_throughout() -> None:
    """The pool shrinks to the most that was wanted in the window."""
    spec: dict[str, Any] = {
        "down": DownPace(stabilisation_s=30.0, percent=100, replicas=1000, select="max", cooldown_s=0.0)
    }
    assert through(guard(**spec), [2, 2, 2, 2, 2], 8) == [8, 8, 8, 2, 2]
    assert through(guard(**spec), [2, 3, 5, 4, 2, 2, 2, 2], 8) == [8, 8, 8, 5, 5, 4, 2, 2]


def test_what_starts_slowly_is_not_stopped_lightly() -> None:
    """The window of shrinking is three times as long as replicas take to start, where that is longer than the one
    that is set; an hour at most, and not where that is switched off."""
    pace = DownPace(stabilisation_s=30.0, percent=100, replicas=1000, select="max", cooldown_s=0.0)
    for startup_s, starts, looks in ((None, 3.0, 3), (10.0, 3.0, 3), (20.0, 3.0, 6), (20.0, 2.0, 4), (20.0, 0.0, 3)):
        made = guard(down=replace(pace, starts=starts))
        made.startup_s = startup_s
        assert through(made, [2] * 7, 8).count(8) == looks, (startup_s, starts)
    made = guard(down=pace)
    made.startup_s = 1e6
    assert through(made, [2] * 400, 8).count(8) == 360


def test_the_bound_is_named() -> None:
    """What changed the number is told by the name that it has in the configuration."""
    made = guard(up=UpPace(stabilisation_s=30.0), down=DownPace(stabilisation_s=60.0), max=10)
    assert made.bound(8, 4, 0.0) == Bounded(count=4, bounds=("up.stabilisation",))
    assert made.bound(2, 4, 10.0) == Bounded(count=4, bounds=("down.stabilisation",))
    assert made.bound(4, 4, 20.0) == Bounded(count=4, bounds=())


def test_from_none_at_once() -> None:
    """A pool that has no replica grows without waiting: somebody waits for it."""
    assert through(guard(up=UpPace(stabilisation_s=60.0)), [1], 0) == [1]


@pytest.mark.parametrize("gap_s", [41.0, 3600.0, 1e9])
def test_after_a_gap_the_past_says_nothing(gap_s: float) -> None:
    """When no recommendation came for a while (an outage, a clock that jumped), a whole window passes before the pool
    shrinks."""
    made = guard(down=DownPace(stabilisation_s=30.0, percent=100, replicas=1000, select="max", cooldown_s=0.0))
    assert through(made, [8, 8, 8, 8, 8], 8)[-1] == 8
    later = 40.0 + gap_s
    counts = [made.bound(1, 8, later + wait_s).count for wait_s in (0.0, 10.0, 20.0, 30.0, 40.0)]
    assert counts == [8, 8, 8, 1, 1]


def test_no_recommendation_changes_nothing() -> None:
    """Without a recommendation the number stays."""
    assert through(guard(), [None, None, 5, None], 3) == [3, 3, 5, 5]


# ===== pace =====


@pytest.mark.parametrize(
    ("percent", "replicas", "select", "start", "wanted"),
    [
        (100.0, 4, "max", 2, 6), (100.0, 4, "max", 10, 20), (100.0, 4, "min", 2, 4), (100.0, 4, "min", 10, 14),
        (50.0, 0, "max", 3, 5), (0.0, 0, "max", 5, 5), (10.0, 1, "max", 30, 33), (0.0, 3, "max", 5, 8),
    ],
)  # fmt: skip
def test_the_pace_of_growing(percent: float, replicas: int, select: Any, start: int, wanted: int) -> None:
    """In a period the pool grows by so many, or by such a share of what it began with, whichever holds."""
    pace = UpPace(stabilisation_s=0.0, percent=percent, replicas=replicas, select=select, period_s=60.0)
    assert through(guard(up=pace), [500] * 5, start, 10.0) == [wanted] * 5


def test_the_next_period_goes_on() -> None:
    """When the period is over the pool grows again, from what it is by then."""
    pace = UpPace(stabilisation_s=0.0, percent=100.0, replicas=4, period_s=30.0)
    assert through(guard(up=pace), [500] * 8, 2) == [6, 6, 6, 12, 12, 12, 24, 24]


@pytest.mark.parametrize(
    ("percent", "replicas", "select", "start", "wanted"),
    [
        (50.0, 2, "min", 10, 8), (50.0, 2, "min", 3, 1), (50.0, 2, "max", 10, 5), (100.0, 0, "max", 10, 0),
        (0.0, 0, "max", 10, 10), (10.0, 100, "min", 10, 9), (50.0, 2, "min", 1, 0),
    ],
)  # fmt: skip
def test_the_pace_of_shrinking(percent: float, replicas: int, select: Any, start: int, wanted: int) -> None:
    """In a period the pool shrinks by so many, or by such a share, whichever holds."""
    pace = DownPace(stabilisation_s=0.0, percent=percent, replicas=replicas, select=select, cooldown_s=0.0)
    assert through(guard(down=pace), [0] * 5, start) == [wanted] * 5


def test_cooldown() -> None:
    """After it grew the pool does not shrink for a while, and the other way round."""
    slow = DownPace(stabilisation_s=0.0, percent=100, replicas=1000, select="max", cooldown_s=30.0)
    assert through(guard(down=slow), [8, 2, 2, 2, 2], 4) == [8, 8, 8, 2, 2]
    up = UpPace(stabilisation_s=0.0, percent=1e6, replicas=1000, cooldown_s=20.0)
    assert through(guard(up=up), [2, 8, 8, 8], 4) == [2, 2, 8, 8]


@pytest.mark.parametrize("hours", [1, 3, 12])
def test_a_long_cooldown_lasts_as_long_as_it_says(hours: int) -> None:
    """However long ago the pool grew, it does not shrink before its cooldown is over."""
    pace = DownPace(stabilisation_s=0.0, percent=100, replicas=1000, select="max", cooldown_s=hours * 3600.0)
    made = guard(down=pace, interval_s=600.0)
    wants: list[int | None] = [8, *[2] * (6 * hours + 1)]
    assert through(made, wants, 2, every_s=600.0) == [8] * 6 * hours + [2, 2]


# ===== as the HorizontalPodAutoscaler's page has it =====

PAGE = "https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior"
DISABLED_UP = UpPace(stabilisation_s=0.0, percent=0.0, replicas=0)


class Case(NamedTuple):
    """A rule in the words of that page; the pace of one direction; recommendations, one a minute, and from how many;
    what there is after each."""

    rule: str
    pace: dict[str, Any]
    wants: list[int | None]
    start: int
    found: list[int]


BEHAVIOUR = [
    Case(
        "4 pods or 10 % in one minute: 80 to 72, then 72 * 10 % = 7.2 rounded up to 8; below 40 replicas 4 at a time",
        {"down": replace(FREE_DOWN, percent=10.0, replicas=4)},
        [10] * 15, 80, [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10, 10],
    ),
    Case(
        "selectPolicy Min: the policy which allows the smallest change",
        {"down": replace(FREE_DOWN, percent=10.0, replicas=5, select="min")},
        [10] * 6, 80, [75, 70, 65, 60, 55, 50],
    ),
    Case("selectPolicy Disabled: no scaling in that direction", {"down": replace(FREE_DOWN, percent=0.0, replicas=0)},
         [1, 1, 9, 1], 5, [5, 5, 9, 9]),
    Case("selectPolicy Disabled: no scaling in that direction", {"up": DISABLED_UP}, [9, 9, 2, 9], 5, [5, 5, 2, 2]),
    Case("default scaleUp: 100 % or 4 pods, whichever is more", {"up": UpPace(stabilisation_s=0.0)},
         [100, 100, 100, 100, 100, 100], 1, [5, 10, 20, 40, 80, 100]),
    Case("default scaleDown: 100 %, all the way at once", {"down": FREE_DOWN}, [3, 1], 90, [3, 1]),
    Case("limit to one pod a minute", {"down": replace(FREE_DOWN, percent=0.0, replicas=1)}, [1, 1, 1], 9, [8, 7, 6]),
    Case(
        "scaleDown stabilizationWindowSeconds 300: the highest recommendation of the last five minutes",
        {"down": replace(FREE_DOWN, stabilisation_s=300.0)},
        [9, 4, 4, 4, 4, 4, 4], 9, [9, 9, 9, 9, 9, 4, 4],
    ),
    Case(
        "scaleDown stabilizationWindowSeconds 300: the highest recommendation of the last five minutes",
        {"down": replace(FREE_DOWN, stabilisation_s=300.0)},
        [9, 4, 4, 6, 4, 2, 2, 2, 2], 9, [9, 9, 9, 9, 9, 6, 6, 6, 4],
    ),
    Case("scaleUp stabilizationWindowSeconds 0: metrics that say so scale up at once", {"up": FREE_UP},
         [4, 40], 2, [4, 40]),
    Case(
        "scaleUp stabilizationWindowSeconds 180: the lowest recommendation of the window",
        {"up": replace(FREE_UP, stabilisation_s=180.0)},
        [8, 8, 6, 8, 8], 2, [2, 2, 2, 6, 6],
    ),
    Case("a metric that cannot be fetched: no scaling", {}, [None, None], 7, [7, 7]),
]  # fmt: skip


@pytest.mark.parametrize("case", BEHAVIOUR)
def test_the_published_behaviour(case: Case) -> None:
    """Recommendations in, one a minute; what there is after each is what the page says."""
    assert through(guard(interval_s=60.0, **case.pace), case.wants, case.start, 60.0) == case.found


# ===== bounds =====


def test_least_and_most() -> None:
    """The number is never below `min` nor above `max`, and which of them held is told."""
    made = guard(min=2, max=6)
    assert made.bound(0, 4, 0.0) == Bounded(count=2, bounds=("min 2",))
    assert made.bound(50, 4, 10.0) == Bounded(count=6, bounds=("max 6",))


def test_outside_of_the_bounds_it_comes_back_at_once() -> None:
    """Where the pool has fewer or more than it may, neither pace nor missing metrics keep it there."""
    made = guard(min=3, max=6, up=UpPace(stabilisation_s=60.0, percent=0, replicas=0))
    assert made.bound(None, 0, 0.0).count == 3
    assert made.bound(None, 9, 10.0).count == 6


def test_cost() -> None:
    """The most is what the money is enough for, and that is what is told as the bound."""
    made = guard(hourly_cost=2.5, max=20, max_hourly_cost=10.0)
    assert made.bound(15, 2, 0.0) == Bounded(count=4, bounds=("max_hourly_cost 10",))
    assert ceiling(ScaleSpec(max=20, max_hourly_cost=0.3), 0.1) == 3
    assert ceiling(ScaleSpec(max=20, max_hourly_cost=10.0), 0.0) == 20
    assert ceiling(ScaleSpec(min=2, max=20, max_hourly_cost=1.0), 2.0) == 0


def test_what_is_urgent_does_not_wait() -> None:
    """It is met at once within [min, max], past stabilisation, pace and cooldown of `up`; what else is wanted still
    waits; and meanwhile nothing shrinks, even with a recommendation that could."""
    slow: dict[str, Any] = {"up": UpPace(), "max": 50}
    assert guard(**slow).bound(30, 4, 0.0, 30) == Bounded(count=30, bounds=())
    assert guard(**slow).bound(300, 4, 0.0, 300) == Bounded(count=50, bounds=("max 50",))
    assert guard(**slow).bound(30, 4, 0.0, 9) == Bounded(count=9, bounds=("up.stabilisation",))
    assert guard(**slow).bound(30, 4, 0.0, 3) == Bounded(count=4, bounds=("up.stabilisation",))
    assert guard().bound(3, 8, 0.0, 3) == Bounded(count=8, bounds=("panic",))
    assert guard().bound(None, 8, 0.0, 3) == Bounded(count=8, bounds=())
    made = guard(up=UpPace(cooldown_s=600.0))
    assert made.bound(2, 8, 0.0).count == 2
    assert made.bound(9, 2, 10.0).count == 2
    assert made.bound(9, 2, 20.0, 9).count == 9


def test_money_is_above_the_minimum() -> None:
    """Where a reload makes even the minimum too dear, the money holds."""
    assert guard(hourly_cost=2.0, min=4, max_hourly_cost=5.0).bound(None, 4, 0.0).count == 2


@pytest.mark.parametrize("wanted", [10**9, 1001, -1, -(10**9)])
def test_a_runaway_is_bounded_and_alarms(wanted: int) -> None:
    """A recommendation that nobody can have meant stays within the bounds and is an alarm."""
    found = guard(min=1, max=20).bound(wanted, 4, 0.0)
    assert found.count == (20 if wanted > 0 else 1)
    assert f"{wanted:,} replicas" in found.alarm
    assert guard(min=1, max=20).bound(1000, 4, 0.0).alarm == ""
