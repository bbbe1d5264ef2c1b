"""Schedules: hours of the week at which a pool has other bounds [A5].

Days and hours are of a fixed offset from UTC: there is no time zone database here, and so no summer time. The wall
clock comes in as a number, seconds since 1970. Where several hold, the first of the list does.
"""

import re
from collections.abc import Iterator, Sequence
from math import floor
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
THURSDAY = 3
"""What 1970-01-01 was."""
DAY_S, MINUTE_S = 86400, 60
_CLOCK = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_OFFSET = re.compile(r"([+-])([01][0-9]):([0-5][0-9])")


def _doc(text: str) -> Meta:
    return Meta(description=text)


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other bounds at some hours of the week. Where several hold at once, the first in the list does."""

    days: Annotated[tuple[Day, ...], _doc("on which it begins: mon, tue, wed, thu, fri, sat, sun")] = DAYS
    begins: Annotated[str, _doc("when it begins, HH:MM")] = field(default="00:00", name="from")
    ends: Annotated[str, _doc("when it ends, HH:MM; where that is not later than `from`, on the next day")] = field(
        default="24:00", name="to"
    )
    zone: Annotated[str, _doc("the time zone of both: UTC, or an offset from it like +05:30; no summer time")] = "UTC"
    min: Annotated[Annotated[int, Meta(ge=0, le=10_000)] | None, _doc("fewest replicas meanwhile; none: as else")] = (
        None
    )
    max: Annotated[Annotated[int, Meta(ge=1, le=10_000)] | None, _doc("most replicas meanwhile; none: as else")] = None

    def __str__(self) -> str:
        days = "daily" if self.days == DAYS else ",".join(self.days)
        return f"{days} {self.begins}-{self.ends} {self.zone}"


def minutes_of(clock: str) -> int | None:
    """Minutes since midnight; None: that is no time of day."""
    found = _CLOCK.fullmatch(clock)
    minutes = int(found[1]) * 60 + int(found[2]) if found is not None else DAY_S
    return minutes if minutes <= DAY_S // MINUTE_S else None


def offset_s(zone: str) -> int | None:
    """Seconds that the zone is ahead of UTC; None: that is no zone that is known here."""
    if zone in ("UTC", "Z"):
        return 0
    found = _OFFSET.fullmatch(zone)
    if found is None:
        return None
    seconds = (int(found[2]) * 60 + int(found[3])) * MINUTE_S
    return -seconds if found[1] == "-" else seconds


def mistakes_in(schedule: Schedule, least: int, most: int) -> Iterator[tuple[str, str]]:
    """What cannot be meant: the field, and why. `least` and `most` are those that hold elsewhere."""
    for name, clock in (("from", schedule.begins), ("to", schedule.ends)):
        if minutes_of(clock) is None:
            yield name, f"found {clock!r}, expected a time of day, like 08:30"
    if offset_s(schedule.zone) is None:
        yield "zone", f"found {schedule.zone!r}, expected UTC or an offset from it, like +05:30"
    if not schedule.days:
        yield "days", "found none, expected at least one day"
    if schedule.min is schedule.max is None:
        yield "min", "missing: a schedule sets `min`, `max`, or both"
    low, high = bounds_in(schedule, least, most)
    if low > high:
        yield "min", f"it would be {low} meanwhile, which is more than `max`, {high}"


def bounds_in(schedule: Schedule | None, least: int, most: int) -> tuple[int, int]:
    """The fewest and the most replicas while it holds."""
    if schedule is None:
        return least, most
    return least if schedule.min is None else schedule.min, most if schedule.max is None else schedule.max


def holding(schedules: Sequence[Schedule], wall_s: float) -> Schedule | None:
    """The first that holds at this time; None: none does."""
    return next((schedule for schedule in schedules if _holds(schedule, wall_s)), None)


def _holds(schedule: Schedule, wall_s: float) -> bool:
    ahead_s, begins, ends = offset_s(schedule.zone), minutes_of(schedule.begins), minutes_of(schedule.ends)
    if ahead_s is None or begins is None or ends is None:
        return False  # checked where it was read
    day, second = divmod(floor(wall_s) + ahead_s, DAY_S)
    minute = second // MINUTE_S
    today, yesterday = (DAYS[(day + THURSDAY - back) % 7] in schedule.days for back in (0, 1))
    if begins < ends:
        return today and begins <= minute < ends
    return (today and minute >= begins) or (yesterday and minute < ends)
