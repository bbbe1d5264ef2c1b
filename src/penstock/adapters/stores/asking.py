"""What people ask the ledger: who spent how much, how long calls took, and what our own fleet costs.

Sums come from the sums per day, which are written with the rows: they are exact, and cost the same after ten million
rows. Everything is asked of whole days (UTC); single calls are `history`'s.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from msgspec import Struct
from sqlalchemy import Connection, Select, Table, func, select, union_all

from penstock.adapters.stores.rows import MICROS, NANOS
from penstock.adapters.stores.sketch import quantiles
from penstock.adapters.stores.sums import DAY, EPOCH, first_day, month_of
from penstock.adapters.stores.tables import SUMMED, days, months, overheads, spreads, upkeep

By = Literal["tenant", "key", "model", "pool", "day"]
BY: Final[tuple[By, ...]] = ("tenant", "key", "model", "pool", "day")
Order = Literal["cost", "tokens", "calls"]
ORDERS: Final[tuple[Order, ...]] = ("cost", "tokens", "calls")
Whose = Literal["tenant", "model"]
WHOSE: Final[tuple[Whose, ...]] = ("tenant", "model")
SHARES: Final = (0.5, 0.95, 0.99)
MOST_DAYS: Final = 1_000
"""One tenant's lines of so many days are looked up day by day, by the table's key; of more all lines are read."""


class Span(Struct, frozen=True):
    """Whole days (UTC), and whose calls."""

    first: int
    """Days since the epoch."""
    last: int
    tenant: str | None = None
    key: str | None = None
    model: str | None = None

    def micros(self) -> tuple[int, int]:
        """Its first microsecond, and the first behind it."""
        return self.first * DAY, (self.last + 1) * DAY

    @property
    def whole_months(self) -> bool:
        """It begins and ends with a month: sums per month will do."""
        return month_of(self.first - 1) < month_of(self.first) and month_of(self.last) < month_of(self.last + 1)


def day_of(seconds: float) -> int:
    """The day (since the epoch, UTC) of a time."""
    return int(seconds * MICROS // DAY)


def until_now(
    since: float, now: float, tenant: str | None = None, key: str | None = None, model: str | None = None
) -> Span:
    """From the day of `since` until now. It ends with this month, behind which there is nothing: where it begins with
    one, it has whole months."""
    last = day_of(now)
    while month_of(last) == month_of(last + 1):
        last += 1
    return Span(day_of(since), last, tenant, key, model)


# ===== who spent how much =====


class Spent(Struct, frozen=True, kw_only=True):
    """What one tenant, key, model, pool or day used."""

    names: dict[str, str]
    """E.g. tenant -> its name; day -> its date, 2026-01-31."""
    calls: int
    ok: int
    estimated: int
    """Calls whose tokens no engine told."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: float
    mean_latency_s: float | None


def spending(by: Sequence[By], span: Span, order: Order = "cost", most: int = 20) -> Select[Any]:
    """The query for the top spenders; where days are told apart, in their order."""
    parts = [(days, span.first, span.last, 1)] if "day" in by else _parts(span)
    lines = union_all(*[_lines(table, by, span, first, last, sign) for table, first, last, sign in parts]).subquery()
    names = [lines.c[name] for name in by]
    sums = {name: func.sum(lines.c[name]).label(name) for name in SUMMED}
    query = select(*names, *sums.values()).group_by(*names).having(func.sum(lines.c.calls) > 0)
    if "day" in by:
        return query.order_by(lines.c.day.desc(), sums["cost"].desc(), *names).limit(most)
    rank = func.sum(lines.c.prompt_tokens + lines.c.completion_tokens) if order == "tokens" else sums[order]
    return query.order_by(rank.desc(), *names).limit(most)


Part = tuple[Table, int, int, int]
"""Lines of a table from one day or month to another, both among them, and whether they are added or taken away."""


def _parts(span: Span) -> list[Part]:
    """The fewest lines that make up a time: whole months, and of a month that is cut the days that are in it, or all of
    it without the days that are not."""
    first, last = month_of(span.first), month_of(span.last)
    begins, ends = first_day(first), first_day(last + 1) - 1
    before, behind = span.first - begins, ends - span.last
    if first == last:
        if before + behind >= span.last - span.first:
            return [(days, span.first, span.last, 1)]
        cut = [(days, begins, span.first - 1, -1), (days, span.last + 1, ends, -1)]
    else:
        cut = [(days, begins, span.first - 1, -1), (days, span.last + 1, ends, -1)]
        if before > first_day(first + 1) - span.first:
            first, cut[0] = first + 1, (days, span.first, first_day(first + 1) - 1, 1)
        if behind > span.last + 1 - first_day(last):
            last, cut[1] = last - 1, (days, first_day(last), span.last, 1)
    return [part for part in [(months, first, last, 1), *cut] if part[1] <= part[2]]


def _lines(table: Table, by: Sequence[By], span: Span, first: int, last: int, sign: int) -> Select[Any]:
    """Their names and numbers, of whom the span is about."""
    unit = table.c["month" if table is months else "day"]
    within = unit.between(first, last)
    if span.tenant is not None and last - first < MOST_DAYS:
        within = unit.in_(range(first, last + 1))
    others = [(name, getattr(span, name)) for name in ("tenant", "key", "model")]
    wanted = [table.c[name] == value for name, value in others if value is not None]
    numbers = [(table.c[name] * sign).label(name) if sign < 0 else table.c[name] for name in SUMMED]
    return select(*[table.c[name] for name in by], *numbers).where(within, *wanted)


def _names(by: Sequence[By], row: Sequence[Any]) -> dict[str, str]:
    """A line's names; its day is a number in the tables."""
    return {
        name: (EPOCH + timedelta(days=value)).isoformat() if name == "day" else str(value)
        for name, value in zip(by, row)
    }


def spent(
    connection: Connection, by: Sequence[By], span: Span, order: Order = "cost", most: int = 20
) -> list[Spent]:  # fmt: skip
    """Who spent most."""
    found = []
    width = len(by)
    for row in connection.execute(spending(by, span, order, most)):
        sums = [int(number) for number in row[width:]]
        calls, ok, estimated, prompt, completion, cached, cost, latency = sums
        found.append(Spent(
            names=_names(by, row), calls=calls, ok=ok, estimated=estimated, prompt_tokens=prompt,
            completion_tokens=completion, cached_tokens=cached, cost=cost / NANOS,
            mean_latency_s=latency / calls / MICROS if calls else None,
        ))  # fmt: skip
    return found


# ===== how long calls took =====


class Quick(Struct, frozen=True, kw_only=True):
    """How long a tenant's or model's answered calls took; None: there were none. Off by 2.5 % at most."""

    name: str
    calls: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    ttft_p50_s: float | None
    """Of streams, to the first token."""
    ttft_p95_s: float | None
    ttft_p99_s: float | None


def quickness(connection: Connection, whose: Whose, span: Span, most: int = 20) -> list[Quick]:
    """Quantiles of those with the most calls."""
    found = []
    for who in spent(connection, (whose,), span, "calls", most):
        name = str(who.names[whose])
        query = select(spreads.c.latency, spreads.c.ttft).where(
            spreads.c.day.between(span.first, span.last), spreads.c[whose] == name
        )
        for other in WHOSE:
            value = getattr(span, other)
            if value is not None:
                query = query.where(spreads.c[other] == value)
        packed = connection.execute(query).all()
        times = [_seconds([line[at] for line in packed]) for at in (0, 1)]
        found.append(Quick(
            name=name, calls=who.calls, p50_s=times[0][0], p95_s=times[0][1], p99_s=times[0][2],
            ttft_p50_s=times[1][0], ttft_p95_s=times[1][1], ttft_p99_s=times[1][2],
        ))  # fmt: skip
    return found


def _seconds(packed: list[bytes]) -> list[float | None]:
    return [None if found is None else found / MICROS for found in quantiles(packed, SHARES)]


# ===== what our own fleet costs =====


class Fleet(Struct, frozen=True, kw_only=True):
    """What the replicas of a pool cost, and what came of it."""

    pool: str
    replica_hours: float
    cost: float
    """Of its replicas, by their `hourly_cost`, idle or busy."""
    billed: float
    """What tenants were charged for its calls, by the price list."""
    tokens: int
    """Of prompts and answers that were charged."""
    per_replica_hour: float | None
    per_million_tokens: float | None
    """Its cost, by all tokens."""
    lost_attempts: int
    """Attempts that failed, or lost against another."""
    lost_hours: float
    """How long engines were busy with them."""


def fleet(connection: Connection, span: Span) -> list[Fleet]:
    """Every pool, by name."""
    begins, ends = span.micros()
    took, cost = func.sum(upkeep.c.took), func.sum(upkeep.c.cost)
    within = upkeep.c.at.between(begins, ends - 1)
    kept = connection.execute(select(upkeep.c.pool, took, cost).where(within).group_by(upkeep.c.pool))
    paid = {pool: (int(took), int(cost)) for pool, took, cost in kept}
    lost = connection.execute(
        select(overheads.c.pool, func.count(), func.sum(overheads.c.took))
        .where(overheads.c.at.between(begins, ends - 1))
        .group_by(overheads.c.pool)
    )
    wasted = {pool: (int(count), int(took)) for pool, count, took in lost}
    used = {str(one.names["pool"]): one for one in spent(connection, ("pool",), span, "cost", 10_000)}
    pools = sorted({*paid, *wasted, *used} - {""})
    return [_fleet(pool, paid.get(pool, (0, 0)), wasted.get(pool, (0, 0)), used.get(pool)) for pool in pools]


def _fleet(pool: str, paid: tuple[int, int], wasted: tuple[int, int], used: Spent | None) -> Fleet:
    hours, cost = paid[0] / MICROS / 3600, paid[1] / NANOS
    tokens = 0 if used is None else used.prompt_tokens + used.completion_tokens
    return Fleet(
        pool=pool, replica_hours=hours, cost=cost, billed=0.0 if used is None else used.cost, tokens=tokens,
        per_replica_hour=cost / hours if hours else None,
        per_million_tokens=cost / tokens * 1e6 if tokens and hours else None,
        lost_attempts=wasted[0], lost_hours=wasted[1] / MICROS / 3600,
    )  # fmt: skip
