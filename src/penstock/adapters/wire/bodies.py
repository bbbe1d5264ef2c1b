"""Body framing: where a message ends. Readers track it without changing a byte; the payload is taken out on request.

A reader is fed what came from the socket and answers with the index behind the message's last byte or, while more must
come, with MORE (between two units of framing) or PART (within one).
"""

import re
from typing import Final

MORE: Final = -1
PART: Final = -2
CRLF: Final = b"\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_MAX_LINE: Final = 256
_MAX_TRAILERS: Final = 8 << 10
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
SIZES: Final[dict[bytes, int]] = {}
"""Size lines seen before, and what they mean: a pure function's memory. Bounded by their form (there are no more short
ones), so that no client can fill it with others than those that engines write."""
_SHORT: Final = 3


class FramingError(ValueError):
    """The framing of a body is broken."""


def chunk(payload: bytes) -> bytes:
    """One chunk around the payload, which must not be empty (that would be the end)."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _size_of(line: bytes) -> int:
    found = _SIZE_LINE.fullmatch(line)
    if found is None or len(line) > _MAX_LINE:
        raise FramingError("bad chunk size")
    size = int(found[1], 16)
    if len(line) <= _SHORT and line.isalnum():
        SIZES[line] = size
    return size


class Chunked:
    """The chunked coding, strictly: CR LF everywhere, hexadecimal digits only, bounded extensions and trailers."""

    __slots__ = ("_left", "_line", "_trailer_bytes", "_trailers", "chunks")

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the chunk that are still to come, its CR LF included; 0: between chunks."""
        self._line = b""
        """An unfinished line between chunks."""
        self._trailers = False
        self._trailer_bytes = 0
        self.chunks = 0
        """Chunks begun so far."""

    def rewind(self) -> None:
        """Forget the last `feed`, before which the reader stood between two chunks."""
        self._left = 0
        self._line = b""
        self._trailers = False
        self._trailer_bytes = 0

    def feed(self, data: bytes, at: int, out: list[bytes] | None) -> int:
        """Take `data[at:]`; payload goes to `out` where there is one. Raises FramingError."""
        if self._line or self._trailers:
            at = self._go_on_with_line(data, at)
            if self._trailers or self._line:
                return at
        left = self._left
        end = len(data)
        if 0 < left < 3:
            at = self._end_of_chunk(data, at, left)
            if self._left:
                return PART
            if at == end:
                return MORE
            left = 0
        while True:
            if left:
                stop = at + left
                if stop > end:
                    return self._part(data, at, left, out)
                if data[stop - 2 : stop] != CRLF:
                    raise FramingError("a chunk does not end with CR LF")
                if out is not None:
                    out.append(data[at : stop - 2])
                if stop == end:
                    self._left = 0
                    return MORE
                at = stop
            eol = data.find(CRLF, at, at + _MAX_LINE)
            if eol < 0:
                return self._part_of_line(data, at)
            line = data[at:eol]
            size = SIZES.get(line, -1)
            if size < 0:
                size = _size_of(line)
            at = eol + 2
            if not size:
                self._trailers = True
                self._left = 0
                return self._read_trailers(data, at)
            self.chunks += 1
            left = size + 2
            if at == end:
                self._left = left
                return PART

    def _part(self, data: bytes, at: int, left: int, out: list[bytes] | None) -> int:
        have = len(data) - at
        if have == left - 1 and data[-1:] != b"\r":
            raise FramingError("a chunk does not end with CR LF")
        if out is not None:
            payload = data[at : at + min(have, left - 2)]
            if payload:
                out.append(payload)
        self._left = left - have
        return PART

    def _end_of_chunk(self, data: bytes, at: int, left: int) -> int:
        piece = data[at : at + left]
        if not CRLF[2 - left :].startswith(piece):
            raise FramingError("a chunk does not end with CR LF")
        self._left = left - len(piece)
        return at + len(piece)

    def _part_of_line(self, data: bytes, at: int) -> int:
        self._left = 0
        self._line = data[at:]
        bare = self._line.rstrip(b"\r")
        if len(self._line) > _MAX_LINE or len(self._line) - len(bare) > 1 or (bare and not _may_become_size(bare)):
            raise FramingError("bad chunk size")
        return PART if self._line else MORE

    def _go_on_with_line(self, data: bytes, at: int) -> int:
        """Finish the line that an earlier read began; leaves `_line` and `_trailers` empty when a chunk follows."""
        if self._trailers:
            return self._read_trailers(data, at)
        eol = data.find(b"\n", at, at + _MAX_LINE)
        if eol < 0:
            self._line += data[at:]
            line, self._line = self._line, b""
            return self._part_of_line(line, 0)
        line = self._line + data[at:eol]
        self._line = b""
        if not line.endswith(b"\r"):
            raise FramingError("bad chunk size")
        size = _size_of(line[:-1])
        if not size:
            self._trailers = True
            return self._read_trailers(data, eol + 1)
        self.chunks += 1
        self._left = size + 2
        return eol + 1

    def _read_trailers(self, data: bytes, at: int) -> int:
        """Lines up to an empty one, which ends the message."""
        while True:
            eol = data.find(b"\n", at)
            if eol < 0:
                self._line += data[at:]
                if len(self._line) + self._trailer_bytes > _MAX_TRAILERS:
                    raise FramingError("trailers too long")
                return PART
            line = self._line + data[at:eol]
            self._line = b""
            at = eol + 1
            if line == b"\r":
                return at
            self._trailer_bytes += len(line)
            if self._trailer_bytes > _MAX_TRAILERS or not line.endswith(b"\r") or not _TRAILER.fullmatch(line[:-1]):
                raise FramingError("bad trailer")


def _may_become_size(line: bytes) -> bool:
    return _SIZE_LINE.fullmatch(line) is not None or _SIZE_LINE.fullmatch(line + b";") is not None


class Length:
    """A body whose length was announced."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def feed(self, data: bytes, at: int, out: list[bytes] | None) -> int:
        """Take `data[at:]`; payload goes to `out` where there is one."""
        have = len(data) - at
        left = self.left
        if have < left:
            self.left = left - have
            if out is not None:
                out.append(data[at:])
            return MORE
        self.left = 0
        if out is not None:
            out.append(data[at : at + left])
        return at + left


class UntilClose:
    """A body that ends with its connection (HTTP/1.0 servers)."""

    __slots__ = ()

    def feed(self, data: bytes, at: int, out: list[bytes] | None) -> int:
        """Take `data[at:]`; payload goes to `out` where there is one."""
        if out is not None:
            out.append(data[at:])
        return MORE


Reader = Chunked | Length | UntilClose
