"""One request on one connection: from its first byte sent to the end of its answer, with a limit on every wait.

Knows the phases of an answer and their timeouts; the connection (`wire`) tells it what was read and when.
"""

import asyncio
from collections.abc import Callable

import msgspec

from penstock.loadgen.answer import Answer, clean, read_body, read_event
from penstock.loadgen.sse import EventSplitter, EventTooLarge

MAX_BODY_BYTES = 16 << 20
REPLICA_HEADER = b"x-penstock-replica"

Clock = Callable[[], float]


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long a request may wait, by phase, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    """From sending to the first byte of the answer."""
    idle_s: float = 120.0
    """Between two reads of an answer that has begun."""
    total_s: float = 600.0
    """For everything."""


class Exchange:
    """Listens to one answer. `done` is resolved exactly once; `answer.error` tells how it went."""

    __slots__ = (
        "_body", "_clock", "_loop", "_read_at", "_sent_at", "_splitter", "_timeouts", "_timer", "answer", "done",
    )  # fmt: skip

    def __init__(self, answer: Answer, timeouts: Timeouts, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.answer = answer
        self.done: asyncio.Future[None] = loop.create_future()
        self._timeouts, self._clock, self._loop = timeouts, clock, loop
        self._sent_at = self._read_at = clock()
        self._splitter: EventSplitter | None = None
        self._body = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._watch()

    @property
    def over(self) -> bool:
        """Whether it has its end."""
        return self.done.done()

    # ===== what the connection tells =====

    def on_bytes(self, at: float) -> None:
        """Something was read."""
        self._read_at = at
        if self.answer.first_byte_at is None:
            self.answer.first_byte_at = at
            self.close()
            self._watch()  # from here on the idle limit holds, which may be much shorter than the first one

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The answer's head is complete (names in lower case)."""
        self.answer.status = status
        replica = headers.get(REPLICA_HEADER)
        if replica:
            self.answer.replica = clean(replica.decode("latin-1"))
        if status == 200 and headers.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
            self._splitter = EventSplitter()

    def on_body(self, chunk: bytes) -> None:
        """A part of the body, read at the time of the last `on_bytes`."""
        if self._splitter is None:
            self._body += chunk
            if len(self._body) > MAX_BODY_BYTES:
                self.fail("body_too_large")
            return
        try:
            for data in self._splitter.feed(chunk):
                read_event(self.answer, data, self._read_at)
        except EventTooLarge:
            self.fail("event_too_large")

    def on_complete(self) -> None:
        """The HTTP message is whole."""
        answer = self.answer
        if self._splitter is None:
            read_body(answer, bytes(self._body), self._read_at)
        elif not answer.finished and not answer.error:
            answer.error = "truncated"
        elif answer.finished and not answer.pieces and not answer.output_tokens:
            answer.error = "empty"
        self._end()

    def fail(self, kind: str) -> None:
        """It ends here, for this reason, unless all of it had come already."""
        if self.over:
            return
        if not self.answer.finished and not self.answer.error:
            self.answer.error = kind
        self._end()

    def on_lost(self, kind: str) -> None:
        """The connection is gone. `kind` holds where no answer had begun."""
        self.fail("truncated" if self.answer.status else kind)

    # ===== time =====

    def _end(self) -> None:
        if not self.answer.finished:
            self.answer.ended_at = self._clock()
        self.close()
        if not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        """Stop the clock; for whoever gives up on it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """One timer for all limits: when it rings too early because something was read, it is set again."""
        now, limit = self._clock(), self._timeouts
        total_at = self.answer.started_at + limit.total_s
        if self.answer.first_byte_at is None:
            phase_at, kind = self._sent_at + limit.first_byte_s, "first_byte_timeout"
        else:
            phase_at, kind = self._read_at + limit.idle_s, "idle_timeout"
        if now >= min(total_at, phase_at):
            self.fail("total_timeout" if total_at <= phase_at else kind)
        else:
            self._timer = self._loop.call_later(min(total_at, phase_at) - now + 0.001, self._watch)
