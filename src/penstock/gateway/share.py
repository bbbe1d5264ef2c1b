"""A share: one answer on its way to several clients at once [C2].

What an attempt writes is held here, and every client takes it at its own pace from the first byte on. What is held is
bounded: of a longer answer the beginning goes, so that nobody can join any more, and a client that had not read that
far is cut. The replica waits only while all clients do, so that a slow one holds up no other.
"""

import asyncio
import time
from collections import deque
from itertools import islice
from typing import Final, Protocol

from penstock.adapters.wire.response import ResponseHead
from penstock.base.nouns import Usage
from penstock.gateway.answers import without_rates
from penstock.gateway.attempt import Attempt
from penstock.gateway.shelf import Kept, may_keep

_EVENT_ENDS: Final = (b"\n\n\r\n", b"\r\n\r\n\r\n", b"\r\r\r\n", b"\n\n", b"\r\n\r\n", b"\r\r")
"""How a piece ends behind which an event can follow."""


class Reader(Protocol):
    """A client that gets the answer."""

    winner: Attempt | None
    deadline: float

    def pull(self) -> None:
        """Take what is there."""
        ...


class Share:
    """One answer. To the attempt that brings it, it is the client."""

    __slots__ = (
        "_due", "_most_bytes", "_since", "_times", "end", "first", "framing", "kept", "origin", "owner",
        "paused", "pieces", "readers", "response", "size", "status", "tokens", "usage", "whole", "zipped",
    )  # fmt: skip

    def __init__(self, owner: Reader, most_bytes: int, *, timed: bool) -> None:
        self.owner = owner
        """Whose attempts bring it."""
        self.readers: dict[Reader, None] = {owner: None}
        self.paused = 0
        """Readers that read slowly."""
        self.pieces: deque[bytes] = deque()
        self.first = 0
        """The number of the first piece that is held."""
        self.end = 0
        """Pieces so far."""
        self.size = 0
        """Bytes held."""
        self.response: ResponseHead | None = None
        """Once it has begun."""
        self.framing = b""
        self.origin: tuple[bytes, int, int] = (b"", 0, 0)
        """Replica, attempts, milliseconds in the queue: as the heads tell."""
        self.whole = False
        """All of it is here."""
        self.status = 0
        self.usage: Usage | None = None
        self.tokens = 0
        self.kept: Kept | None = None
        """As it is kept, if it can be, once it is whole."""
        self.zipped = b""
        """Compressed, once somebody wanted that."""
        self._most_bytes = most_bytes
        self._due = False
        self._times: list[float] | None = [] if timed else None
        self._since = 0.0

    # ===== to the attempt =====

    @property
    def deadline(self) -> float:
        """When something may have taken too long: its owner's connection is looked at."""
        return self.owner.deadline

    @deadline.setter
    def deadline(self, at: float) -> None:
        self.owner.deadline = at

    def write(self, data: bytes) -> None:
        """More of it. Empty: the head alone."""
        if data:
            self.pieces.append(data)
            self.end += 1
            self.size += len(data)
            if self._times is not None:
                self._times.append(time.monotonic())
            while self.size > self._most_bytes and len(self.pieces) > 1:
                self.size -= len(self.pieces.popleft())
                self.first += 1
        self.owner.pull()
        if len(self.readers) > 1:
            self.spread()

    def spread(self) -> None:
        """Let all who follow take what is there, once this turn of the loop is over."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._spread)

    def _spread(self) -> None:
        self._due = False
        for reader in list(self.readers):
            if reader is not self.owner:
                reader.pull()

    # ===== to its readers =====

    def since(self, at: int) -> list[bytes]:
        """The pieces from this one on, which is held."""
        return list(islice(self.pieces, at - self.first, None))

    def event_may_follow(self, at: int) -> bool:
        """Whether an error event can be put behind the pieces before this one."""
        response = self.response
        if response is None or response.content_type != b"text/event-stream" or not self.first < at <= self.end:
            return False
        return self.pieces[at - 1 - self.first].endswith(_EVENT_ENDS)

    def relayed(self, at: int) -> int:
        """About how many tokens are in the pieces before this one."""
        winner = self.owner.winner
        tokens = self.tokens if winner is None else winner.relayed_tokens
        return tokens if at >= self.end else tokens * at // self.end

    def join(self, reader: Reader) -> bool:
        """One more; False: its beginning is not held any more."""
        if self.first:
            return False
        self.readers[reader] = None
        if self.paused == len(self.readers) - 1:
            self._hold(False)
        return True

    def leave(self, reader: Reader, *, paused: bool) -> None:
        """One less."""
        if reader in self.readers:
            del self.readers[reader]
            self.paused -= paused
            if self.readers and self.paused == len(self.readers):
                self._hold(True)

    def pauses(self) -> None:
        """A reader reads slowly."""
        self.paused += 1
        if self.paused == len(self.readers):
            self._hold(True)

    def resumes(self) -> None:
        """It has caught up."""
        if self.paused == len(self.readers):
            self._hold(False)
        self.paused -= 1

    @property
    def held(self) -> bool:
        """All read slowly, and the replica waits."""
        return self.paused == len(self.readers)

    def _hold(self, hold: bool) -> None:
        winner = self.owner.winner
        if winner is not None:
            if hold:
                winner.pause()
            else:
                winner.resume()

    # ===== to be kept =====

    def ended(self, status: int, usage: Usage | None, tokens: int) -> int | None:
        """It is whole; its size if it can be kept, else None."""
        self.whole, self.status, self.usage, self.tokens = True, status, usage, tokens
        response = self.response
        if status != 200 or self.first or response is None or response.encoded:
            return None
        if not may_keep(response.content_type, b"".join(self.pieces)):
            return None
        self.kept = self._as_kept(response)
        return self.kept.size

    def _as_kept(self, response: ResponseHead) -> Kept:
        pieces, times = tuple(self.pieces), self._times
        delays: tuple[int, ...] = ()
        if times and len(pieces) > 1:
            delays = tuple(round((at - times[0]) * 1000) for at in times)
        elif len(pieces) > 1:
            pieces = (b"".join(pieces),)
        return Kept(
            response.status_line, without_rates(response.block), self.framing, pieces, delays, self.status, self.usage,
            self.tokens,
        )  # fmt: skip
