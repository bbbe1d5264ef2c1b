"""A distribution in memory that does not grow with the number of values: counts in buckets that are 1 % wide.

Masson, Rim, Lee: "DDSketch", VLDB 2019, has the same error bound.
"""

from collections import defaultdict
from math import exp, log

_WIDTH = log(1.01)
_LEAST = 1e-6
_LOWEST = int(log(_LEAST) / _WIDTH)
"""The bucket of whatever is no more than that."""


class Sketch:
    """Values above zero, by buckets of equal ratio."""

    __slots__ = ("_buckets", "count", "largest", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = defaultdict(int)
        self.count = 0
        self.total = 0.0
        self.largest = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._buckets[int(log(value) / _WIDTH) if value > _LEAST else _LOWEST] += 1
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value

    def quantile(self, share: float) -> float:
        """The value below which this share of them lies, within 1 %; 0 where there are none."""
        rank, seen = share * self.count, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(exp((bucket + 0.5) * _WIDTH), self.largest)
        return 0.0

    @property
    def mean(self) -> float:
        """0 where there are none."""
        return self.total / self.count if self.count else 0.0

    def merge(self, other: "Sketch") -> None:
        """Take in the values of another one."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] += count
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)
