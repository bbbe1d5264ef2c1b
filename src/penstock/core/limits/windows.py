"""Windows: how much of a limit is taken, over time. A sliding one for rates, a calendar's for budgets, a bucket with a
hole for shaping.

Amounts are whole numbers, so that what was given back is exactly what was taken. Of what is taken, a part is only held:
its calls are in flight, and may give some of it back.

A sliding window is cut into buckets, and a bucket counts until the whole of it is older than the window. So in no span
of the window's length, wherever it begins, is more taken than the limit; the price is that what was taken comes free up
to one bucket late, a sixtieth of a minute or an hour, a ninety-sixth of a day.
"""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil, inf
from typing import Final, NamedTuple

PERIODS: Final[dict[str, tuple[float, int]]] = {
    "second": (0.0625, 16), "minute": (1.0, 60), "hour": (60.0, 60), "day": (900.0, 96),
}  # fmt: skip
"""Seconds of a bucket, and buckets. The seconds are binary fractions or whole, so that a bucket's end, worked out by a
product, falls into the next bucket."""


_CRUMB, _MOMENT_S = 1e-9, 1e-6
"""So much of a request is none, and so much later it is asked again: an alarm that rings when one fits must find that
it does, and a time since 1970 is a float of a quarter of a microsecond."""


class Shown(NamedTuple):
    """How a window stands, for people."""

    used: int
    held: int
    left: int
    free_s: float
    """Until all of it is there again."""


class Bucket:
    """What was taken of a window in one stretch of time. Whoever took something keeps it, to change that later."""

    __slots__ = ("gauge", "gone", "held", "index", "used")

    def __init__(self, gauge: "Gauge", index: int = 0) -> None:
        self.gauge = gauge
        self.index = index
        self.used = 0
        self.held = 0
        self.gone = False
        """It is older than the window: whatever becomes of it means nothing."""

    def change(self, used: int, held: int) -> None:
        """What was taken was more or less."""
        if not self.gone:
            self.used += used
            self.held += held
            gauge = self.gauge
            gauge.used += used
            gauge.held += held


class Gauge:
    """What all windows tell and do. Its numbers are right up to `until`; then it must be rolled on."""

    __slots__ = ("bucket", "held", "limit", "name", "until", "used")

    is_money = False

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        """What it limits, in words: "tokens per minute"."""
        self.limit = limit
        self.used = 0
        """Taken in this window: held and settled."""
        self.held = 0
        """The part of it that calls in flight may give back."""
        self.until = -inf
        """When its present bucket ends."""
        self.bucket: Bucket | None = None
        """The present one, once something was taken in it."""

    def over(self, amount: int, now: float) -> bool:
        """Whether so much more would pass the limit."""
        if now >= self.until:
            self.roll(now)
        return self.used + amount > self.limit

    def firm(self, amount: int) -> bool:
        """Whether it would even if all that is held were given back."""
        return self.used - self.held + amount > self.limit

    @property
    def left(self) -> int:
        """What may still be taken."""
        return max(0, self.limit - self.used)

    @property
    def pristine(self) -> bool:
        """Nothing would be lost with it."""
        return not self.used

    def relimit(self, limit: int) -> None:
        """Another limit holds from now on; what was used is kept."""
        self.limit = limit

    def shown(self, now: float) -> Shown:
        """For people."""
        self.roll(now)
        return Shown(self.used, self.held, self.left, self.free_at(now) - now)

    def roll(self, now: float) -> None:
        """Forget what is older than the window. A time before the latest one that was seen changes nothing."""
        raise NotImplementedError

    def take(self, amount: int, held: int) -> Bucket:
        """Take it now; `held` of it may be given back. Where: to change it later."""
        bucket = self.bucket or self.begin()
        bucket.used += amount
        bucket.held += held
        self.used += amount
        self.held += held
        return bucket

    def begin(self) -> Bucket:
        """Begin the present bucket."""
        bucket = self.bucket = Bucket(self)
        return bucket

    def allows_at(self, amount: int) -> float:
        """When so much fits, if nothing is given back and nothing more is taken. The amount is within the limit."""
        raise NotImplementedError

    def free_at(self, now: float) -> float:
        """When all of the limit is there again, if nothing more is taken."""
        raise NotImplementedError


class Window(Gauge):
    """A sliding one."""

    __slots__ = ("_buckets", "_count", "_index", "bucket_s")

    def __init__(self, name: str, limit: int, period: str) -> None:
        super().__init__(name, limit)
        self.bucket_s, self._count = PERIODS[period]
        self._index = 0
        self._buckets: deque[Bucket] = deque()
        """Those in which something was taken, the oldest first: `_count` + 1 at most."""

    def roll(self, now: float) -> None:
        """See `Gauge`."""
        index = int(now // self.bucket_s)
        if index > self._index or self.until == -inf:
            self._index = index
            self.until = (index + 1) * self.bucket_s
            self.bucket = None
            buckets, oldest = self._buckets, index - self._count
            while buckets and buckets[0].index < oldest:
                bucket = buckets.popleft()
                bucket.gone = True
                self.used -= bucket.used
                self.held -= bucket.held

    def begin(self) -> Bucket:
        """See `Gauge`."""
        bucket = self.bucket = Bucket(self, self._index)
        self._buckets.append(bucket)
        return bucket

    def allows_at(self, amount: int) -> float:
        """See `Gauge`."""
        excess = self.used + amount - self.limit
        for bucket in self._buckets:
            excess -= bucket.used
            if excess <= 0:
                return self._end_of(bucket)
        return (self._index + 1 + self._count) * self.bucket_s

    def free_at(self, now: float) -> float:
        """See `Gauge`."""
        return self._end_of(self._buckets[-1]) if self.used else now

    def recall(self, amount: int, at: float) -> None:
        """So much was taken at a time before this window was opened; what is older than the window is nothing."""
        index = int(at // self.bucket_s)
        if amount <= 0 or index < self._index - self._count:
            return
        bucket = Bucket(self, index)
        bucket.used = amount
        self.used += amount
        later = [one for one in self._buckets if one.index > index]
        place = len(self._buckets) - len(later)
        self._buckets.insert(place, bucket)

    def _end_of(self, bucket: Bucket) -> float:
        return (bucket.index + 1 + self._count) * self.bucket_s


class Calendar(Gauge):
    """A day or a month of UTC: one bucket."""

    __slots__ = ("period",)

    is_money = True

    def __init__(self, name: str, limit: int, period: str) -> None:
        super().__init__(name, limit)
        self.period = period

    def roll(self, now: float) -> None:
        """See `Gauge`."""
        if now >= self.until:
            self.until = bounds(self.period, now)[1]
            if self.bucket is not None:
                self.bucket.gone = True
                self.bucket = None
            self.used = self.held = 0

    def recall(self, amount: int, at: float) -> None:
        """So much was taken by then, in the day or month that this time lies in; of an earlier one it is nothing."""
        ends = bounds(self.period, at)[1]
        if amount > 0 and ends >= self.until:
            if ends > self.until:
                self.roll(at)
            self.take(amount, 0)

    def allows_at(self, amount: int) -> float:
        """See `Gauge`."""
        return self.until

    def free_at(self, now: float) -> float:
        """See `Gauge`."""
        return self.until if self.used else now


class Pour(Gauge):
    """A bucket with a hole: it takes a burst, and what was taken runs out at a steady rate. For shaping: it smooths,
    and bounds no span by itself."""

    __slots__ = ("_at", "_level", "_seen", "per_second")

    def __init__(self, name: str, limit: int, per_second: float) -> None:
        super().__init__(name, limit)
        self.per_second = per_second
        self._at = -inf
        self._level = 0.0
        """What is in it, as of `_at`; `used` is that in whole ones, rounded up."""
        self._seen = 0

    def roll(self, now: float) -> None:
        """See `Gauge`. `until` stays in the past, so that it is asked every time."""
        if now > self._at:
            level = self._level + (self.used - self._seen)
            level = max(0.0, level - (now - self._at) * self.per_second) if level > 0.0 else 0.0
            self._level, self._at = level, now
            self.used = self._seen = ceil(level - _CRUMB)

    def begin(self) -> Bucket:
        """See `Gauge`. One for ever: what was taken is given back wherever it has got to."""
        bucket = self.bucket = Bucket(self)
        return bucket

    def allows_at(self, amount: int) -> float:
        """See `Gauge`."""
        level = self._level + (self.used - self._seen)
        return self._at + max(0.0, level + amount - self.limit) / self.per_second + _MOMENT_S

    def free_at(self, now: float) -> float:
        """See `Gauge`."""
        return self._at + max(0.0, self._level + (self.used - self._seen)) / self.per_second if self.used else now


def bounds(period: str, now: float) -> tuple[float, float]:
    """Begin and end, in seconds since 1970, of the day or month of UTC that `now` lies in."""
    if period == "day":
        begin = now // 86400.0 * 86400.0
        return begin, begin + 86400.0
    day = datetime.fromtimestamp(now, UTC)
    begins = datetime(day.year, day.month, 1, tzinfo=UTC)
    ends = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return begins.timestamp(), ends.timestamp()


def tightest(windows: Sequence[Gauge], now: float) -> Gauge | None:
    """The one with least left; None: there is none."""
    found: Gauge | None = None
    for window in windows:
        if now >= window.until:
            window.roll(now)
        if found is None or window.limit - window.used < found.limit - found.used:
            found = window
    return found
