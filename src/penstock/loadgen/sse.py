"""Server-sent events: bytes in, the `data` of whole events out, wherever the reads were cut.

The part of the format that inference servers use (WHATWG HTML, section 9.2): lines end in LF or CRLF, `data` lines of
an event are joined by LF, comments and other fields are skipped. A lone CR as line end, which the standard also allows,
is not recognised: no engine sends it, and it would need a look at every byte.
"""

MAX_EVENT_BYTES = 4 << 20


class EventTooLarge(ValueError):
    """One event passed MAX_EVENT_BYTES."""


class EventSplitter:
    """Splits one stream. Feed it every read in order."""

    __slots__ = ("_data", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this read completes. Raises EventTooLarge."""
        self._size += len(chunk)
        if b"\n" not in chunk:
            self._rest += chunk
            return self._bounded([])
        lines = (bytes(self._rest) + chunk).split(b"\n")
        self._rest = bytearray(lines.pop())
        events: list[bytes] = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
                    self._size = len(self._rest)
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        return self._bounded(events)

    def _bounded(self, events: list[bytes]) -> list[bytes]:
        if not self._data and not self._rest:
            self._size = 0
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of more than {MAX_EVENT_BYTES:,} bytes")
        return events
