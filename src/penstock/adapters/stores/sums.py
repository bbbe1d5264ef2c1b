"""Sums: what the calls of a batch add to the tables that are read instead of millions of rows.

Everything is added up in one pass, by quarter of an hour and by whom; days and months are sums of those. So a batch
costs the tables of sums a line for each of those who called in it, however many calls it has.
"""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from penstock.adapters.stores.rows import COLUMNS, MICROS, Values
from penstock.adapters.stores.sketch import bucket_of

QUARTER: Final = 900 * MICROS
DAY: Final = 86_400 * MICROS
EPOCH: Final = date(1970, 1, 1)
UNKNOWN: Final = "(unknown)"
"""Stands in the sums for models that nobody serves: clients cannot fill them with inventions."""
_WIDTH: Final = 9
"""Numbers of a sum: the eight of `tables.SUMMED`, and how many calls count as requests before limits."""
_AT, _TENANT, _KEY, _MODEL, _POOL = (COLUMNS.index(name) for name in ("at", "tenant", "key", "model", "pool"))
_OUTCOME, _STATUS, _STREAM, _ESTIMATED = (COLUMNS.index(name) for name in ("outcome", "status", "stream", "estimated"))
_PROMPT, _COMPLETION, _CACHED = (COLUMNS.index(f"{name}_tokens") for name in ("prompt", "completion", "cached"))
_COST, _LATENCY, _TTFT = (COLUMNS.index(name) for name in ("cost", "latency", "ttft"))

Whose = tuple[int, str, str, str, str]
"""Quarter, day or month, then tenant, key, model, pool."""
Spread = tuple[str, int, str]
"""Tenant, day, model."""


class Sums(NamedTuple):
    """What a batch adds: rows for the tables of the same names, and buckets for the sketches."""

    days: list[Values]
    months: list[Values]
    quarters: list[Values]
    spreads: dict[Spread, tuple[list[int], list[int]]]
    """Buckets of latencies, and of times to the first token."""


def summed(rows: Iterable[Values]) -> Sums:
    """All of it."""
    quarters: dict[Whose, list[int]] = {}
    spreads: dict[Spread, tuple[list[int], list[int]]] = {}
    for row in rows:
        at, tenant, pool = row[_AT], row[_TENANT], row[_POOL]
        model = row[_MODEL] if pool else UNKNOWN
        whose = (at // QUARTER, tenant, row[_KEY], model, pool)
        sums = quarters.get(whose)
        if sums is None:
            sums = quarters[whose] = [0] * _WIDTH
        latency, ttft = row[_LATENCY], row[_TTFT]
        sums[0] += 1
        sums[3] += row[_PROMPT]
        sums[4] += row[_COMPLETION]
        sums[5] += row[_CACHED]
        sums[6] += row[_COST]
        sums[7] += latency
        ok = row[_OUTCOME] == "ok"
        if row[_ESTIMATED]:
            sums[2] += 1
        if ok or ttft is not None or row[_ESTIMATED]:
            sums[8] += 1
        if ok and row[_STATUS] < 400:
            sums[1] += 1
            times = spreads.setdefault((tenant, at // DAY, model), ([], []))
            times[0].append(bucket_of(latency))
            if ttft is not None and row[_STREAM]:
                times[1].append(bucket_of(ttft))
    days = _folded(quarters, lambda quarter: quarter * QUARTER // DAY)
    return Sums(
        _values(days), _values(_folded(days, month_of)), _recent(quarters), spreads,
    )  # fmt: skip


def _folded(sums: dict[Whose, list[int]], onto: Callable[[int], int]) -> dict[Whose, list[int]]:
    """The same by longer spans of time."""
    folded: dict[Whose, list[int]] = {}
    for whose, numbers in sums.items():
        longer = (onto(whose[0]), *whose[1:])
        found = folded.get(longer)
        folded[longer] = numbers if found is None else [old + new for old, new in zip(found, numbers)]
    return folded


def _values(sums: dict[Whose, list[int]]) -> list[Values]:
    """By key: who is beside another in the table is beside it here."""
    return [(*whose, *numbers[:8]) for whose, numbers in sorted(sums.items())]


def _recent(quarters: dict[Whose, list[int]]) -> list[Values]:
    """Requests and tokens, whichever pool served them."""
    found: dict[tuple[int, str, str, str], list[int]] = {}
    for whose, numbers in quarters.items():
        sums = found.setdefault(whose[:4], [0, 0])
        sums[0] += numbers[8]
        sums[1] += numbers[3] + numbers[4]
    return [(*whose, *numbers) for whose, numbers in sorted(found.items()) if numbers[0]]


@lru_cache(maxsize=1024)
def month_of(day: int) -> int:
    """The calendar month, since the year 0, of a day since the epoch."""
    on = EPOCH + timedelta(days=day)
    return on.year * 12 + on.month - 1


def first_day(month: int) -> int:
    """The first day, since the epoch, of a month since the year 0."""
    return (date(month // 12, month % 12 + 1, 1) - EPOCH).days
