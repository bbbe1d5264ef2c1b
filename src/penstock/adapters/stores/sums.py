"""Sums: what the calls of a batch add to the tables that are read instead of millions of rows.

Everything is added up in one pass, by quarter of an hour and by whom; days and months are sums of those. So a batch
costs the tables of sums a line for each of those who called in it, however many calls it has.
"""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from functools import lru_cache
from operator import add, itemgetter
from typing import Final, NamedTuple

from penstock.adapters.stores.rows import COLUMNS, MICROS, Values

QUARTER: Final = 900 * MICROS
DAY: Final = 86_400 * MICROS
EPOCH: Final = date(1970, 1, 1)
UNKNOWN: Final = "(unknown)"
"""Stands in the sums for models that nobody serves: clients cannot fill them with inventions."""
_picked: Final = itemgetter(*(
    COLUMNS.index(name) for name in (
        "at", "tenant", "key", "model", "pool", "outcome", "status", "stream", "estimated",
        "prompt_tokens", "completion_tokens", "cached_tokens", "cost", "latency", "ttft",
    )
))  # fmt: skip
"""What of a row is added up."""

Who = tuple[str, str, str, str]
"""Tenant, key, model, pool."""
Whose = tuple[int, Who]
"""Quarter, day or month, and who."""
Spread = tuple[str, int, str]
"""Tenant, day, model."""
Times = tuple[list[int], list[int]]
"""Microseconds of answered calls, and to the first token of streams among them."""


class Sums(NamedTuple):
    """What a batch adds: rows for the tables of the same names, and durations for the sketches."""

    days: list[Values]
    months: list[Values]
    quarters: list[Values]
    spreads: dict[Spread, Times]
    calls: int
    """How many they were."""


def summed(rows: Iterable[Values]) -> Sums:
    """All of it. A microsecond or two a row: it runs beside the loop that serves, which waits for it."""
    quarters: dict[Whose, list[int]] = {}
    times: dict[Whose, Times] = {}
    found, timed = quarters.get, times.get
    for row in map(_picked, rows):
        at, tenant, key, model, pool, outcome, status, stream, estimated, *numbers = row
        prompt, answer, cached, cost, latency, ttft = numbers
        whose = (at // QUARTER, (tenant, key, model if pool else UNKNOWN, pool))
        ok = outcome == "ok"
        right = 1 if ok and status < 400 else 0
        asked = 1 if ok or estimated or ttft is not None else 0
        sums = found(whose)
        if sums is None:
            quarters[whose] = [1, right, estimated, prompt, answer, cached, cost, latency, asked]
        else:
            sums[0] += 1
            sums[1] += right
            sums[2] += estimated
            sums[3] += prompt
            sums[4] += answer
            sums[5] += cached
            sums[6] += cost
            sums[7] += latency
            sums[8] += asked
        if right:
            lists = timed(whose)
            if lists is None:
                lists = times[whose] = ([], [])
            lists[0].append(latency)
            if stream and ttft is not None:
                lists[1].append(ttft)
    days = _folded(quarters, lambda quarter: quarter * QUARTER // DAY)
    count = sum(sums[0] for sums in quarters.values())
    return Sums(_values(days), _values(_folded(days, month_of)), _recent(quarters), _spread(times), count)


def _folded(sums: dict[Whose, list[int]], onto: Callable[[int], int]) -> dict[Whose, list[int]]:
    """The same by longer spans of time."""
    longer = {span: onto(span) for span, _ in sums}
    folded: dict[Whose, list[int]] = {}
    for (span, who), numbers in sums.items():
        whose = (longer[span], who)
        found = folded.get(whose)
        folded[whose] = numbers if found is None else list(map(add, found, numbers))
    return folded


def _values(sums: dict[Whose, list[int]]) -> list[Values]:
    """By key: who is beside another in the table is beside it here."""
    return [(span, *who, *numbers[:8]) for (span, who), numbers in sorted(sums.items())]


def _recent(quarters: dict[Whose, list[int]]) -> list[Values]:
    """Requests and tokens as limits count them, whichever pool served them."""
    found: dict[tuple[int, str, str, str], tuple[int, int]] = {}
    for (quarter, who), numbers in quarters.items():
        whose = (quarter, *who[:3])
        requests, tokens = found.get(whose, (0, 0))
        found[whose] = (requests + numbers[8], tokens + numbers[3] + numbers[4])
    return [(*whose, *numbers) for whose, numbers in sorted(found.items()) if numbers[0]]


def _spread(times: dict[Whose, Times]) -> dict[Spread, Times]:
    """Durations by tenant, day and model."""
    found: dict[Spread, Times] = {}
    for (quarter, (tenant, _, model, _)), lists in times.items():
        whose = (tenant, quarter * QUARTER // DAY, model)
        there = found.get(whose)
        if there is None:
            found[whose] = lists
        else:
            there[0].extend(lists[0])
            there[1].extend(lists[1])
    return found


@lru_cache(maxsize=1024)
def month_of(day: int) -> int:
    """The calendar month, since the year 0, of a day since the epoch."""
    on = EPOCH + timedelta(days=day)
    return on.year * 12 + on.month - 1


def first_day(month: int) -> int:
    """The first day, since the epoch, of a month since the year 0."""
    return (date(month // 12, month % 12 + 1, 1) - EPOCH).days
