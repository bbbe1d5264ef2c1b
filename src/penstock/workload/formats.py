"""Readers of request traces: bytes of a file in, `Request`s out.

This room knows what trace files look like and nothing else: who opens them, and what is done with the requests, is
the business of higher floors. The formats are told apart by their first line, each plain or gzipped:

- **azure** — CSV `TIMESTAMP,ContextTokens,GeneratedTokens` of the Azure LLM inference traces of 2023 and 2024.
- **mooncake** — JSON lines `timestamp` (ms), `input_length`, `output_length`, `hash_ids` (prefix blocks of 512 tokens).
- **burstgpt** — CSV `Timestamp` (s), `Model`, `Request tokens`, `Response tokens`, and where known `Session ID`.
- **penstock CSV / JSON lines** — our own; `export` writes it, docs/reference/workloads.md describes it.
- **lengths** — CSV `num_prefill_tokens,num_decode_tokens` (Vidur's): sizes without times, so for `read_sizes` only.
"""

import csv
import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any

import msgspec

from penstock.base.nouns import PRIORITIES
from penstock.workload.lines import MAX_BYTES, Lines, TraceError, lines, unpacked
from penstock.workload.request import NORMAL, NS, Request

MAX_TOKENS = 10_000_000
"""Most tokens that one request may ask for or get; anything above is a mistake in the file."""
MAX_ID = (1 << 63) - 1
MAX_NUMBER = 10**15
REORDER_ROWS = 65_536
"""How far a row may stand from its place in time: a log that is written as answers end is not sorted by arrival."""
MOONCAKE_BLOCK_TOKENS = 512
"""Size of the blocks behind `hash_ids` (Qin et al., Mooncake, FAST 2025, description of the released traces)."""
FORMATS = (
    "known formats: CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens (Azure), Timestamp,Request tokens,"
    "Response tokens (BurstGPT) or at_s,prompt_tokens,output_tokens (Penstock); JSON lines with timestamp, "
    "input_length, output_length, hash_ids (Mooncake) or at_s, prompt_tokens, output_tokens (Penstock)"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def read_trace(data: bytes, file: str) -> list[Request]:
    """The requests in `data` (plain or gzipped), by arrival; `file` is the name that errors show.

    The first arrival becomes time 0. Rows that are out of order are sorted, equal times keep the file's order.
    Raises TraceError.
    """
    requests = sorted(_rows(unpacked([data], file, MAX_BYTES), file), key=lambda request: request.at_ns)
    return list(_from_zero(iter(requests), file))


def stream_trace(chunks: Iterable[bytes], file: str, reorder: int = REORDER_ROWS) -> Iterator[Request]:
    """The same from pieces of a file, in memory that does not grow with it: at most `reorder` rows are held back to
    put them in order. Raises TraceError, also for a row that is further from its place than that."""
    return _from_zero(_in_order(_rows(chunks, file), reorder, file), file)


def read_sizes(chunks: Iterable[bytes], file: str) -> tuple["array[int]", "array[int]"]:
    """Prompt and output tokens of every row of a trace or a file of lengths, in the file's order. Raises TraceError."""
    prompts, outputs = array("q"), array("q")
    for request in _rows(unpacked(chunks, file, MAX_BYTES), file, sizes_only=True):
        prompts.append(request.prompt_tokens)
        outputs.append(request.output_tokens)
    if not prompts:
        raise TraceError(file, 0, "", "the file has a header and no request")
    return prompts, outputs


def _rows(chunks: Iterable[bytes], file: str, sizes_only: bool = False) -> Iterator[Request]:
    numbered = lines(chunks, file)
    first = next(numbered, None)
    if first is None:
        raise TraceError(file, 0, "", f"the file is empty; {FORMATS}")
    readers = _READERS + (_SIZES if sizes_only else ())
    rows = _json_rows if first[1].startswith("{") else _csv_rows
    return rows(first, numbered, file, readers)


def _in_order(requests: Iterator[Request], reorder: int, file: str) -> Iterator[Request]:
    held: list[tuple[int, int, Request]] = []
    last_ns = 0
    for number, request in enumerate(requests):
        if len(held) >= reorder:
            last_ns, _, first = heapq.heappop(held)
            yield first
            if request.at_ns < last_ns:
                where = f"request {number + 1}: it arrives before one that stands over {reorder:,} rows above"
                raise TraceError(file, 0, "", f"{where}; sort the file by time of arrival")
        heapq.heappush(held, (request.at_ns, number, request))
    while held:
        yield heapq.heappop(held)[2]


def _from_zero(requests: Iterator[Request], file: str) -> Iterator[Request]:
    first = next(requests, None)
    if first is None:
        raise TraceError(file, 0, "", "the file has a header and no request")
    start_ns = first.at_ns
    for request in chain((first,), requests):
        yield msgspec.structs.replace(request, at_ns=request.at_ns - start_ns) if start_ns else request


# ===== one row =====


class _Row:
    """The fields of one row, each asked for with the type it must have."""

    __slots__ = ("_fields", "_file", "_line")

    def __init__(self, fields: dict[str, Any], file: str, line: int) -> None:
        self._fields, self._file, self._line = fields, file, line

    def wrong(self, field: str, expected: str) -> TraceError:
        found = self._fields.get(field)
        return TraceError(self._file, self._line, field, f"expected {expected}, found {_short(found)}")

    def ns(self, field: str, unit_ns: int = NS, default: int | None = None) -> int:
        """A time in units of `unit_ns`, to the nanosecond: decimals are read as decimals."""
        value = self._fields.get(field)
        if default is not None and value in (None, ""):
            return default
        try:
            number = Decimal(-1) if isinstance(value, bool) or value is None else Decimal(value)
        except (TypeError, ValueError, InvalidOperation):
            number = Decimal(-1)
        if not (number.is_finite() and 0 <= number < MAX_NUMBER):
            raise self.wrong(field, "a number ≥ 0")
        return int((number * unit_ns).to_integral_value())

    def whole(self, field: str, low: int = 0, high: int = MAX_TOKENS, default: int | None = None) -> int:
        value = self._fields.get(field)
        if default is not None and value in (None, ""):
            return default
        try:
            whole = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else low - 1
        except ValueError:
            whole = low - 1
        if not low <= whole <= high:
            raise self.wrong(field, f"a whole number from {low:,} to {high:,}")
        return whole

    def text(self, field: str) -> str:
        value = self._fields.get(field)
        if value is None:
            return ""
        if not isinstance(value, (str, int)):
            raise self.wrong(field, "a text")
        return str(value)

    def moment_ns(self, field: str) -> int:
        value = self._fields.get(field)
        try:
            moment = datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
        except ValueError:
            raise self.wrong(field, "a time like 2023-11-16 18:15:46.6805900") from None
        if moment.tzinfo is None:  # any zone does: only differences count
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MICROSECOND * 1000

    def priority(self, field: str) -> int:
        value = self._fields.get(field)
        if value in (None, ""):
            return NORMAL
        if value not in PRIORITIES:
            raise self.wrong(field, "one of " + ", ".join(PRIORITIES))
        return PRIORITIES.index(value)

    def blocks(self, field: str) -> tuple[int, ...]:
        value = self._fields.get(field)
        parts = value.split() if isinstance(value, str) else value or ()
        try:
            if isinstance(parts, (list, tuple)) and not any(isinstance(part, (float, Decimal, bool)) for part in parts):
                ids = tuple(map(int, parts))
                if all(-MAX_ID <= block <= MAX_ID for block in ids):
                    return ids
        except (TypeError, ValueError):
            pass
        raise self.wrong(field, "a list of whole numbers")


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


# ===== the formats =====


def _azure(row: _Row) -> Request:
    return Request(row.moment_ns("TIMESTAMP"), row.whole("ContextTokens", low=1), row.whole("GeneratedTokens"))


def _mooncake(row: _Row) -> Request:
    blocks = row.blocks("hash_ids")
    return Request(
        row.ns("timestamp", NS // 1000),
        row.whole("input_length", low=1),
        row.whole("output_length"),
        blocks,
        MOONCAKE_BLOCK_TOKENS if blocks else 0,
    )


def _burstgpt(row: _Row) -> Request:
    return Request(
        row.ns("Timestamp"),
        row.whole("Request tokens", low=1),
        row.whole("Response tokens"),
        session=row.text("Session ID"),
        model=row.text("Model"),
    )


def _penstock(row: _Row) -> Request:
    blocks = row.blocks("blocks")
    deadline_ns = row.ns("deadline_s", default=-1)
    return Request(
        row.ns("at_s"),
        row.whole("prompt_tokens", low=1),
        row.whole("output_tokens"),
        blocks,
        row.whole("block_tokens", low=1) if blocks else row.whole("block_tokens", default=0),
        row.text("session"),
        row.text("tenant"),
        row.text("model"),
        row.text("adapter"),
        row.priority("priority"),
        row.whole("turn", default=0),
        row.ns("think_s", default=0),
        None if deadline_ns < 0 else deadline_ns,
        row.text("alike"),
    )


def _vidur(row: _Row) -> Request:
    return Request(0, row.whole("num_prefill_tokens", low=1), row.whole("num_decode_tokens"))


_Reader = Callable[[_Row], Request]
_Readers = tuple[tuple[frozenset[str], _Reader], ...]
_READERS: _Readers = (
    (frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), _azure),
    (frozenset({"timestamp", "input_length", "output_length"}), _mooncake),
    (frozenset({"Timestamp", "Request tokens", "Response tokens"}), _burstgpt),
    (frozenset({"at_s", "prompt_tokens", "output_tokens"}), _penstock),
)
_SIZES: _Readers = ((frozenset({"num_prefill_tokens", "num_decode_tokens"}), _vidur),)


def _reader(names: list[str], file: str, line: int, readers: _Readers) -> _Reader:
    for needed, reader in readers:
        if needed <= set(names):
            return reader
    hint = "it has lengths and no times of arrival: use it for sizes" if _SIZES[0][0] <= set(names) else FORMATS
    raise TraceError(file, line, "", f"found the fields {_short(', '.join(names))}; {hint}")


_JSON = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def _json_rows(first: tuple[int, str], rest: Lines, file: str, readers: _Readers) -> Iterator[Request]:
    fields = _json_object(first, file)
    reader = _reader(list(fields), file, first[0], readers)
    yield reader(_Row(fields, file, first[0]))
    for line in rest:
        yield reader(_Row(_json_object(line, file), file, line[0]))


def _json_object(line: tuple[int, str], file: str) -> dict[str, Any]:
    try:
        return _JSON.decode(line[1])
    except (msgspec.DecodeError, RecursionError) as error:
        raise TraceError(file, line[0], "", f"expected a JSON object a line: {error}") from None


def _csv_rows(first: tuple[int, str], rest: Lines, file: str, readers: _Readers) -> Iterator[Request]:
    names = [name.strip() for name in _csv_cells(first, file)]
    reader = _reader(names, file, first[0], readers)
    for line in rest:
        cells = _csv_cells(line, file)
        if len(cells) != len(names):
            raise TraceError(file, line[0], "", f"expected {len(names)} columns as in the header, found {len(cells)}")
        yield reader(_Row(dict(zip(names, cells, strict=True)), file, line[0]))


def _csv_cells(line: tuple[int, str], file: str) -> list[str]:
    try:
        return next(csv.reader([line[1]], strict=True))
    except csv.Error as error:
        raise TraceError(file, line[0], "", f"expected a CSV row: {error}") from None
