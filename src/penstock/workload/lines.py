"""Bytes of a file, piece by piece, into numbered lines of text; gzip or not. Memory does not grow with the file.

This room is told bytes and opens nothing: who has the file hands over its pieces.
"""

import zlib
from collections.abc import Iterable, Iterator

MAX_BYTES = 1 << 30
"""Most bytes that a file which is held in memory may unpack to: a gzip bomb must not take the machine down."""
MAX_STREAM_BYTES = 1 << 36
"""The same for a file that is read line by line."""
MAX_LINE_BYTES = 1 << 24
PIECE_BYTES = 1 << 20
MAGIC = b"\x1f\x8b"

Lines = Iterator[tuple[int, str]]
"""Number, from 1, and text."""


class TraceError(ValueError):
    """A trace cannot be read. The text names file, line and field, and what was expected there."""

    def __init__(self, file: str, line: int, field: str, expected: str) -> None:
        where = ", ".join(part for part in (file, f"line {line}" if line else "", field) if part)
        super().__init__(f"{where}: {expected}")
        self.file, self.line, self.field = file, line, field


def unpacked(chunks: Iterable[bytes], file: str, limit: int = MAX_STREAM_BYTES) -> Iterator[bytes]:
    """The bytes themselves, or what they hold where they are gzip (any number of members). Raises TraceError."""
    rest = iter(chunks)
    head = b""
    while len(head) < len(MAGIC) and (chunk := next(rest, None)) is not None:
        head += chunk
    whole = _chain(head, rest)
    size = 0
    for piece in _inflated(whole, file) if head.startswith(MAGIC) else whole:
        size += len(piece)
        if size > limit:
            raise TraceError(file, 0, "", f"expected at most {limit:,} bytes of trace")
        yield piece


def unpack(data: bytes, file: str, limit: int = MAX_BYTES) -> bytes:
    """The same as a whole."""
    return b"".join(unpacked([data], file, limit))


def lines(chunks: Iterable[bytes], file: str) -> Lines:
    """The lines that are not empty, with their numbers. Raises TraceError, also where a line is not UTF-8."""
    number, kept = 0, b""
    for piece in unpacked(chunks, file):
        *whole, kept = (kept + piece).split(b"\n")
        for line in whole:
            number += 1
            if text := _text(line, file, number):
                yield number, text
        if len(kept) > MAX_LINE_BYTES:
            raise TraceError(file, number + 1, "", f"expected at most {MAX_LINE_BYTES:,} bytes in a line")
    if text := _text(kept, file, number + 1):
        yield number + 1, text


def _text(line: bytes, file: str, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError:
        raise TraceError(file, number, "", "expected UTF-8 text (or gzip of it)") from None


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _inflated(chunks: Iterator[bytes], file: str) -> Iterator[bytes]:
    stream, over = zlib.decompressobj(wbits=31), True  # over: no member is open
    for chunk in chunks:
        data = chunk
        while data:
            if over and not (data := data.lstrip(b"\0")):
                break  # padding
            try:
                yield stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise TraceError(file, 0, "", f"expected intact gzip data, found: {error}") from None
            over = stream.eof
            data = stream.unused_data if over else stream.unconsumed_tail
            if over:  # what follows is another member, or padding
                stream = zlib.decompressobj(wbits=31)
    if not over:
        raise TraceError(file, 0, "", "expected intact gzip data, but the file ends early")
