"""Calls of the ledger as files: CSV that is safe to open, and traces that are read back."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyarrow import parquet

from penstock.adapters.stores import history
from penstock.adapters.stores.tables import calls
from penstock.base.nouns import Usage
from penstock.cli import exported
from penstock.cli.exported import COLUMNS, UNITS, csv_lines, trace_lines, write_parquet
from penstock.workload.formats import read_trace
from tests.adapters.stores.ledgers import MIDNIGHT, call, database, write

BEGIN, END = MIDNIGHT * 10**6, (MIDNIGHT + 86_400) * 10**6


def test_csv_has_every_column_and_no_formula(tmp_path: Path) -> None:
    """A name that a spreadsheet would run begins with an apostrophe; a comma and a line end stay in their cell."""
    with database(tmp_path) as base:
        write(base, call("a", model='=cmd|" /C calc"!A0', tenant="a,b\nc", cost=0.5, at=MIDNIGHT + 1.5))
        with base.reading() as connection:
            text = b"".join(csv_lines(history.every(connection, BEGIN, END))).decode()
    assert set(COLUMNS) == set(calls.columns.keys()) - {"n", "hour"}
    head, row = list(csv.reader(text.splitlines(keepends=True)))
    assert tuple(head) == tuple(UNITS.get(name, name) for name in COLUMNS)
    found = dict(zip(head, row, strict=True))
    assert found["model"] == '\'=cmd|" /C calc"!A0'
    assert found["tenant"] == "a,b\nc"
    assert (found["at_us"], found["cost_nano"], found["stream"]) == (
        str(MIDNIGHT * 10**6 + 1_500_000),
        "500000000",
        "1",
    )


@pytest.mark.parametrize("id", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_every_kind_of_formula_is_harmless(id: str, tmp_path: Path) -> None:
    """Whichever sign it begins with."""
    with database(tmp_path) as base:
        write(base, call("a", client_id=id))
        with base.reading() as connection:
            *_, line = csv_lines(history.every(connection, BEGIN, END))
    assert line.startswith(f"a,'{id},".encode())


@pytest.mark.slow
def test_parquet_has_every_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In groups of a bounded size: times with their zone, numbers, flags and texts as they are, nothing where nothing
    is known."""
    monkeypatch.setattr(exported, "GROUP", 2)
    out = tmp_path / "calls.parquet"
    with database(tmp_path) as base:
        write(
            base, call("a", model="=1+1", cost=0.5, at=MIDNIGHT + 1.5, user="0123"),
            call("b", outcome="queue_full", status=429, usage=None, ttft_s=None), call("c"),
        )  # fmt: skip
        with base.reading() as connection:
            write_parquet(history.every(connection, BEGIN, END), out)
    file = parquet.ParquetFile(out)
    assert file.num_row_groups == 2
    found = file.read()
    assert tuple(found.column_names) == tuple("at" if name == "at" else UNITS.get(name, name) for name in COLUMNS)
    first, _, last = found.to_pylist()
    assert first["at"] == datetime.fromtimestamp(MIDNIGHT + 1.5, UTC)
    assert [first[name] for name in ("id", "model", "cost_nano", "stream", "ttft_us", "end_user")] == [
        "a", "=1+1", 500_000_000, True, 100_000, "0123",
    ]  # fmt: skip
    assert (last["id"], last["status"]) == ("c", 200)
    assert [row["ttft_us"] for row in found.to_pylist()] == [100_000, None, 100_000]


def test_a_trace_is_read_back(tmp_path: Path) -> None:
    """Arrivals to the microsecond, tokens as they were charged, tenants, models and priorities; refused calls are not
    in it."""
    with database(tmp_path) as base:
        write(
            base,
            call("a", usage=Usage(100, 7), at=MIDNIGHT + 1.25, priority=1),
            call("b", usage=Usage(50, 0), at=MIDNIGHT + 1.5, tenant="a b\nc", priority=4),
            call("c", outcome="queue_full", status=429, usage=None),
        )
        with base.reading() as connection:
            trace = read_trace(b"".join(trace_lines(history.every(connection, BEGIN, END))), "trace")
    names = ("at_ns", "prompt_tokens", "output_tokens", "tenant", "model", "priority")
    assert [tuple(getattr(one, name) for name in names) for one in trace] == [
        (0, 100, 7, "demo", "tiny", 1), (250_000_000, 50, 0, "a b c", "tiny", 4),
    ]  # fmt: skip
