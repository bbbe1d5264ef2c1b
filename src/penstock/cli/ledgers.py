"""What `penstock ledger` shows: tables of sums, times, costs and calls."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from penstock.base.units import show_seconds

if TYPE_CHECKING:
    from penstock.adapters.stores.asking import Fleet, Quick, Spent
    from penstock.adapters.stores.history import Row, Told


def table_of(*names: str, numbers: Sequence[str] = ()) -> Table:
    """A table with columns of texts, and then of numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def money(amount: float | None) -> str:
    """Four digits behind the point, or, of less than one, four that count."""
    if amount is None:
        return "-"
    return f"{amount:,.4f}" if abs(amount) >= 1 or amount == 0 else f"{amount:.4g}"


def seconds(value_s: float | None) -> str:
    """A time that was taken."""
    return "-" if value_s is None else show_seconds(value_s)


def moment(at: float) -> str:
    """A time, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def spent_table(names: Sequence[str], found: "list[Spent]") -> Table:
    """Who spent how much."""
    numbers = ("calls", "failed", "estimated", "prompt tokens", "of them cached", "answer tokens", "cost", "mean time")
    table = table_of(*names, numbers=numbers)
    for one in found:
        table.add_row(
            *one.names.values(), f"{one.calls:,}", f"{one.calls - one.ok:,}", f"{one.estimated:,}",
            f"{one.prompt_tokens:,}", f"{one.cached_tokens:,}", f"{one.completion_tokens:,}",
            money(one.cost), seconds(one.mean_latency_s),
        )  # fmt: skip
    return table


def quick_table(whose: str, found: "list[Quick]") -> Table:
    """How long calls took."""
    numbers = ("calls", "p50", "p95", "p99", "first token p50", "p95", "p99")
    table = table_of(whose, numbers=numbers)
    for one in found:
        times = (one.p50_s, one.p95_s, one.p99_s, one.ttft_p50_s, one.ttft_p95_s, one.ttft_p99_s)
        table.add_row(one.name, f"{one.calls:,}", *map(seconds, times))
    return table


def fleet_table(found: "list[Fleet]") -> Table:
    """What pools cost."""
    numbers = (
        "replica hours", "cost", "charged", "tokens", "per replica hour", "per million tokens", "lost attempts",
        "lost hours",
    )  # fmt: skip
    table = table_of("pool", numbers=numbers)
    for one in found:
        table.add_row(
            one.pool, f"{one.replica_hours:,.2f}", money(one.cost), money(one.billed), f"{one.tokens:,}",
            money(one.per_replica_hour), money(one.per_million_tokens), f"{one.lost_attempts:,}",
            f"{one.lost_hours:,.3f}",
        )  # fmt: skip
    return table


def calls_table(found: "Sequence[Row]") -> Table:
    """Calls, one a line."""
    numbers = ("status", "prompt", "answer", "cost", "time", "first token", "queue", "attempts")
    table = table_of("when (UTC)", "id", "tenant", "key", "model", "replica", "outcome", numbers=numbers)
    for row in found:
        mark = "~" if row["estimated"] else ""
        table.add_row(
            moment(row["at"]), row["client_id"] or row["id"], row["tenant"], row["key"], row["model"], row["replica"],
            row["outcome"], str(row["status"]),
            f"{mark}{row['prompt_tokens']:,}", f"{mark}{row['completion_tokens']:,}",
            money(row["cost"]), seconds(row["latency_s"]), seconds(row["ttft_s"]), seconds(row["queue_s"]),
            str(row["attempts"]),
        )  # fmt: skip
    return table


def call_table(found: "Told") -> Table:
    """All that is known of a call."""
    table = table_of("what", "is")
    for name, value in found.call.items():
        told = moment(value) if name == "at" else seconds(value) if name.endswith("_s") else str(value)
        table.add_row(name, told)
    for row in found.overhead:
        told = f"{row['what']} at {row['replica']} after {seconds(row['took_s'])}; not billed"
        table.add_row(f"attempt {row['attempt']}", told)
    return table
