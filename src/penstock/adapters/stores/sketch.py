"""A sketch of how durations are spread: counts by buckets whose bounds grow by a constant factor.

A quantile read from it is off by at most 2.5 % (half the factor), whatever was added, and two sketches add up to that
of all values (as DDSketch's do: Masson, Rim and Lee, VLDB 2019). Its packed form is made to be cheap to add to: numbers
of 32 bits, each a bucket and a count, and the same bucket may come again. So adding is appending; now and then it is
packed anew, and then is a few hundred bytes, however many values it has.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final

FACTOR: Final = 1.05
_COUNT_BITS: Final = 22
_MOST_COUNT: Final = (1 << _COUNT_BITS) - 1
_MOST_BUCKET: Final = (1 << 32 - _COUNT_BITS) - 1
"""Microseconds up to FACTOR ** 1023: longer than any call."""
LOOSE_BYTES: Final = 1024
"""A longer packed form is worth packing anew."""


_BOUNDS: Final = [int(FACTOR**bucket) for bucket in range(_MOST_BUCKET)]
"""The longest duration of each bucket but the last."""


def bucket_of(micros: int) -> int:
    """The bucket of a duration in microseconds."""
    return bisect_left(_BOUNDS, micros)


def value_of(bucket: int) -> float:
    """What the durations of a bucket are taken for, in microseconds: off by as much at either bound."""
    return 0.0 if bucket == 0 else 2 * FACTOR**bucket / (1 + FACTOR)


def pack(durations: Iterable[int]) -> bytes:
    """The packed form of these values, in microseconds."""
    return _little(array("I", [bisect_left(_BOUNDS, micros) << _COUNT_BITS | 1 for micros in durations])).tobytes()


def add(packed: bytes, more: bytes) -> bytes:
    """The packed form of the values of both."""
    both = packed + more
    return both if len(both) <= LOOSE_BYTES else _packed(counts_of(both))


def counts_of(packed: bytes) -> dict[int, int]:
    """How many values are in each bucket. Raises ValueError where this is no packed form."""
    counts: dict[int, int] = {}
    for number in _numbers(packed):
        bucket = number >> _COUNT_BITS
        counts[bucket] = counts.get(bucket, 0) + (number & _MOST_COUNT)
    return counts


def quantiles(packed: Sequence[bytes], shares: Iterable[float]) -> list[float | None]:
    """The durations, in microseconds, that these shares of all values are not longer than; None: there are none."""
    counts = sorted(counts_of(b"".join(packed)).items())
    total = sum(count for _, count in counts)
    return [_quantile(counts, max(1, ceil(share * total))) for share in shares]


def _quantile(counts: list[tuple[int, int]], rank: int) -> float | None:
    seen = 0
    for bucket, count in counts:
        seen += count
        if seen >= rank:
            return value_of(bucket)
    return None


def _packed(counts: dict[int, int]) -> bytes:
    numbers = array("I")
    for bucket, count in sorted(counts.items()):
        while count > 0:
            part = min(count, _MOST_COUNT)
            numbers.append(bucket << _COUNT_BITS | part)
            count -= part
    return _little(numbers).tobytes()


def _numbers(packed: bytes) -> "array[int]":
    numbers = array("I")
    numbers.frombytes(packed)
    return _little(numbers)


def _little(numbers: "array[int]") -> "array[int]":
    """Kept with the lowest byte first, on every machine."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
