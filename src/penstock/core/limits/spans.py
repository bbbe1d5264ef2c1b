"""Spans: the stretches of time by which what was used is counted, for windows that several processes share.

The same cuts as in `windows`, as numbers that can be told: which stretch a moment lies in, which of them still count,
and when one no longer does.
"""

from functools import cache
from typing import Final, Protocol

from penstock.core.limits.windows import PERIODS, bounds

AT_ONCE: Final = "calls at once"
"""The limit that has no window: what is given back is free at once."""


class Span(Protocol):
    """How the time of a limit is cut."""

    def index(self, at: float) -> int:
        """The stretch that a moment lies in."""
        ...

    def ends(self, index: int) -> float:
        """When it ends."""
        ...

    def oldest(self, index: int) -> int:
        """The oldest that still counts while this one is the present one."""
        ...

    def free_at(self, index: int) -> float:
        """When what was used in it counts no more."""
        ...


class Sliding:
    """Of a rate."""

    __slots__ = ("_bucket_s", "_count")

    def __init__(self, period: str) -> None:
        self._bucket_s, self._count = PERIODS[period]

    def index(self, at: float) -> int:
        """See `Span`."""
        return int(at // self._bucket_s)

    def ends(self, index: int) -> float:
        """See `Span`."""
        return (index + 1) * self._bucket_s

    def oldest(self, index: int) -> int:
        """See `Span`."""
        return index - self._count

    def free_at(self, index: int) -> float:
        """See `Span`."""
        return (index + 1 + self._count) * self._bucket_s


class Civil:
    """Of a budget: a stretch is a whole day or month of UTC, named by its first second."""

    __slots__ = ("_period",)

    def __init__(self, period: str) -> None:
        self._period = period

    def index(self, at: float) -> int:
        """See `Span`."""
        return int(bounds(self._period, at)[0])

    def ends(self, index: int) -> float:
        """See `Span`."""
        return bounds(self._period, float(index))[1]

    def oldest(self, index: int) -> int:
        """See `Span`."""
        return index

    def free_at(self, index: int) -> float:
        """See `Span`."""
        return self.ends(index)


class Now:
    """Of what has no window: nothing is ever counted."""

    __slots__ = ()

    def index(self, at: float) -> int:
        """See `Span`."""
        return int(at)

    def ends(self, index: int) -> float:
        """See `Span`."""
        return float(index + 1)

    def oldest(self, index: int) -> int:
        """See `Span`: not even the present one."""
        return index + 1

    def free_at(self, index: int) -> float:
        """See `Span`."""
        return float(index)


@cache
def span_of(what: str) -> Span:
    """By a limit's name. Raises ValueError for one that there is not."""
    if what == AT_ONCE:
        return Now()
    kind, _, period = what.partition(" per ")
    if kind == "budget" and period in ("day", "month"):
        return Civil(period)
    if kind in ("requests", "tokens") and period in PERIODS:
        return Sliding(period)
    raise ValueError(f"there is no limit on {what!r}")
