"""What `penstock ledger` shows, number by number."""

import pytest
from rich.console import Console
from rich.table import Table

from penstock.adapters.stores.asking import Fleet, Quick, Spent
from penstock.adapters.stores.history import Told
from penstock.cli.ledgers import (
    call_table,
    calls_table,
    fleet_table,
    moment,
    money,
    quick_table,
    seconds,
    spent_table,
)


def cells(table: Table) -> list[list[str]]:
    """Its lines, as they are printed."""
    console = Console(width=300, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()[3:] if line.strip()]


@pytest.mark.parametrize(
    "amount, text", [(0.0, "0.0000"), (1234.5, "1,234.5000"), (0.000123456, "0.0001235"), (None, "-"), (1e-9, "1e-09")]
)
def test_money(amount: float | None, text: str) -> None:
    """Small amounts keep the digits that count."""
    assert money(amount) == text


@pytest.mark.parametrize("value_s, text", [(None, "-"), (0.012345, "12.3 ms"), (2.0, "2 s"), (0.0, "0 µs")])
def test_seconds(value_s: float | None, text: str) -> None:
    """Three digits."""
    assert seconds(value_s) == text


def test_days_and_moments() -> None:
    """As they are written, UTC."""
    assert moment(20_000 * 86_400.0) == "2024-10-04 00:00:00"


def test_sums() -> None:
    """Failed ones are those that were not answered."""
    one = Spent(
        names={"day": "2024-10-04", "tenant": "acme"}, calls=1200, ok=1000, estimated=3, prompt_tokens=5000,
        completion_tokens=70, cached_tokens=9, cost=2.5, mean_latency_s=None,
    )  # fmt: skip
    assert cells(spent_table(("day", "tenant"), [one])) == [
        ["2024-10-04", "acme", "1,200", "200", "3", "5,000", "9", "70", "2.5000", "-"]
    ]  # fmt: skip


def test_times_and_costs() -> None:
    """What is not known is a dash."""
    quick = Quick(name="a", calls=2, p50_s=1.0, p95_s=2.0, p99_s=3.0, ttft_p50_s=None, ttft_p95_s=None, ttft_p99_s=None)
    assert cells(quick_table("tenant", [quick])) == [["a", "2", "1", "s", "2", "s", "3", "s", "-", "-", "-"]]
    fleet = Fleet(
        pool="p", replica_hours=10.0, cost=20.0, billed=30.0, tokens=5_000_000, per_replica_hour=2.0,
        per_million_tokens=4.0, lost_attempts=7, lost_hours=0.25,
    )  # fmt: skip
    assert cells(fleet_table([fleet])) == [
        ["p", "10.00", "20.0000", "30.0000", "5,000,000", "2.0000", "4.0000", "7", "0.250"]
    ]  # fmt: skip


def test_calls() -> None:
    """Estimated tokens are marked; a call is told with what was lost beside it."""
    row = {
        "at": 20_000 * 86_400.0, "id": "i", "client_id": "", "tenant": "t", "key": "k", "model": "m", "replica": "r",
        "outcome": "client_gone", "status": 499, "estimated": True, "prompt_tokens": 8, "completion_tokens": 3,
        "cost": 0.0, "latency_s": 1.0, "ttft_s": None, "queue_s": 0.0, "attempts": 2,
    }  # fmt: skip
    assert cells(calls_table([row])) == [
        ["2024-10-04", "00:00:00", "i", "t", "k", "m", "r", "client_gone", "499",
         "~8", "~3", "0.0000", "1", "s", "-", "0", "µs", "2"]
    ]  # fmt: skip
    lost = {"attempt": 1, "what": "connect_refused", "replica": "r2", "took_s": 0.5}
    lines = [" ".join(line) for line in cells(call_table(Told(call=row, overhead=[lost])))]
    assert "estimated True" in lines
    assert lines[-1] == "attempt 1 connect_refused at r2 after 500 ms; not billed"
