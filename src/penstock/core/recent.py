"""A quantile of recent values, in bounded space: counts in buckets whose bounds grow by a fixed factor.

Exact to the width of a bucket, whatever the shape of the values; telemetry's histograms have bounds chosen for people,
far too wide for a time-out. What is recent is counted in values, not in time: when there are enough, all counts are
halved, so that old values weigh less and less (an exponential decay, paid for once in several hundred values).
"""

from math import log2
from typing import Final

PER_OCTAVE: Final = 8
"""Buckets for a factor of two: a quantile is at most 9 % too high (2 ** (1 / 8)), and never too low."""
LEAST: Final = 2.0**-10
"""Smaller values count as this, about a millisecond where they are seconds."""
BUCKETS: Final = 21 * PER_OCTAVE + 1
"""Up to 2,048; larger values count as this."""
ENOUGH: Final = 1000.0
"""With so many values all counts are halved: about the last 500 to 1,000 decide."""
FEW: Final = 20
"""Fewer values say nothing about their tail."""
_LOOK: Final = 32
"""The quantile is worked out again after so many values."""


def bucket_of(value: float) -> int:
    """The bucket that a value belongs to."""
    return min(int(log2(value / LEAST) * PER_OCTAVE) + 1, BUCKETS - 1) if value > LEAST else 0


def bound_of(bucket: int) -> float:
    """The largest value of a bucket."""
    return float(LEAST * 2.0 ** (bucket / PER_OCTAVE))


class Recent:
    """One quantile of the values that were added lately."""

    __slots__ = ("_counts", "_share", "_since", "_total", "_value")

    def __init__(self, share: float) -> None:
        self._share = share
        """Of values that lie at or below the quantile."""
        self._counts = [0.0] * BUCKETS
        self._total = 0.0
        self._since = 0
        """Values since the quantile was worked out."""
        self._value: float | None = None

    def add(self, value: float) -> None:
        """Take a value."""
        self._counts[bucket_of(value)] += 1.0
        self._total += 1.0
        self._since += 1
        if self._total >= ENOUGH:
            self._counts = [count / 2 for count in self._counts]
            self._total /= 2

    def value(self) -> float | None:
        """The quantile, rounded up to its bucket's bound; None: too few values."""
        if self._since >= _LOOK or self._value is None:
            self._since = 0
            self._value = self._look() if self._total >= FEW else None
        return self._value

    def _look(self) -> float:
        above = (1.0 - self._share) * self._total
        seen = 0.0
        for at in range(BUCKETS - 1, 0, -1):
            seen += self._counts[at]
            if seen > above:
                return bound_of(at)
        return LEAST
