"""One attempt at one replica, from the request's first byte to the answer's last, and every way to fail between."""

import asyncio
from collections.abc import Callable
from typing import Final

from penstock.adapters.wire import sse
from penstock.adapters.wire.bodies import FramingError
from penstock.adapters.wire.malformed import Malformed
from penstock.adapters.wire.request import HEAD_END
from penstock.adapters.wire.response import MAX_HEAD_BYTES, UNTIL_CLOSE, ResponseHead
from penstock.adapters.wire.usage import TAIL_BYTES, usage_in
from penstock.base.errors import Label
from penstock.base.nouns import Usage
from penstock.core.effects import Send
from penstock.core.events import Began, Ended
from penstock.gateway.call.owner import Owner
from penstock.gateway.call.packing import framed
from penstock.gateway.call.relay import HOLD_WHOLE_BYTES, Body, EventRelay, PlainRelay
from penstock.gateway.call.verdict import retry_after_s, verdict
from penstock.gateway.fleet.pool import Pool, Seeker, Upstream

CONNECTING: Final = 0
WAITING: Final = 1
HOLDING: Final = 2
RELAYING: Final = 3
OVER: Final = 4

_MAX_INTERIM: Final = 16
"""Interim answers (1xx) that are skipped."""


class Attempt(Seeker):
    """One attempt."""

    __slots__ = (
        "_interim", "_last", "_pending", "_since", "_write", "body", "conn", "exchange", "number", "order", "phase",
        "pool", "pulse", "response",
    )  # fmt: skip

    response: ResponseHead
    _write: Callable[[bytes], None]

    def __init__(self, exchange: "Owner[Attempt]", order: Send, pool: Pool) -> None:
        self.exchange = exchange
        self.pulse = exchange.pulse
        self.order = order
        self.number = order.attempt
        self.pool = pool
        self.phase = CONNECTING
        self.conn: Upstream | None = None
        self.task: asyncio.Task[None] | None = None
        """The connecting."""
        self.body: Body | None = None
        """The answer's body, where it did not come in one piece with its head."""
        self._since = self.pulse.now
        self._pending = b""
        """A head that is not whole yet."""
        self._interim = 0

    # ===== towards the replica =====

    def start(self) -> None:
        """Take an idle connection, or open one."""
        conn = self.pool.take()
        if conn is not None:
            self.connected(conn)
        else:
            self.task = self.pool.connect(self)
            self._watch()

    def connected(self, conn: Upstream) -> None:
        """A connection is there: send the request."""
        exchange = self.exchange
        self.task = None
        self.conn = conn
        conn.attempt = self
        self.phase = WAITING
        self._since = self.pulse.now
        try:
            body = exchange.request(self.order)
        except Malformed:
            self.fail("bad_request", 400)
            return
        request_id = exchange.head.client_id or exchange.id
        if self.number > 1:
            request_id = f"{request_id}-{self.number}"  # engines refuse an id that they may still be working on
        conn.send(self.pool.request_head(exchange.head, len(body), request_id), body)
        inbound = exchange.client
        if inbound is not None:
            due = self._since + self.order.first_byte_timeout_s + self.pulse.sweep_s
            if due < inbound.deadline:
                inbound.deadline = due

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
        self._last = self.pulse.now
        if self.conn is not None:
            self.conn.transport.resume_reading()

    @property
    def relayed_tokens(self) -> int:
        """Events with content that went to the client."""
        body = self.body
        return 0 if body is None or self.phase == HOLDING else max(body.relayed_tokens, 0)

    @property
    def can_take_event(self) -> bool:
        """The client's stream stands between two events: an error event can be put in."""
        return self.body is not None and self.body.can_take_event

    # ===== time =====

    def deadline(self) -> float:
        """When this attempt has taken too long, if nothing more comes."""
        order = self.order
        slack_s = self.pulse.sweep_s
        if self.phase == CONNECTING:
            return self._since + order.connect_timeout_s + slack_s
        if self._waits_for_content():
            return self._since + order.first_byte_timeout_s + slack_s
        return self._last + order.idle_timeout_s + slack_s

    def _watch(self) -> None:
        """Another time-out holds from now on: have it looked at in time."""
        inbound = self.exchange.client
        if inbound is not None:
            inbound.deadline = min(inbound.deadline, self.deadline())

    def _waits_for_content(self) -> bool:
        return self.phase == WAITING or (self.phase == HOLDING and type(self.body) is EventRelay)

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
        try:
            if phase == RELAYING:
                self._last = self.pulse.now
                body = self.body
                assert body is not None
                out = body.feed(data, 0)
                if out:
                    self._write(out)
                if body.done:
                    self._finish(body.used(), surplus=body.surplus)
            elif phase == WAITING:
                self._read_head(data)
            elif phase == HOLDING:
                self._hold(data, 0)
        except FramingError:
            self.fail("bad_response" if self.phase == WAITING else "died_mid_answer")

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
        self.response = response
        if response.status != 200 and not self._is_answer(response, data, end):
            return
        have = len(data) - end
        if response.content_type == b"text/event-stream" and response.length and not response.encoded:
            self._pending = b""
            self._hold_in(EventRelay(response, http10=self.exchange.http10, strip=self.exchange.wants_usage), data, end)
        elif response.length != have or have > HOLD_WHOLE_BYTES:
            self._pending = b""
            self._hold_in(PlainRelay(response, http10=self.exchange.http10, hold=self._may_hold(response)), data, end)
        else:
            self._answer(data[end:])

    def _may_hold(self, response: ResponseHead) -> bool:
        plane = self.exchange.plane
        return (
            response.content_type == b"application/json"
            and plane.buffered_bytes <= plane.server.limits.buffered_bytes
        )  # fmt: skip

    def _is_answer(self, response: ResponseHead, data: bytes, end: int) -> bool:
        """What a status other than 200 means. False: it was dealt with."""
        status = response.status
        if status < 200:
            self._interim += 1
            self._pending = b""
            if status == 101 or self._interim > _MAX_INTERIM:
                raise FramingError("a switch of protocols that nobody asked for")
            if end < len(data):
                self._read_head(data[end:])
            return False
        label = verdict(status)
        if label is None:
            return True
        if response.keep_alive and response.reader().feed(data, end, None) == len(data):
            self._give_back()  # the whole error is here: the connection can be used again
        self.fail(label, status, retry_after_s(response.retry_after))
        return False

    def _hold_in(self, body: Body, data: bytes, at: int) -> None:
        self.body = body
        self.phase = HOLDING
        self._last = self.pulse.now
        self._watch()
        if at < len(data) or self.response.length == 0:
            self._hold(data, at)

    def _hold(self, data: bytes, at: int) -> None:
        """More of an answer of which nothing was passed on yet."""
        self._last = self.pulse.now
        body = self.body
        assert body is not None
        out = body.feed(data, at)
        if body.begun:
            self._pass_on(body, out)
        elif body.failure:
            self._engine_error(body.failure)

    def _pass_on(self, body: Body, out: bytes) -> None:
        """There is content: the head goes out, and what was held behind it."""
        if body.done and type(body) is PlainRelay and not body.surplus:
            self._answer(out)
        elif self._begin():
            self._write(self.exchange.answer_head(self.response, body.framing) + out)
            if body.done:
                self._finish(body.used(), surplus=body.surplus)
            else:
                self._watch()
                if self.exchange.slow:
                    self.pause()

    def _answer(self, body: bytes) -> None:
        """The whole answer is here: that it began is not told apart from its end."""
        response = self.response
        usage = usage_in(body[-TAIL_BYTES:]) if response.status == 200 else None
        if not self._take_client():
            return
        exchange = self.exchange
        framing, body = framed(response, body, exchange.plane.server.compression, exchange.gzip)
        self._write(exchange.answer_head(response, framing) + body)
        self._finish(usage, surplus=False)

    def _engine_error(self, event: bytes) -> None:
        """A stream that begins with the engine's failure never was one. A client's mistake becomes a plain answer."""
        status = sse.status_of_error(event)
        label = verdict(status) if status else "upstream_5xx"
        if label is not None:
            self.fail(label, status)
        elif self._begin():
            self.exchange.answer_instead(status, sse.data_of(event))
            self._finish(None, surplus=True, status=status)

    def _begin(self) -> bool:
        """Tell the Gate that there is content; False: the answer is not wanted any more."""
        exchange = self.exchange
        if exchange.winner is not None or exchange.client is None:
            return False
        exchange.plane.tell(Began(exchange.id, self.number))
        return self._take_client()

    def _take_client(self) -> bool:
        """From now on the client's connection is for this attempt; False: it is not to be had."""
        exchange = self.exchange
        inbound = exchange.client
        if exchange.winner is not None or inbound is None or self.phase == OVER:
            return False
        self.phase = RELAYING
        exchange.winner = self
        exchange.release_body()
        self._write = inbound.write
        return True

    def _finish(self, usage: Usage | None, *, surplus: bool, status: int = 0) -> None:
        """The answer is complete and passed on."""
        if self.phase == OVER:
            return
        tokens = self.relayed_tokens if self.body is not None else 0
        self.phase = OVER
        if self.response.keep_alive and not surplus:
            self._give_back()
        elif self.conn is not None:
            self.conn.attempt = None
            self.conn.transport.close()
            self.conn = None
        exchange = self.exchange
        exchange.answered(Ended(exchange.id, self.number, status or self.response.status, usage, tokens))

    def _give_back(self) -> None:
        conn = self.conn
        if conn is not None:
            self.conn = None
            conn.attempt = None
            self.pool.give(conn)

    def lost(self, clean: bool) -> None:
        """The replica closed the connection."""
        conn, self.conn = self.conn, None
        if self.phase == WAITING:
            if self._pending or self._interim:
                self.fail("bad_response")
            else:
                self.fail("stale_connection" if conn is not None and conn.reused else "closed_early")
        elif self.phase != OVER:
            self._end_at_close(clean)

    def _end_at_close(self, clean: bool) -> None:
        """The connection closed with an answer under way: its end only where nothing else says where it ends."""
        body = self.body
        assert body is not None
        out = body.close() if clean and self.response.length == UNTIL_CLOSE else None
        if out is None:
            self.fail("died_mid_answer", self.response.status)
        elif self.phase == HOLDING:
            self._pass_on(body, out)
        else:
            if out:
                self._write(out)
            self._finish(body.used(), surplus=True)
