"""Calls of the ledger as files: all columns as CSV or Parquet, or a trace in our own format for `simulate` and `load`.

Parquet needs the extra `parquet`, imported when somebody asks for it.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from penstock.workload.export import to_csv
from penstock.workload.request import Request

COLUMNS = (
    "id", "client_id", "at", "tenant", "key", "model", "path", "pool", "replica", "region", "outcome", "status",
    "stream", "priority", "attempts", "hedge", "prompt_tokens", "completion_tokens", "cached_tokens", "estimated",
    "cost", "latency", "ttft", "queue", "end_user", "cache",
)  # fmt: skip
"""As the table has them: times in microseconds, `at` since the epoch (UTC), cost in billionths."""
UNITS = {"at": "at_us", "cost": "cost_nano", "latency": "latency_us", "ttft": "ttft_us", "queue": "queue_us"}
"""How those are named outside, so that nobody takes billionths for money."""
HEAD = tuple(UNITS.get(name, name) for name in COLUMNS)
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(rows: Iterable[Any]) -> Iterator[bytes]:
    """A header, then a line a call. Texts that a spreadsheet would take for a formula begin with an apostrophe."""
    yield _line(HEAD)
    for row in rows:
        values = row._mapping
        yield _line([_harmless(values[name]) for name in COLUMNS])


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    if isinstance(value, bool):
        return int(value)
    return value


def _line(values: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def trace_lines(rows: Iterable[Any]) -> Iterator[bytes]:
    """Our own trace format: when calls came and how long they were. Those that were refused are left out: nobody has
    counted their prompts."""
    return to_csv(
        Request(
            at_ns=row.at * 1000, prompt_tokens=row.prompt_tokens, output_tokens=row.completion_tokens,
            tenant=_plain(row.tenant), model=_plain(row.model), priority=row.priority,
        )
        for row in rows
        if row.prompt_tokens > 0
    )  # fmt: skip


FLAGS: Final = ("stream", "estimated")
NUMBERS: Final = (
    "at", "status", "priority", "attempts", "prompt_tokens", "completion_tokens", "cached_tokens", "cost", "latency",
    "ttft", "queue",
)  # fmt: skip
GROUP: Final = 50_000
"""Rows that are written together: so many are in memory."""


def write_parquet(rows: Iterable[Any], path: Path) -> None:
    """All columns, in the table's units, texts as they are; `at` is a time with its zone (UTC). Raises ImportError
    without the extra, OSError where the file cannot be had."""
    import pyarrow as arrow
    from pyarrow import parquet

    kinds = {
        name: arrow.timestamp("us", tz="UTC") if name == "at" else arrow.bool_() if name in FLAGS
        else arrow.int64() if name in NUMBERS else arrow.string()
        for name in COLUMNS
    }  # fmt: skip
    heads = {name: "at" if name == "at" else UNITS.get(name, name) for name in COLUMNS}
    schema = arrow.schema([(heads[name], kind) for name, kind in kinds.items()])
    left = iter(rows)
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:
        while part := [row._mapping for row in islice(left, GROUP)]:
            columns = {heads[name]: [row[name] for row in part] for name in COLUMNS}
            file.write_table(arrow.table(columns, schema=schema))


def _plain(text: str) -> str:
    return " ".join(text.split())
