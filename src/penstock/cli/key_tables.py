"""Keys and their limits as tables, for people: what `penstock keys list` and `show` print."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from penstock.config.key_rows import Limit, Row


def rows_table(rows: list[Row]) -> Table:
    """Keys, one a line."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("key", "tenant", "tier", "priority up to", "models", "expires", "state", "used", "hash begins"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            row.name, row.tenant, row.tier, row.priority_ceiling, models_text(row.models), _until(row.expires),
            state_text(row), _nearest(row.limits), ", ".join(one.hash_begins for one in reversed(row.secrets)),
        )  # fmt: skip
    return table


def limits_table(limits: list[Limit]) -> Table:
    """Limits, one a line."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("limit of", "for", "what", "limit", "used", "left"):
        table.add_column(name, justify="right" if name in ("limit", "used", "left") else "left")
    for one in limits:
        table.add_row(
            "this key" if one.of == "key" else "its tenant" if one.of == "tenant" else "everybody",
            one.model or "all models", one.what, _number(one.limit), _number(one.used), _number(one.left),
        )  # fmt: skip
    return table


def models_text(models: list[str] | None) -> str:
    """What a key may ask for."""
    return "all" if models is None else ", ".join(models) or "none"


def state_text(row: Row) -> str:
    """The state, and until when or since when."""
    if row.state == "rotating":
        ends = max(one.until for one in row.secrets if one.until is not None)
        return f"rotating: an older one until {_short(ends)}"
    return f"revoked {_short(row.revoked)}" if row.revoked is not None else row.state


def _nearest(limits: list[Limit]) -> str:
    """The limit of which the least share is left."""
    told = [one for one in limits if one.left is not None and one.limit]
    if not told:
        return ""
    one = min(told, key=lambda one: (one.left or 0) / one.limit)
    return f"{_number(one.used)} of {_number(one.limit)} {one.what}"


def _until(at: str | None) -> str:
    return "never" if at is None else _short(at)


def _short(at: str) -> str:
    return f"{at[:10]} {at[11:16]} UTC"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"
