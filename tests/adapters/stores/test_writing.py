"""Writing: each call once, with its sums, however often it is tried."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.adapters.stores.database import Away
from penstock.adapters.stores.sketch import counts_of
from penstock.adapters.stores.sums import UNKNOWN
from penstock.base.entries import OVERHEAD, UPKEEP, Kept, Overhead, Upkeep
from penstock.drive.segments import Record
from tests.adapters.stores.ledgers import MIDNIGHT, call, database, rows, write


def sums(base: Any) -> list[tuple[Any, ...]]:
    """The sums per day."""
    return rows(
        base, "SELECT day, tenant, model, calls, ok, estimated, prompt_tokens, completion_tokens, cost FROM days"
    )


def test_rows_and_sums_are_written_together(tmp_path: Path) -> None:
    """One row a call; sums by day, tenant, key, model and pool; quantiles of what was answered."""
    with database(tmp_path) as base:
        batch = [
            call("a", cost=0.5), call("b", cost=0.25), call("c", tenant="other", at=MIDNIGHT - 1.0),
            call("d", outcome="queue_full", status=429, usage=None, ttft_s=None),
        ]  # fmt: skip
        assert write(base, *batch) == 4
        assert rows(base, "SELECT id, tenant FROM calls ORDER BY n") == [
            ("a", "demo"), ("b", "demo"), ("c", "other"), ("d", "demo"),
        ]  # fmt: skip
        assert sums(base) == [
            (19_999, "other", "tiny", 1, 1, 0, 10, 21, 0), (20_000, "demo", "tiny", 3, 2, 0, 20, 42, 750_000_000),
        ]  # fmt: skip
        months = rows(base, "SELECT month, tenant, calls, cost FROM months ORDER BY tenant")
        assert months == [(2024 * 12 + 9, "demo", 3, 750_000_000), (2024 * 12 + 9, "other", 1, 0)]
        spread = rows(base, "SELECT latency, ttft FROM spreads WHERE tenant = 'demo'")
        assert [[sum(counts_of(one).values()) for one in line] for line in spread] == [[2, 2]]


def test_what_is_there_already_is_not_counted_twice(tmp_path: Path) -> None:
    """The same batch again, or one that overlaps: every id once, and sums that do not move."""
    with database(tmp_path) as base:
        write(base, call("a"), call("b"))
        before = sums(base)
        assert write(base, call("a"), call("b")) == 0
        assert sums(base) == before
        assert write(base, call("b"), call("c"), call("c")) == 1
        assert sums(base)[0][3] == 3
        assert rows(base, "SELECT count(*) FROM calls") == [(3,)]


def test_many_ids_at_once(tmp_path: Path) -> None:
    """More than fit into one question for those that are there."""
    with database(tmp_path) as base:
        batch = [call(f"c{number}") for number in range(1203)]
        assert write(base, *batch[:600]) == 600
        assert write(base, *batch) == 603
        assert rows(base, "SELECT count(*), sum(calls) FROM calls, (SELECT calls FROM days)") == [(1203, 1203 * 1203)]


def test_invented_models_do_not_fill_the_sums(tmp_path: Path) -> None:
    """Calls for models that nobody serves share one line."""
    with database(tmp_path) as base:
        write(
            base, *(
                call(str(n), model=f"m{n}", pool="", replica="", outcome="model_not_found", status=404, usage=None)
                for n in range(5)
            )
        )  # fmt: skip
        assert [(line[2], line[3]) for line in sums(base)] == [(UNKNOWN, 5)]


def test_overheads_and_upkeep_are_written_once(tmp_path: Path) -> None:
    """Attempts that nobody pays for, and what replicas cost, each known by its own key."""
    lost = Overhead("a", 1, MIDNIGHT + 1.0, 0.5, "demo", "demo", "tiny", "p", "r1", "eu", "connect_refused")
    span = Upkeep(
        "g-1", MIDNIGHT + 0.0, 1800.0, (Kept("r1", "p", "eu", "spot", 2.0), Kept("r2", "p", "", "on_demand", 0.0))
    )
    batch = [Record(OVERHEAD, msgspec.json.encode(lost)), Record(UPKEEP, msgspec.json.encode(span))]
    with database(tmp_path) as base:
        write(base, *batch)
        write(base, *batch)
        assert rows(base, "SELECT call, attempt, took, what FROM overheads") == [("a", 1, 500_000, "connect_refused")]
        assert rows(base, "SELECT replica, took, cost FROM upkeep ORDER BY replica") == [
            ("r1", 1_800_000_000, 1_000_000_000), ("r2", 1_800_000_000, 0),
        ]  # fmt: skip


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Where the sums cannot be written, the rows are not there either, and the batch can be tried again."""
    with database(tmp_path) as base:
        with base.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE spreads RENAME TO gone")
        with pytest.raises(Away, match="spreads"):
            write(base, call("a"))
        assert rows(base, "SELECT count(*) FROM calls") == [(0,)]
        with base.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO spreads")
        assert write(base, call("a")) == 1
