"""Requests into our own trace format, as CSV or JSON lines: what `formats` reads back to the very same requests."""

import csv
import io
from collections.abc import Iterable, Iterator

import msgspec

from penstock.base.nouns import PRIORITIES
from penstock.workload.request import NORMAL, NS, Request

COLUMNS = (
    "at_s", "prompt_tokens", "output_tokens", "blocks", "block_tokens", "session", "tenant", "model", "adapter",
    "priority", "turn", "think_s", "deadline_s", "alike",
)  # fmt: skip


def to_json_lines(requests: Iterable[Request]) -> Iterator[bytes]:
    """One JSON object a request, each with its line end; fields that say nothing are left out."""
    for request in requests:
        cells = _cells(request)
        row: dict[str, object] = {
            "at_s": msgspec.Raw(cells["at_s"].encode()),
            "prompt_tokens": request.prompt_tokens,
            "output_tokens": request.output_tokens,
        }
        if request.blocks:
            row["blocks"] = request.blocks
        for name in COLUMNS[4:]:
            if text := cells[name]:
                row[name] = msgspec.Raw(text.encode()) if name in _NUMBERS else text
        yield msgspec.json.encode(row) + b"\n"


_NUMBERS = ("block_tokens", "turn", "think_s", "deadline_s")


def to_csv(requests: Iterable[Request]) -> Iterator[bytes]:
    """The header, then one row a request, each with its line end. Raises ValueError where a text has a line end."""
    yield _row(COLUMNS)
    for request in requests:
        yield _row(_cells(request).values())


def _cells(request: Request) -> dict[str, str]:
    deadline_ns = request.deadline_ns
    values = (
        decimal_s(request.at_ns),
        str(request.prompt_tokens),
        str(request.output_tokens),
        " ".join(map(str, request.blocks)),
        str(request.block_tokens or ""),
        request.session,
        request.tenant,
        request.model,
        request.adapter,
        "" if request.priority == NORMAL else PRIORITIES[request.priority],
        str(request.turn or ""),
        decimal_s(request.think_ns) if request.think_ns else "",
        "" if deadline_ns is None else decimal_s(deadline_ns),
        request.alike,
    )
    return dict(zip(COLUMNS, values, strict=True))


def decimal_s(at_ns: int) -> str:
    """Nanoseconds as seconds, exact: 1500000000 -> "1.5"."""
    seconds, rest_ns = divmod(at_ns, NS)
    return f"{seconds}.{rest_ns:09d}".rstrip("0").rstrip(".")


def _row(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    text = line.getvalue()
    if "\n" in text or "\r" in text:
        raise ValueError(f"{text[:60]!r} has a line end, which our CSV cannot hold: write JSON lines")
    return text.encode() + b"\n"
