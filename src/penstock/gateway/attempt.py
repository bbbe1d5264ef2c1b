"""One attempt at one replica: connecting, sending the request, reading the answer's head, and every way to fail."""

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from penstock.adapters.wire.bodies import FramingError
from penstock.adapters.wire.request import HEAD_END
from penstock.adapters.wire.response import MAX_HEAD_BYTES
from penstock.base.errors import Label
from penstock.core.effects import Send
from penstock.core.events import Began, Ended
from penstock.gateway.relay import CONNECTING, EVENTS, HOLDING, OVER, RELAYING, WAITING, Relay, verdict

if TYPE_CHECKING:
    from penstock.gateway.exchange import Exchange
    from penstock.gateway.pool import Pool, Upstream

_MAX_INTERIM = 16
"""Interim answers (1xx) that are skipped."""
_MAX_RETRY_AFTER_S = 3600.0


class Attempt(Relay):
    """One attempt."""

    __slots__ = ("_interim", "_since", "conn", "number", "order", "pool", "task")

    def __init__(self, exchange: "Exchange", order: Send, pool: "Pool") -> None:
        super().__init__(exchange)
        self.order = order
        self.number = order.attempt
        self.pool = pool
        self.conn: Upstream | None = None
        self.task: asyncio.Task[None] | None = None
        """The connecting."""
        self._since = exchange.plane.tick
        self._interim = 0

    # ===== towards the replica =====

    def start(self) -> None:
        """Take an idle connection, or open one."""
        conn = self.pool.take()
        if conn is not None:
            self.connected(conn)
        else:
            self.task = self.pool.connect(self)

    def connected(self, conn: "Upstream") -> None:
        """A connection is there: send the request."""
        exchange = self.exchange
        self.task = None
        self.conn = conn
        conn.attempt = self
        self.phase = WAITING
        self._since = exchange.plane.tick
        body = exchange.request(self.order)
        request_id = exchange.head.client_id or exchange.id
        if self.number > 1:
            request_id = f"{request_id}-{self.number}"  # engines refuse an id that they may still be working on
        conn.send(self.pool.request_head(exchange.head, len(body), request_id), body)

    def drop(self) -> None:
        """Stop at once; nothing more is told."""
        self.phase = OVER
        if self.task is not None:
            self.task.cancel()
            self.task = None
        conn = self.conn
        if conn is not None:
            self.conn = None
            conn.attempt = None
            conn.transport.abort()

    def fail(self, label: Label, status: int = 0, retry_s: float | None = None) -> None:
        """The attempt has failed."""
        if self.phase != OVER:
            self.drop()
            self.exchange.failed(self, label, status, retry_s)

    def pause(self) -> None:
        """The client reads slowly: the replica must wait."""
        if self.conn is not None:
            self.conn.transport.pause_reading()

    def resume(self) -> None:
        """The client has caught up."""
        self._last = self.exchange.plane.tick
        if self.conn is not None:
            self.conn.transport.resume_reading()

    # ===== time =====

    def deadline(self) -> float:
        """When this attempt has taken too long, if nothing more comes."""
        order = self.order
        slack_s = self.exchange.plane.sweep_s
        if self.phase == CONNECTING:
            return self._since + order.connect_timeout_s + slack_s
        if self._waits_for_content():
            return self._since + order.first_byte_timeout_s + slack_s
        return self._last + order.idle_timeout_s + slack_s

    def _waits_for_content(self) -> bool:
        return self.phase == WAITING or (self.phase == HOLDING and self.mode == EVENTS)

    def expire(self, now: float) -> None:
        """Fail if the time is up."""
        if now < self.deadline():
            return
        if self.phase == CONNECTING:
            self.fail("connect_timeout")
        elif self._waits_for_content():
            self.fail("first_byte_timeout")
        else:
            self.fail("idle_timeout", self.response.status)

    # ===== from the replica =====

    def received(self, data: bytes) -> None:
        """Bytes of the replica."""
        phase = self.phase
        self._last = self.exchange.plane.tick
        try:
            if phase == RELAYING:
                self.relay(data)
            elif phase == WAITING:
                self._read_head(data)
            elif phase == HOLDING:
                self.take_body(data, 0)
        except FramingError:
            self.fail("bad_response" if self.phase == WAITING else "died_mid_answer")

    def lost(self, clean: bool) -> None:
        """The replica closed the connection."""
        conn, self.conn = self.conn, None
        if self.phase == WAITING:
            if self._pending or self._interim:
                self.fail("bad_response")
            else:
                self.fail("stale_connection" if conn is not None and conn.reused else "closed_early")
        elif self.phase != OVER and not (clean and self._reader.ends_at_close and self.end_at_close()):
            self.fail("died_mid_answer", self.response.status)

    def _read_head(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        end = data.find(HEAD_END)
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(data) > MAX_HEAD_BYTES or not b"HTTP/1.".startswith(data[:7]):
                raise FramingError("no head")
            self._pending = data
            return
        end += 4
        response = self.pool.read_head(data[:end])
        self._pending = b""
        status = response.status
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > _MAX_INTERIM:
                raise FramingError("a switch of protocols that nobody asked for")
            if end < len(data):
                self._read_head(data[end:])
            return
        self.choose_mode(response)
        label = verdict(status)
        if label is not None:
            self._fail_by_status(label, data, end)
            return
        self.phase = HOLDING
        if end < len(data) or response.length == 0:
            self.take_body(data, end)

    def _fail_by_status(self, label: Label, data: bytes, end: int) -> None:
        """The replica answered with an error that is not passed on; its connection is kept if nothing is left in it."""
        response = self.response
        if response.keep_alive and self._reader.feed(data, end, None) == len(data):
            self._give_back()
        self.fail(label, response.status, retry_after_s(response.retry_after))

    def begin(self) -> bool:
        """Tell the Gate that there is content; False: it does not want this answer any more."""
        exchange = self.exchange
        if exchange.winner is not None or exchange.inbound is None:
            return False
        exchange.plane.tell(Began(exchange.id, self.number))
        inbound = exchange.inbound
        if self.phase == OVER or inbound is None:
            return False
        self.phase = RELAYING
        exchange.winner = self
        exchange.release_body()
        self._write = inbound.write
        return True

    def finish(self, *, surplus: bool, keep: bool = True) -> None:
        """The answer is complete and passed on."""
        if self.phase == OVER:
            return
        self.phase = OVER
        if self.response.keep_alive and not surplus:
            self._give_back()
        elif self.conn is not None:
            self.conn.attempt = None
            self.conn.transport.close()
            self.conn = None
        ended = Ended(self.exchange.id, self.number, self.response.status, self.used(), max(self.relayed_tokens, 0))
        self.exchange.answered(ended, keep=keep)

    def _give_back(self) -> None:
        conn = self.conn
        if conn is not None:
            self.conn = None
            conn.attempt = None
            self.pool.give(conn)


def retry_after_s(value: bytes) -> float | None:
    """Seconds to wait, from a Retry-After header (a number or a date, RFC 9110 10.2.3); None: none that can be read."""
    if value.isdigit() and len(value) < 9:
        return min(float(value), _MAX_RETRY_AFTER_S)
    if not value:
        return None
    try:
        at_s = parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError):
        return None
    return min(max(at_s - time.time(), 0.0), _MAX_RETRY_AFTER_S)
