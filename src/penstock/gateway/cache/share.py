"""A share: one answer on its way to several clients at once [C2].

What an attempt writes is held here, and every client takes it at its own pace from the first byte on. What is held is
bounded: of a longer answer the beginning goes, so that nobody can join any more. A client that has not read that far
holds up the others for a second at most, and is cut then: so nobody slows others below what is held in a second. Else
the replica waits only while all clients do.
"""

import asyncio
import time
from collections import deque
from itertools import islice
from typing import Final, Protocol

from penstock.adapters.wire.response import ResponseHead
from penstock.base.nouns import Usage
from penstock.core.cache.spec import CacheSpec
from penstock.gateway.cache.shelf import Kept, may_keep
from penstock.gateway.call.answers import without_rates
from penstock.gateway.call.packing import may_change

PATIENCE_S: Final = 1.0
"""How long the others wait for a client that is too far behind, until it has caught up."""
FAR_PATIENCE_S: Final = 0.5
"""The same where another worker brings the answer: for that one this whole worker is a client that may be cut."""
_EVENT_ENDS: Final[tuple[bytes, ...]] = (b"\n\n\r\n", b"\r\n\r\n\r\n", b"\r\r\r\n", b"\n\n", b"\r\n\r\n", b"\r\r")
"""How a piece ends behind which an event can follow."""


class Bringer(Protocol):
    """What brings the answer: an attempt, or another worker."""

    @property
    def relayed_tokens(self) -> int:
        """Events with content so far."""
        ...

    def pause(self) -> None:
        """Its clients read slowly."""
        ...

    def resume(self) -> None:
        """They have caught up."""
        ...


class Far(Protocol):
    """Another worker, which brings the answer."""

    def stop(self) -> None:
        """Nobody here wants it any more."""
        ...


class Reader(Protocol):
    """A client that gets the answer; or what owns it and reads nothing."""

    @property
    def winner(self) -> Bringer | None:
        """What brings the answer, where it is the owner and it has begun."""
        ...

    deadline: float
    at: int
    """Pieces that it has got."""

    def pull(self) -> None:
        """Take what is there, if it reads."""
        ...

    def cut(self) -> None:
        """What comes next for it is not held any more."""
        ...

    def watched(self, now: float) -> None:
        """Where its own client is gone, nobody else looks at the time-outs of its attempts."""
        ...


class Share:
    """One answer. To the attempt that brings it, it is the client."""

    __slots__ = (
        "_due", "_holds", "_most_bytes", "_timer", "_times", "end", "feed", "first", "framing",
        "kept", "origin", "owner", "paused", "pieces", "readers", "response", "size", "status", "tokens", "usage",
        "whole", "zipped",
    )  # fmt: skip

    def __init__(self, owner: Reader, spec: CacheSpec) -> None:
        self.owner = owner
        """Whose attempts bring it."""
        self.feed: Far | None = None
        """Where another worker does; then that is the owner."""
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
        self._most_bytes = spec.largest_bytes
        self._due = False
        self._times: list[float] | None = [] if spec.replay_pace == "recorded" else None
        self._timer: asyncio.TimerHandle | None = None
        """While the replica waits for slow readers."""
        self._holds = False

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
        self.owner.pull()
        if len(self.readers) != 1 or self.owner not in self.readers:
            self.spread()
        elif self.size > self._most_bytes:
            self._make_room()

    def spread(self) -> None:
        """Let all who follow take what is there, once this turn of the loop is over: then its end is there as well."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._spread)

    def spread_now(self) -> None:
        """The same at once."""
        self._spread()

    def _spread(self) -> None:
        self._due = False
        for reader in list(self.readers):
            if reader is not self.owner:
                reader.pull()
        if self.size > self._most_bytes and not self.whole:
            self._make_room()

    # ===== what is held of it =====

    def _make_room(self) -> None:
        """There is more than may be held, and all have been told."""
        if self._drop(self._lowest()) or self._timer is not None:
            return
        self._timer = asyncio.get_running_loop().call_later(
            PATIENCE_S if self.feed is None else FAR_PATIENCE_S, self._lose_patience
        )
        self._steer()

    def _lowest(self) -> int:
        return min([reader.at for reader in self.readers], default=self.end)

    def _drop(self, below: int) -> bool:
        """Let go of pieces before this one, as many as need be; whether that is enough."""
        pieces = self.pieces
        while self.size > self._most_bytes and len(pieces) > 1 and self.first < below:
            self.size -= len(pieces.popleft())
            self.first += 1
        return self.size <= self._most_bytes or len(pieces) <= 1

    def moved(self) -> None:
        """A reader has caught up, or is gone."""
        if self._timer is not None and self._drop(self._lowest()):
            self._timer.cancel()
            self._timer = None
            self._steer()

    def _lose_patience(self) -> None:
        """Who has not caught up is cut."""
        self._timer = None
        self._drop(self.end)
        for reader in [reader for reader in self.readers if reader.at < self.first]:
            reader.cut()
        self._steer()

    def _steer(self) -> None:
        """Let the replica wait, or go on."""
        hold = bool(self.readers) and (self.paused == len(self.readers) or self._timer is not None)
        winner = self.owner.winner
        if hold != self._holds and winner is not None:
            self._holds = hold
            if hold:
                winner.pause()
            else:
                winner.resume()

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
        self._steer()
        return True

    def leave(self, reader: Reader, *, paused: bool) -> None:
        """One less."""
        if reader in self.readers:
            del self.readers[reader]
            self.paused -= paused
            self.moved()
            self._steer()
            if self.feed is not None and not self.readers:
                self.feed.stop()

    def pauses(self) -> None:
        """A reader reads slowly."""
        self.paused += 1
        self._steer()

    def resumes(self) -> None:
        """It has caught up."""
        self.paused -= 1
        self._steer()

    @property
    def held(self) -> bool:
        """The replica waits for its clients."""
        return self._holds

    # ===== to be kept =====

    def finished(self, status: int, usage: Usage | None, tokens: int) -> None:
        """It is whole."""
        self.whole, self.status, self.usage, self.tokens = True, status, usage, tokens
        if self._timer is not None:  # nothing more comes, so nobody need be cut for what does
            self._timer.cancel()
            self._timer = None

    def ended(self, status: int, usage: Usage | None, tokens: int) -> int | None:
        """It is whole; its size if it can be kept, else None."""
        self.finished(status, usage, tokens)
        response = self.response
        if status != 200 or self.first or self.size > self._most_bytes or response is None or response.encoded:
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
            self.tokens, may_pack=may_change(response),
        )  # fmt: skip
