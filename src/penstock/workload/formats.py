"""Readers of request traces: bytes of a file in, `TraceRequest`s out.

This room knows what trace files look like and nothing else: who opens them, and what is done with the requests, is
the business of higher floors. Four formats are told apart by their first line, each plain or gzipped:

- **azure** — CSV `TIMESTAMP,ContextTokens,GeneratedTokens` of the Azure LLM inference traces.
- **mooncake** — JSON lines `timestamp` (ms), `input_length`, `output_length`, `hash_ids` (prefix blocks of 512 tokens).
- **penstock CSV / JSON lines** — our own: `at_s`, `prompt_tokens`, `output_tokens`, and where known `blocks` (in CSV:
  ids separated by spaces), `block_tokens`, `session`, `tenant`, `model`.
"""

import csv
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

MAX_BYTES = 1 << 30
"""Most bytes that a trace may unpack to: a gzip bomb must not take the machine down."""
MAX_TOKENS = 10_000_000
"""Most tokens that one request may ask for or get; anything above is a mistake in the file."""
MOONCAKE_BLOCK_TOKENS = 512
"""Size of the blocks behind `hash_ids` (Qin et al., Mooncake, FAST 2025, description of the released traces)."""
FORMATS = (
    "known formats: CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens (Azure) or at_s,prompt_tokens,"
    "output_tokens (Penstock); JSON lines with timestamp, input_length, output_length, hash_ids (Mooncake) or at_s, "
    "prompt_tokens, output_tokens (Penstock)"
)


class TraceRequest(msgspec.Struct, frozen=True, gc=False):
    """One request of a trace: when it arrived and how large it was."""

    at_s: float
    """Arrival in seconds after the trace's first request."""
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    """Ids of the prompt's prefix blocks: an equal id at an equal place means an equal prefix up to the block's end. The
    last block may be partial; a prompt may go on after its blocks. Empty: nothing is known of shared prefixes."""
    block_tokens: int = 0
    """Tokens in a full block; 0 where there are no blocks."""
    session: str = ""
    tenant: str = ""
    model: str = ""


class TraceError(ValueError):
    """A trace cannot be read. The text names file, line and field, and what was expected there."""

    def __init__(self, file: str, line: int, field: str, expected: str) -> None:
        where = ", ".join(part for part in (file, f"line {line}" if line else "", field) if part)
        super().__init__(f"{where}: {expected}")
        self.file, self.line, self.field = file, line, field


def read_trace(data: bytes, file: str) -> list[TraceRequest]:
    """The requests in `data` (plain or gzipped), by arrival; `file` is the name that errors show.

    The first arrival becomes second 0. Rows that are out of order are sorted, equal times keep the file's order.
    Raises TraceError.
    """
    text = _text(unpack(data, file), file)
    lines = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    first = next(lines, None)
    if first is None:
        raise TraceError(file, 0, "", f"the file is empty; {FORMATS}")
    rows = _json_rows if first[1].lstrip().startswith("{") else _csv_rows
    requests = sorted(rows(first, lines, file), key=lambda request: request.at_s)
    if not requests:
        raise TraceError(file, 0, "", "the file has a header and no request")
    start_s = requests[0].at_s
    return [msgspec.structs.replace(request, at_s=request.at_s - start_s) for request in requests]


def unpack(data: bytes, file: str, limit: int = MAX_BYTES) -> bytes:
    """`data` itself, or what it holds where it is gzip (any number of members). Raises TraceError."""
    parts: list[bytes] = []
    size = 0
    if not data.startswith(b"\x1f\x8b"):
        size = len(data)
        parts.append(data)
    else:
        while data.startswith(b"\x1f\x8b") and size <= limit:
            stream = zlib.decompressobj(wbits=31)
            try:
                parts.append(stream.decompress(data, limit + 1 - size))
            except zlib.error as error:
                raise TraceError(file, 0, "", f"expected intact gzip data, found: {error}") from None
            if not stream.eof and not stream.unconsumed_tail:
                raise TraceError(file, 0, "", "expected intact gzip data, but the file ends early")
            size += len(parts[-1])
            data = stream.unused_data
    if size > limit:
        raise TraceError(file, 0, "", f"expected at most {limit:,} bytes of trace")
    return b"".join(parts)


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TraceError(file, line, "", "expected UTF-8 text (or gzip of it)") from None


# ===== one row =====


class _Row:
    """The fields of one row, each asked for with the type it must have."""

    __slots__ = ("_fields", "_file", "_line")

    def __init__(self, fields: dict[str, Any], file: str, line: int) -> None:
        self._fields, self._file, self._line = fields, file, line

    def wrong(self, field: str, expected: str) -> TraceError:
        found = self._fields.get(field)
        return TraceError(self._file, self._line, field, f"expected {expected}, found {_short(found)}")

    def number(self, field: str) -> float:
        value = self._fields.get(field)
        try:
            number = float("nan") if isinstance(value, bool) or value is None else float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not 0 <= number < 1e15:
            raise self.wrong(field, "a number ≥ 0")
        return number

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

    def moment(self, field: str) -> datetime:
        value = self._fields.get(field)
        try:
            return datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
        except ValueError:
            raise self.wrong(field, "a time like 2023-11-16 18:15:46.6805900") from None

    def blocks(self, field: str) -> tuple[int, ...]:
        value = self._fields.get(field)
        parts = value.split() if isinstance(value, str) else value or ()
        try:
            if isinstance(parts, (list, tuple)) and not any(isinstance(part, (float, bool)) for part in parts):
                return tuple(int(part) for part in parts)
        except (TypeError, ValueError):
            pass
        raise self.wrong(field, "a list of whole numbers")


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


# ===== the formats =====


def _azure(row: _Row) -> TraceRequest:
    moment = row.moment("TIMESTAMP")
    if moment.tzinfo is None:  # any zone does: only differences count
        moment = moment.replace(tzinfo=UTC)
    return TraceRequest(moment.timestamp(), row.whole("ContextTokens", low=1), row.whole("GeneratedTokens"))


def _mooncake(row: _Row) -> TraceRequest:
    blocks = row.blocks("hash_ids")
    return TraceRequest(
        row.number("timestamp") / 1e3,
        row.whole("input_length", low=1),
        row.whole("output_length"),
        blocks,
        MOONCAKE_BLOCK_TOKENS if blocks else 0,
    )


def _penstock(row: _Row) -> TraceRequest:
    blocks = row.blocks("blocks")
    return TraceRequest(
        row.number("at_s"),
        row.whole("prompt_tokens", low=1),
        row.whole("output_tokens"),
        blocks,
        row.whole("block_tokens", low=1) if blocks else row.whole("block_tokens", default=0),
        row.text("session"),
        row.text("tenant"),
        row.text("model"),
    )


_Reader = Callable[[_Row], TraceRequest]
_READERS: tuple[tuple[frozenset[str], _Reader], ...] = (
    (frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), _azure),
    (frozenset({"timestamp", "input_length", "output_length"}), _mooncake),
    (frozenset({"at_s", "prompt_tokens", "output_tokens"}), _penstock),
)


def _reader(names: list[str], file: str, line: int) -> _Reader:
    for needed, reader in _READERS:
        if needed <= set(names):
            return reader
    raise TraceError(file, line, "", f"found the fields {_short(', '.join(names))}; {FORMATS}")


_Lines = Iterator[tuple[int, str]]


def _json_rows(first: tuple[int, str], rest: _Lines, file: str) -> Iterator[TraceRequest]:
    fields = _json_object(first, file)
    reader = _reader(list(fields), file, first[0])
    yield reader(_Row(fields, file, first[0]))
    for line in rest:
        yield reader(_Row(_json_object(line, file), file, line[0]))


def _json_object(line: tuple[int, str], file: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line[1], type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise TraceError(file, line[0], "", f"expected a JSON object a line: {error}") from None


def _csv_rows(first: tuple[int, str], rest: _Lines, file: str) -> Iterator[TraceRequest]:
    names = [name.strip() for name in _csv_cells(first, file)]
    reader = _reader(names, file, first[0])
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
