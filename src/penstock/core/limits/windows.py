"""Windows: how much of a limit is taken, over time. A sliding one for rates, a calendar's for budgets.

Amounts are whole numbers, so that what was given back is exactly what was taken. Of what is taken, a part is only held:
its calls are in flight, and may give some of it back.

A sliding window is cut into buckets, and a bucket counts until the whole of it is older than the window. So in no span
of the window's length, wherever it begins, is more taken than the limit; the price is that what was taken comes free up
to one bucket late, a sixtieth of a minute or an hour, a ninety-sixth of a day.
"""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

PERIODS: Final[dict[str, tuple[float, int]]] = {
    "second": (0.0625, 16), "minute": (1.0, 60), "hour": (60.0, 60), "day": (900.0, 96),
}  # fmt: skip
"""Seconds of a bucket, and buckets. The seconds are binary fractions or whole, so that a bucket's end, worked out by a
product, falls into the next bucket."""


class Gauge:
    """What all windows tell and do."""

    __slots__ = ("held", "limit", "name", "used")

    is_money = False

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        """What it limits, in words: "tokens per minute"."""
        self.limit = limit
        self.used = 0
        """Taken in this window: held and settled."""
        self.held = 0
        """The part of it that calls in flight may give back."""

    def over(self, amount: int, now: float) -> bool:
        """Whether so much more would pass the limit."""
        self.roll(now)
        return self.used + amount > self.limit

    def firm(self, amount: int) -> bool:
        """Whether it would even if all that is held were given back."""
        return self.used - self.held + amount > self.limit

    @property
    def left(self) -> int:
        """What may still be taken."""
        return max(0, self.limit - self.used)

    def roll(self, now: float) -> None:
        """Forget what is older than the window."""
        raise NotImplementedError

    def take(self, amount: int, held: int) -> None:
        """Take it now (`over` or `roll` was told the time); `held` of it may be given back."""
        raise NotImplementedError

    def change(self, at: float, used: int, held: int) -> None:
        """What was taken at that time was more or less. It means nothing where that time is forgotten."""
        raise NotImplementedError

    def allows_at(self, amount: int) -> float:
        """When so much fits, if nothing is given back and nothing more is taken. The amount is within the limit."""
        raise NotImplementedError

    def free_at(self, now: float) -> float:
        """When all of the limit is there again, if nothing more is taken."""
        raise NotImplementedError


class _Bucket:
    __slots__ = ("held", "index", "used")

    def __init__(self, index: int, used: int, held: int) -> None:
        self.index = index
        self.used = used
        self.held = held


class Window(Gauge):
    """A sliding one."""

    __slots__ = ("_bucket_s", "_buckets", "_count", "_index")

    def __init__(self, name: str, limit: int, period: str) -> None:
        super().__init__(name, limit)
        self._bucket_s, self._count = PERIODS[period]
        self._index = 0
        self._buckets: deque[_Bucket] = deque()
        """Those in which something was taken, the oldest first: `_count` + 1 at most."""

    def over(self, amount: int, now: float) -> bool:
        """See `Gauge`. Written out, because every call asks every window."""
        index = int(now // self._bucket_s)
        if index > self._index:
            self._forget(index)
        return self.used + amount > self.limit

    def roll(self, now: float) -> None:
        """See `Gauge`."""
        index = int(now // self._bucket_s)
        if index > self._index:
            self._forget(index)

    def _forget(self, index: int) -> None:
        self._index = index
        buckets, oldest = self._buckets, index - self._count
        while buckets and buckets[0].index < oldest:
            bucket = buckets.popleft()
            self.used -= bucket.used
            self.held -= bucket.held

    def take(self, amount: int, held: int) -> None:
        """See `Gauge`."""
        self.used += amount
        self.held += held
        buckets = self._buckets
        if buckets:
            last = buckets[-1]
            if last.index == self._index:
                last.used += amount
                last.held += held
                return
        buckets.append(_Bucket(self._index, amount, held))

    def change(self, at: float, used: int, held: int) -> None:
        """See `Gauge`."""
        index = int(at // self._bucket_s)
        for bucket in reversed(self._buckets):
            if bucket.index <= index:
                if bucket.index == index:
                    bucket.used += used
                    bucket.held += held
                    self.used += used
                    self.held += held
                return

    def allows_at(self, amount: int) -> float:
        """See `Gauge`."""
        excess = self.used + amount - self.limit
        for bucket in self._buckets:
            excess -= bucket.used
            if excess <= 0:
                return self._end_of(bucket)
        return (self._index + 1 + self._count) * self._bucket_s

    def free_at(self, now: float) -> float:
        """See `Gauge`."""
        return next((self._end_of(bucket) for bucket in reversed(self._buckets) if bucket.used), now)

    def _end_of(self, bucket: _Bucket) -> float:
        return (bucket.index + 1 + self._count) * self._bucket_s


class Calendar(Gauge):
    """A day or a month of UTC."""

    __slots__ = ("_from", "_period", "until")

    is_money = True

    def __init__(self, name: str, limit: int, period: str) -> None:
        super().__init__(name, limit)
        self._period = period
        self._from = self.until = 0.0

    def roll(self, now: float) -> None:
        """See `Gauge`."""
        if now >= self.until:
            self._from, self.until = bounds(self._period, now)
            self.used = self.held = 0

    def take(self, amount: int, held: int) -> None:
        """See `Gauge`."""
        self.used += amount
        self.held += held

    def change(self, at: float, used: int, held: int) -> None:
        """See `Gauge`."""
        if at >= self._from:
            self.used += used
            self.held += held

    def allows_at(self, amount: int) -> float:
        """See `Gauge`."""
        return self.until

    def free_at(self, now: float) -> float:
        """See `Gauge`."""
        return self.until if self.used else now


def bounds(period: str, now: float) -> tuple[float, float]:
    """Begin and end, in seconds since 1970, of the day or month of UTC that `now` lies in."""
    if period == "day":
        begin = now // 86400.0 * 86400.0
        return begin, begin + 86400.0
    day = datetime.fromtimestamp(now, UTC)
    begins = datetime(day.year, day.month, 1, tzinfo=UTC)
    ends = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return begins.timestamp(), ends.timestamp()


class Tightest(NamedTuple):
    """The window of several that has least left."""

    limit: int
    left: int
    free_s: float


def tightest(windows: Sequence[Gauge], now: float) -> Tightest | None:
    """The one with least left; None: there is none."""
    found: Gauge | None = None
    for window in windows:
        window.roll(now)
        if found is None or window.limit - window.used < found.limit - found.used:
            found = window
    return None if found is None else Tightest(found.limit, found.left, found.free_at(now) - now)
