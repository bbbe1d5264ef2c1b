"""One client's connection: bytes in, whole requests out, one at a time and in order.

A plain class in the shape of `asyncio.Protocol` (the loop asks for no more), because this is the hot path. Whatever is
wrong with a request is answered here; what is right becomes an Exchange. After an early answer, one that has not read
the whole request, nothing more is read as HTTP: the connection drains and closes, so that the rest of a refused request
can never be taken for the next one.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial
from math import inf
from time import time
from typing import Final

from penstock.adapters.wire.malformed import Malformed
from penstock.adapters.wire.request import HEAD_END, check_start
from penstock.base.errors import REFUSALS, Label
from penstock.gateway.call.answers import CONTINUE, error_page, local_page, packed_page, patience_s
from penstock.gateway.client.backlog import Backlog
from penstock.gateway.client.head import Head, Memory
from penstock.gateway.client.upload import Upload
from penstock.gateway.plane import Conversation, House

HEAD: Final = 0
BODY: Final = 1
BUSY: Final = 2
LINGER: Final = 3
CLOSED: Final = 4

LINGER_S: Final = 2.0
"""How long a refused request's rest is read and thrown away, so that its sender can read the answer: a close with
unread bytes would reset the connection."""
LINGER_BYTES: Final = 4 << 20
MAX_AHEAD_BYTES: Final = 64 << 10
"""Bytes of further requests that are taken in while one is being answered; then the client waits."""
_RESET: Final = struct.pack("ii", 1, 0)


class Inbound:
    """A client's connection."""

    __slots__ = (
        "_ahead_paused", "_buffer", "_head", "_memory", "_pulse", "_running", "_scanned", "_taken", "_unread",
        "_upload", "deadline", "exchange", "paused", "peer", "plane", "state", "transport", "write",
    )  # fmt: skip

    transport: asyncio.Transport
    write: Callable[[bytes], None]

    def __init__(self, plane: House["Inbound"]) -> None:
        self.plane = plane
        self._pulse = plane.pulse
        self.state = HEAD
        self.deadline = inf
        self.exchange: Conversation | None = None
        self.paused = False
        """The client reads slower than we write."""
        self._buffer = b""
        self._scanned = 0
        self._memory = Memory()
        self._head: Head | None = None
        self._upload: Upload | None = None
        """The body of the request that is being read, where it did not come in one piece with its head."""
        self._taken = 0
        self._unread: Backlog | None = None
        self._running = False
        self._ahead_paused = False

    # ===== called by the loop =====

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is here."""
        self.transport = transport
        plane = self.plane
        self.write = partial(plane.outbox.post, transport)
        self.peer = plane.peer(transport)
        self.deadline = self._pulse.now + self._pulse.keep_alive_s
        refusal = plane.admit(self)
        if refusal is not None:
            self._refuse_early(refusal)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        state = self.state
        if state == HEAD:
            if self._buffer:
                self._buffer += data
            else:
                self._buffer = data
                self.deadline = self._pulse.now + self._pulse.request_head_s
            if self.paused:
                self._hold_back()
            elif not self._running:
                self.run()
        elif state == BODY:
            self._take_body(data, 0)
            if self.state == HEAD:
                self.run()
        elif state == BUSY:
            self._buffer += data
            self._hold_back()
        elif state == LINGER:
            self._taken += len(data)
            if self._taken > LINGER_BYTES:
                self.transport.abort()

    def _hold_back(self) -> None:
        """Take no more in than so much that cannot be turned to now."""
        if len(self._buffer) > MAX_AHEAD_BYTES and not self._ahead_paused:
            self._ahead_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The client closed its side. With a request under way it has left; half-open clients are not waited for."""
        if self.exchange is not None:
            self._gone()
            self.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.state = CLOSED
        self.deadline = inf
        if self.exchange is not None:
            self._gone()
        self._drop_upload()
        self._buffer = b""
        self.plane.lost(self)

    def pause_writing(self) -> None:
        """The client reads slower than we write: its replica must wait."""
        self.paused = True
        self._unread = Backlog(self._pulse.now, self.transport.get_write_buffer_size())
        self.deadline = min(self.deadline, self._pulse.now + self._pulse.send_s)
        if self.exchange is not None:
            self.exchange.pause()

    def resume_writing(self) -> None:
        """The client has read what was waiting."""
        self.paused = False
        self._unread = None
        if self.exchange is not None:
            self.exchange.resume()
        elif self.state in (HEAD, BODY) and not self._running:
            self._go_on()

    # ===== requests =====

    def run(self) -> None:
        """Take whole requests out of the buffer while the connection is free for one."""
        self._running = True
        try:
            while self.state == HEAD and self._buffer and not self.paused and self._take_request():
                pass
        except Malformed as error:
            self._refuse_early(error.label, error.detail, error.param)
        finally:
            self._running = False

    def _take_request(self) -> bool:
        """Take one request; False: it is not whole yet. Raises Malformed."""
        data = self._buffer
        plane = self.plane
        server = plane.server
        end = data.find(HEAD_END, self._scanned)
        if end <= 0:
            return self._wait_for_head(data)
        self._scanned = 0
        if end + 4 > self._pulse.head_bytes:
            raise Malformed("head_too_large")
        if data.startswith(b"\r\n"):
            self._buffer = data[2:]
            return True
        end += 4
        head, length = self._memory.read(data[:end], self.peer, server)
        self._head = head
        refusal = head.refusal if head.expires_at is None else head.refused(time())
        if refusal is not None:
            label, detail = refusal
            if length or head.chunked:
                raise Malformed(label, detail)
            self._buffer = data[end:]
            self.refuse(label, detail)
            return True
        if length > self._pulse.body_bytes:
            raise Malformed("body_too_large", f"The request body is larger than {self._pulse.body_bytes} bytes.")
        if self._pulse.draining and head.route.local is None:
            raise Malformed("shutting_down")
        if len(data) - end >= length and not head.chunked:
            stop = end + length
            self._buffer = data[stop:]
            self._arrived(head, data[end:stop])
            return True
        self._buffer = b""
        self._upload = Upload(length, server.limits, self._pulse.now, chunked=head.chunked)
        self.state = BODY
        self._take_body(data, end)
        return True

    def _wait_for_head(self, data: bytes) -> bool:
        if data in (b"\r", b"\r\n"):
            return False  # an empty line before a request is forgiven (RFC 9112 2.2)
        at = 2 if data.startswith(b"\r\n") else 0
        check_start(data, at, max(self._scanned, at))
        if len(data) - at > self._pulse.head_bytes:
            raise Malformed("head_too_large")
        self._scanned = max(at, len(data) - 3)
        return False

    def _take_body(self, data: bytes, at: int) -> None:
        """More of a body that came in pieces."""
        upload = self._upload
        assert upload is not None
        try:
            rest = self._feed(upload, data, at)
            if rest < 0:
                return
            body = upload.whole()
            self._drop_upload()
            self._buffer = data[rest:]
            self.state = HEAD
            assert self._head is not None
            self._arrived(self._head, body)
        except Malformed as error:
            self._refuse_early(error.label, error.detail, error.param)

    def _feed(self, upload: Upload, data: bytes, at: int) -> int:
        """The index behind the body's last byte; -1: there must be more. Raises Malformed."""
        plane = self.plane
        before = upload.size
        try:
            rest = upload.feed(data, at)
        finally:
            plane.buffered_bytes += upload.size - before
        if plane.buffered_bytes > plane.server.limits.buffered_bytes:
            raise Malformed("overloaded")
        if rest < 0:
            self.deadline = upload.deadline(plane.timeouts.request_body_s, self._pulse.now)
            if not before and len(data) == at and self._head is not None and self._head.expect:
                self.write(CONTINUE)
        return rest

    def _drop_upload(self) -> None:
        if self._upload is not None:
            self.plane.buffered_bytes -= self._upload.size
            self._upload = None

    def _arrived(self, head: Head, body: bytes) -> None:
        """A whole request. What is wrong with its body is answered and the connection kept: its end is known."""
        if head.route.local is not None:
            self._answer_local(head)
            return
        try:
            self.state = BUSY
            self.deadline = inf
            self.plane.arrived(self, head, body)
        except Malformed as error:
            self.state = HEAD
            self.refuse(error.label, error.detail, error.param)

    # ===== answers =====

    def _answer_local(self, head: Head) -> None:
        plane = self.plane
        status, body = local_page(head, plane.models, lambda: plane.ready() and not self._pulse.draining)
        if status == 404:
            self.refuse("model_not_found")
            return
        self.write(packed_page(status, body, plane.server.compression, head))
        self.answered(head.keep_alive)

    def refuse(self, label: Label, detail: str = "", param: str | None = None) -> None:
        """Answer a request that was read whole with an error; the connection is kept."""
        head = self._head
        keep = head is not None and head.keep_alive and not self._pulse.draining
        self.plane.count_refusal(label)
        row = REFUSALS[label]
        head_only = head is not None and head.head_only
        self.write(
            error_page(
                label, row.http, detail=detail, param=param, close=not keep, head_only=head_only,
                retry_after_s=patience_s(row), lines=b"" if head is None else head.allow,
            )
        )  # fmt: skip
        self.answered(keep)

    def _refuse_early(self, label: Label, detail: str = "", param: str | None = None) -> None:
        """Answer before the request was read whole: nothing more of this connection is taken for a request."""
        if self.state in (LINGER, CLOSED):
            return
        row = REFUSALS[label]
        self.plane.count_refusal(label)
        self._drop_upload()
        self._buffer = b""
        self.write(error_page(label, row.http, detail=detail, param=param, close=True, retry_after_s=patience_s(row)))
        self._linger()

    def _linger(self) -> None:
        self.state = LINGER
        self.exchange = None
        self._taken = 0
        self.deadline = self._pulse.now + LINGER_S
        self.plane.outbox.flush()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        if self._ahead_paused:
            self._ahead_paused = False
            self.transport.resume_reading()

    def answered(self, keep: bool) -> None:
        """The answer is written: on to the next request, or close."""
        self.exchange = None
        if self.state == CLOSED:
            return
        plane = self.plane
        if not keep or self._pulse.draining:
            self.state = LINGER
            self._taken = 0
            self.deadline = self._pulse.now + self._pulse.send_s
            self._buffer = b""
            plane.outbox.flush()
            self.transport.close()
            return
        self.state = HEAD
        if not self.paused:
            self._unread = None
        self.deadline = self._pulse.now + (self._pulse.send_s if self.paused else self._pulse.keep_alive_s)
        if not self._running and (self._buffer or self._ahead_paused):
            self._go_on()

    def _go_on(self) -> None:
        """Turn to the requests that came ahead of their turn."""
        if self._buffer:
            self.deadline = self._pulse.now + self._pulse.request_head_s
            self.run()
        if self._ahead_paused and not self.paused and self.state in (HEAD, BODY):
            self._ahead_paused = False
            self.transport.resume_reading()

    def _gone(self) -> None:
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.client_gone()

    def cut(self, *, reset: bool) -> None:
        """End the connection so that the client cannot take what it has for a whole answer. `reset` where a plain close
        would be a clean end (an answer of HTTP/1.0, which ends with its connection)."""
        self.exchange = None
        if self.state == CLOSED:
            return
        self.state = LINGER
        self.deadline = self._pulse.now + LINGER_S
        self.plane.outbox.flush()
        sock = self.transport.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def close_if_idle(self) -> None:
        """Close, unless a request is under way or an answer waits to be read."""
        if self.state == HEAD and not self._buffer:
            self.answered(False)

    # ===== time =====

    def unread_deadline(self, now: float) -> float:
        """When to look again at a client for which bytes wait; one that is stuck is cut."""
        send_s, waiting = self._pulse.send_s, self.transport.get_write_buffer_size()
        if self._unread is None:
            self._unread = Backlog(now, waiting)
        elif self._unread.stuck(now, waiting, send_s):
            self.transport.abort()
            return now + LINGER_S
        return now + send_s

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        state = self.state
        if state == BUSY:
            if self.exchange is not None:
                self.deadline = self.exchange.expire(now)
        elif state == HEAD:
            if self.transport.get_write_buffer_size():
                self.deadline = self.unread_deadline(now)
            elif self._buffer.strip():
                self._refuse_early("request_timeout")
            else:
                self.transport.close()
                self.deadline = now + LINGER_S
                self.state = LINGER
        elif state == BODY:
            self._refuse_early("request_timeout")
        else:
            self.transport.abort()
