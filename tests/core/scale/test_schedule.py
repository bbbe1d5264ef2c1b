"""Schedules: which one holds at a time of the week, in which zone, over midnight, and what cannot be meant."""

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.core.scale.schedule import DAYS, Schedule, bounds_in, holding, minutes_of, mistakes_in, offset_s
from tests.core.scale.pools import MONDAY_S, QUICK, World

HOUR_S, DAY_S = 3600.0, 86400.0


def at(day: int, clock: float) -> float:
    """So many days after a Monday, at this hour, UTC."""
    return MONDAY_S + day * DAY_S + clock * HOUR_S


WEEKDAYS = Schedule(days=("mon", "tue", "wed", "thu", "fri"), begins="08:00", ends="20:00", min=5)
NIGHT = Schedule(days=("fri",), begins="22:00", ends="06:00", max=2)


@pytest.mark.parametrize(
    ("schedule", "day", "clock", "holds"),
    [
        (WEEKDAYS, 0, 7.99, False), (WEEKDAYS, 0, 8.0, True), (WEEKDAYS, 4, 19.99, True), (WEEKDAYS, 4, 20.0, False),
        (WEEKDAYS, 5, 12.0, False), (WEEKDAYS, 6, 12.0, False), (WEEKDAYS, 7, 12.0, True),
        # over midnight it belongs to the day on which it begins
        (NIGHT, 4, 21.9, False), (NIGHT, 4, 22.0, True), (NIGHT, 5, 5.9, True), (NIGHT, 5, 6.0, False),
        (NIGHT, 4, 3.0, False), (NIGHT, 6, 3.0, False),
        # a whole day, and one that begins and ends at the same time
        (Schedule(days=("sun",), min=1), 6, 0.0, True), (Schedule(days=("sun",), min=1), 6, 23.99, True),
        (Schedule(days=("sun",), min=1), 7, 0.0, False),
        (Schedule(days=("sun",), begins="12:00", ends="12:00", min=1), 7, 11.9, True),
        (Schedule(days=("sun",), begins="12:00", ends="12:00", min=1), 7, 12.0, False),
        # eight in the morning comes earlier in the east
        (replace(WEEKDAYS, zone="+05:30"), 0, 2.5, True), (replace(WEEKDAYS, zone="+05:30"), 0, 2.4, False),
        (replace(WEEKDAYS, zone="+05:30"), 0, 14.5, False), (replace(WEEKDAYS, zone="-08:00"), 5, 3.9, True),
        (replace(WEEKDAYS, zone="-08:00"), 0, 3.0, False), (replace(WEEKDAYS, zone="+10:00"), 6, 22.0, True),
    ],
)  # fmt: skip
def test_when_it_holds(schedule: Schedule, day: int, clock: float, holds: bool) -> None:
    """By days and hours of its own zone, its begin within and its end not."""
    assert (holding((schedule,), at(day, clock)) is schedule) is holds


def test_the_first_that_holds() -> None:
    """Where several hold, the first of the list does, alone; a bound that it leaves out is the pool's."""
    both = (NIGHT, WEEKDAYS)
    assert holding(both, at(4, 19.0)) is WEEKDAYS
    late = replace(WEEKDAYS, ends="24:00")
    assert holding((NIGHT, late), at(4, 23.0)) is NIGHT
    assert holding((late, NIGHT), at(4, 23.0)) is late
    assert holding(both, at(6, 12.0)) is None
    assert bounds_in(WEEKDAYS, 1, 8) == (5, 8)
    assert bounds_in(NIGHT, 1, 8) == (1, 2)
    assert bounds_in(None, 1, 8) == (1, 8)


def test_times_and_zones() -> None:
    """Hours of a day, midnight at both of its ends, and offsets; nothing else."""
    assert [minutes_of(text) for text in ("00:00", "08:30", "23:59", "24:00")] == [0, 510, 1439, 1440]
    assert {minutes_of(text) for text in ("24:01", "8:30", "25:00", "12:60", "", "noon", "12:00\n")} == {None}
    assert [offset_s(text) for text in ("UTC", "Z", "+05:30", "-08:00", "+00:00")] == [0, 0, 19800, -28800, 0]
    assert {offset_s(text) for text in ("CET", "+5:30", "05:30", "Europe/Berlin", "")} == {None}


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({"min": 2, "begins": "8"}, "from"), ({"min": 2, "ends": "24:30"}, "to"), ({"min": 2, "zone": "CET"}, "zone"),
        ({"min": 2, "days": ()}, "days"), ({}, "min"), ({"min": 9}, "min"), ({"max": 1}, "min"),
        ({"min": 30, "max": 20}, "min"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(schedule: dict[str, Any], field: str) -> None:
    """Each mistake is told with its field."""
    assert [name for name, _ in mistakes_in(Schedule(**schedule), 2, 8)] == [field]
    assert list(mistakes_in(WEEKDAYS, 2, 8)) == []


def test_how_it_is_called() -> None:
    """By its days, hours and zone."""
    assert str(WEEKDAYS) == "mon,tue,wed,thu,fri 08:00-20:00 UTC"
    assert str(Schedule(min=1)) == "daily 00:00-24:00 UTC"
    assert Schedule().days == DAYS


# ===== in a pool =====


def test_a_pool_with_office_hours() -> None:
    """When it begins the pool has its minimum at the next look, without waiting for a decision or a pace; when it ends
    the pool shrinks by its usual pace; the reason is told."""
    world = World(replace(QUICK, interval_s=600.0, schedules=(WEEKDAYS,)))
    world.began_s = at(0, 8.0) - 100.0
    world.run(99)
    assert (world.wanted, world.governor.views(world.now)[0].min) == (1, 1)
    world.run(2)
    assert (world.wanted, world.decisions[-1].bounds) == (5, ("min 5 (mon,tue,wed,thu,fri 08:00-20:00 UTC)",))
    view = world.governor.views(world.now)[0]
    assert (view.min, view.max, view.schedule) == (5, 8, "mon,tue,wed,thu,fri 08:00-20:00 UTC")
    world.change(replace(QUICK, schedules=(WEEKDAYS,)))
    world.now += 12 * HOUR_S
    world.run(20)
    assert world.wanted == 1
    assert world.governor.views(world.now)[0].schedule == ""


def test_a_smaller_maximum_holds_at_once() -> None:
    """Replicas beyond it drain; calls that they have are ended first."""
    world = World(replace(QUICK, min=1, schedules=(NIGHT,)))
    world.began_s = at(4, 22.0) - 60.0
    world.load = 40
    world.run(30)
    assert world.states == {"ready": 6}
    world.busy = {"p-6"}
    world.run(35)
    assert (world.wanted, world.states) == (2, {"ready": 2, "draining": 1})


def test_settings_change_while_one_holds() -> None:
    """Its bounds stay while it is still in the list, and end with it."""
    world = World(replace(QUICK, schedules=(WEEKDAYS,)))
    world.began_s = at(0, 9.0)
    world.run(5)
    assert world.wanted == 5
    world.change(replace(QUICK, max=6, schedules=(WEEKDAYS,)))
    assert (world.governor.views(world.now)[0].min, world.governor.views(world.now)[0].max) == (5, 6)
    world.change(QUICK)
    assert world.governor.views(world.now)[0].min == 1


def test_without_a_clock_on_the_wall() -> None:
    """Who does not know the time changes nothing: what held goes on."""
    world = World(replace(QUICK, schedules=(WEEKDAYS,)))
    world.began_s = at(0, 9.0)
    world.run(5)
    world.told_time = False
    world.now += 12 * HOUR_S
    world.run(30)
    assert world.wanted == 5
