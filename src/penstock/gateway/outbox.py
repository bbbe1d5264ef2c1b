"""The outbox: what one turn of the event loop writes goes out together, at its end.

A write to a socket wakes who waits at its other end, on another core; that costs more than the write. Under load a
turn handles many connections, and when their writes follow each other, the first wakes the other process and the rest
find it awake: a quarter of the kernel's time, measured (bench/README.md). With one connection a turn has one write, and
nothing is later than it was.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger("penstock.gateway")

MAX_BYTES: Final = 64 << 10
"""More than so much does not wait: a socket that takes no more must be noticed before the next read."""


class Outbox:
    """Writes that wait for the end of the turn, in their order."""

    __slots__ = ("_bytes", "_call_soon", "_letters", "before")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._letters: list[tuple[asyncio.Transport, bytes]] = []
        self._bytes = 0
        self.before: Callable[[], object] | None = None
        """What must be on disk before clients are told of it: called before anything is written. While it is set, the
        last byte of what a turn posts leaves at the turn's end and not before, however much it is."""

    def post(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write this at the end of the turn. Whoever closes a transport gently flushes first."""
        letters = self._letters
        if not letters:
            self._call_soon(self.flush)
        letters.append((transport, data))
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            if self.before is None:
                self.flush()
            else:
                letters[-1] = (transport, data[:-1])
                self.flush()
                self.post(transport, data[-1:])

    def flush(self) -> None:
        """Write everything now. What is for a closed connection is dropped, as the socket would have done."""
        if self.before is not None:
            self.before()
        letters, self._letters = self._letters, []
        self._bytes = 0
        for transport, data in letters:
            if not transport.is_closing():
                try:
                    transport.write(data)
                except (OSError, RuntimeError) as error:  # closed between two looks: the others are still owed
                    log.debug("a write came too late: %s", error)
