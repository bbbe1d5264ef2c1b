"""What limits must know of the time before this process: requests and tokens of the last day, money of this day and
month, out of the sums. A bounded number of lines, those who used most first.
"""

from typing import Final

from sqlalchemy import Connection, delete, func, select

from penstock.adapters.stores.rows import MICROS
from penstock.adapters.stores.sums import DAY, QUARTER, month_of
from penstock.adapters.stores.tables import days, months, quarters
from penstock.base.entries import Used

MOST_LINES: Final = 50_000
"""Of the last day's quarters; as many of money."""
QUARTERS: Final = DAY // QUARTER + 1
QUARTER_S: Final = QUARTER // MICROS
KEPT: Final = 2 * QUARTERS
"""So many quarters are kept."""


def used_before(connection: Connection, now: float) -> list[Used]:
    """What was used, as of `now` (seconds since the epoch)."""
    return [*_lately(connection, now), *_spent(connection, now)]


def _lately(connection: Connection, now: float) -> list[Used]:
    first = int(now) // QUARTER_S - QUARTERS
    whose = quarters.c.tenant, quarters.c.key, quarters.c.model
    query = (
        select(quarters.c.quarter, *whose, quarters.c.requests, quarters.c.tokens)
        .where(quarters.c.quarter >= first)
        .order_by(quarters.c.tokens.desc(), quarters.c.requests.desc())
        .limit(MOST_LINES)
    )
    found = connection.execute(query)
    return [
        # where in its quarter it was used nobody knows: at its end at the latest
        Used(tenant, key, model, min(now, (quarter + 1) * QUARTER_S - 1.0), int(requests), int(tokens))
        for quarter, tenant, key, model, requests, tokens in found
    ]


def _spent(connection: Connection, now: float) -> list[Used]:
    today = int(now * MICROS) // DAY
    money: dict[tuple[str, str, str], list[int]] = {}
    for at, (table, unit, of) in enumerate(((days, days.c.day, today), (months, months.c.month, month_of(today)))):
        whose = table.c.tenant, table.c.key, table.c.model
        cost = func.sum(table.c.cost)
        query = select(*whose, cost).where(unit == of).group_by(*whose).having(cost > 0)
        for *who, amount in connection.execute(query.order_by(cost.desc()).limit(MOST_LINES)):
            money.setdefault(tuple(who), [0, 0])[at] = int(amount)
    return [Used(*who, now, 0, 0, day, month) for who, (day, month) in money.items()]


def forget_quarters(connection: Connection, now: float) -> None:
    """Those that no window reaches back to."""
    connection.execute(delete(quarters).where(quarters.c.quarter < int(now) // QUARTER_S - KEPT))
