"""An answer's body on its way from a replica to the client.

Nothing is passed on before there is content: until then whatever goes wrong is told to the Gate, which may try
elsewhere. A plain JSON answer is held until it is whole (bounded), so that it is never half delivered. After that bytes
pass through: of event streams only whole events, so that an error can be told in the stream's own language at any time.
"""

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from penstock.adapters.wire import sse
from penstock.adapters.wire.bodies import LAST_CHUNK, MORE, Chunked, Reader, chunk
from penstock.adapters.wire.response import ResponseHead
from penstock.adapters.wire.usage import TAIL_BYTES, usage_in
from penstock.base.errors import Label
from penstock.base.nouns import Usage

if TYPE_CHECKING:
    from penstock.gateway.exchange import Exchange

CONNECTING, WAITING, HOLDING, RELAYING, OVER = range(5)
EVENTS, WHOLE, COUNTED, RECODED = range(4)
"""Ways to pass a body on: event by event; all at once; as it comes, its length known; as it comes, framed anew."""

HOLD_EVENTS_BYTES = 64 << 10
"""Events without content that are held before an answer counts as begun all the same."""
HOLD_WHOLE_BYTES = 256 << 10
"""A JSON answer up to this size reaches the client whole or not at all."""
MAX_EVENT_BYTES = 256 << 10
"""A larger event is passed on in pieces."""
MIN_GZIP_BYTES = 16 << 10
"""Below this, compressing costs more than it saves."""
_TAIL_PIECES = 8
_EVENT_ENDS = (b"\n\n\r\n", b"\r\n\r\n\r\n")
"""How a read ends that holds whole events in whole chunks."""
_NO_CHOICES = b"[]"
"""Stands in the chunk that only tells the usage (`"choices":[]`) and seldom elsewhere: a cheap first test."""


class Relay:
    """One answer's body."""

    __slots__ = (
        "_aligned", "_held", "_last", "_pending", "_pieces", "_reader", "_separator", "_strip", "_tail", "_usage",
        "_write", "can_take_event", "exchange", "mode", "phase", "relayed_tokens", "response",
    )  # fmt: skip

    response: ResponseHead
    _reader: Reader
    _write: Callable[[bytes], None]

    def __init__(self, exchange: "Exchange") -> None:
        self.exchange = exchange
        self.phase = CONNECTING
        self.mode = WHOLE
        self.relayed_tokens = 0
        self.can_take_event = False
        """The client's stream stands between two events: an error event can be put in."""
        self._last = 0.0
        self._pending = b""
        """Bytes of a head, or of an event, that is not whole yet."""
        self._held = b""
        """Events without content, before the answer has begun."""
        self._pieces: list[bytes] = []
        self._tail: list[bytes] = []
        """The last pieces of a stream: its usage stands there."""
        self._aligned = False
        """All that came was whole chunks of whole events, and has been passed on."""
        self._separator = b"\n\n"
        self._strip = exchange.wants_usage
        self._usage: Usage | None = None

    # ===== what an attempt adds =====

    def begin(self) -> bool:
        """Tell that there is content; False: the answer is not wanted any more."""
        raise NotImplementedError

    def finish(self, *, surplus: bool, keep: bool = True) -> None:
        """The answer is complete. `surplus`: bytes followed it; `keep`: the client's connection can be used again."""
        raise NotImplementedError

    def fail(self, label: Label, status: int = 0, retry_s: float | None = None) -> None:
        """The attempt has failed."""
        raise NotImplementedError

    # ===== before anything was passed on =====

    def choose_mode(self, response: ResponseHead) -> None:
        """Decide by its head how the body is passed on."""
        self.response = response
        self._reader = response.reader()
        if response.content_type == b"text/event-stream" and not response.encoded:
            self.mode = EVENTS
        elif response.content_type == b"application/json" or response.length == 0:
            self.mode = WHOLE
        else:
            self.mode = COUNTED if response.length > 0 else RECODED

    def take_body(self, data: bytes, at: int) -> None:
        """Bytes of a body of which nothing was passed on yet. Raises FramingError."""
        mode = self.mode
        if mode == WHOLE:
            self._hold_whole(data, at)
        elif mode == EVENTS:
            self._hold_events(data, at)
        elif self.begin():
            self._write(self._head())
            self.relay(data[at:])

    def _head(self) -> bytes:
        """The head of an answer whose end is not known yet."""
        if self.mode == COUNTED:
            return self.exchange.answer_head(self.response, b"content-length: %d\r\n" % self.response.length)
        framing = b"" if self.exchange.head.http10 else b"transfer-encoding: chunked\r\n"
        return self.exchange.answer_head(self.response, framing)

    def _hold_whole(self, data: bytes, at: int) -> None:
        pieces = self._pieces
        end = self._reader.feed(data, at, pieces)
        if end >= 0:
            self._answer_whole(pieces[0] if len(pieces) == 1 else b"".join(pieces), surplus=end < len(data))
            return
        plane = self.exchange.plane
        if sum(map(len, pieces)) <= HOLD_WHOLE_BYTES and plane.buffered_bytes <= plane.server.limits.buffered_bytes:
            return
        self._pieces = []
        if self.begin():
            self.mode = COUNTED if self.response.length > 0 else RECODED
            body = b"".join(pieces)
            plain = self.mode == COUNTED or self.exchange.head.http10
            self._write(self._head() + (body if plain else chunk(body)))
            self._keep_tail(body)

    def _answer_whole(self, body: bytes, *, surplus: bool) -> None:
        exchange = self.exchange
        response = self.response
        if response.status < 300:
            self._usage = usage_in(body[-TAIL_BYTES:])
        if not self.begin():
            return
        framing = b"content-length: %d\r\n"
        if len(body) >= MIN_GZIP_BYTES and exchange.head.gzip and not response.encoded:
            framing = b"content-encoding: gzip\r\nvary: accept-encoding\r\ncontent-length: %d\r\n"
            body = zlib.compress(body, 1, 31)
        self._write(exchange.answer_head(response, framing % len(body)) + body)
        self.finish(surplus=surplus)

    def _hold_events(self, data: bytes, at: int) -> None:
        pieces: list[bytes] = []
        end = self._reader.feed(data, at, pieces)
        payload = self._pending + b"".join(pieces)
        cut = len(payload) if end >= 0 else sse.last_end(payload)
        self._pending = payload[cut:]
        payload = payload[:cut]
        found = False
        if payload:
            self._separator = sse.separator(payload)
            for event in sse.split(payload):
                kind = sse.kind_of(event)
                if kind == "error":
                    self._engine_error(event)
                    return
                found = kind == "content"
                if found:
                    break
        if found or end >= 0 or len(self._held) + len(payload) + len(self._pending) > HOLD_EVENTS_BYTES:
            self._begin_events(payload, end, surplus=0 <= end < len(data))
        else:
            self._held += payload

    def _begin_events(self, payload: bytes, end: int, *, surplus: bool) -> None:
        if not self.begin():
            return
        held, self._held = self._held, b""
        payload = held + payload
        if self.exchange.head.path == "/v1/messages":
            self._usage = usage_in(payload)  # Anthropic tells the prompt's tokens at the start
        self.can_take_event = True
        self._aligned = end == MORE and not self._pending and self._may_pass()
        body = self._framed(payload, last=end >= 0)
        self.relayed_tokens -= held.count(self._separator)
        self._write(self._head() + body)
        if end >= 0:
            self.finish(surplus=surplus)

    def _engine_error(self, event: bytes) -> None:
        """A stream that begins with the engine's failure never was an answer."""
        status = sse.status_of_error(event)
        label = verdict(status) if status else "upstream_5xx"
        if label is not None:
            self.fail(label, status)
        elif self.begin():
            self.exchange.answer_instead(status, sse.data_of(event))
            self.finish(surplus=True)

    # ===== afterwards =====

    def relay(self, data: bytes) -> None:
        """More of a body that has begun to pass. Raises FramingError."""
        if self.mode == EVENTS:
            self._relay_events(data)
        elif self.mode == COUNTED:
            end = self._reader.feed(data, 0, None)
            self._write(data if end < 0 else data[:end])
            self._keep_tail(data)
            if end >= 0:
                self.finish(surplus=end < len(data))
        else:
            self._relay_recoded(data)

    def _relay_recoded(self, data: bytes) -> None:
        pieces: list[bytes] = []
        end = self._reader.feed(data, 0, pieces)
        body = b"".join(pieces)
        self._keep_tail(body)
        if not self.exchange.head.http10:
            body = (chunk(body) if body else b"") + (LAST_CHUNK if end >= 0 else b"")
        if body:
            self._write(body)
        if end >= 0:
            self.finish(surplus=end < len(data))

    def _relay_events(self, data: bytes) -> None:
        """The hottest path: a read of whole chunks of whole events passes as it is."""
        reader = self._reader
        if self._aligned:
            end = reader.feed(data, 0, None)
            if not self._strip or _NO_CHOICES not in data:
                if end == MORE and data.endswith(_EVENT_ENDS):
                    self.relayed_tokens += data.count(self._separator)
                    self._keep_tail(data)
                    self._write(data)
                    return
                if end >= 0:
                    self._pass_last(data, end)
                    return
            reader.rewind()  # type: ignore[union-attr]
        self._relay_pieces(data)

    def _pass_last(self, data: bytes, end: int) -> None:
        surplus = end < len(data)
        if surplus:
            data = data[:end]
        self.relayed_tokens += data.count(self._separator)
        self._keep_tail(data)
        self._write(data)
        self.finish(surplus=surplus)

    def _relay_pieces(self, data: bytes) -> None:
        """Pass on what is whole, keep the rest of an event until it is."""
        pieces: list[bytes] = []
        end = self._reader.feed(data, 0, pieces)
        payload = self._pending + b"".join(pieces)
        cut = len(payload) if end >= 0 else sse.last_end(payload)
        self.can_take_event = True
        if len(payload) - cut > MAX_EVENT_BYTES:
            cut = len(payload)
            self.can_take_event = False
        self._pending = payload[cut:]
        self._aligned = end == MORE and not self._pending and self.can_take_event and self._may_pass()
        body = self._framed(payload[:cut], last=end >= 0)
        if body:
            self._write(body)
        if end >= 0:
            self.finish(surplus=end < len(data))

    def _may_pass(self) -> bool:
        return type(self._reader) is Chunked and not self.exchange.head.http10

    def _framed(self, payload: bytes, *, last: bool) -> bytes:
        """Whole events as the client gets them: without the usage that it did not ask for."""
        if self._strip and _NO_CHOICES in payload:
            payload = self._without_usage(payload)
        self.relayed_tokens += payload.count(self._separator)
        if payload:
            self._keep_tail(payload)
        if self.exchange.head.http10:
            return payload
        return (chunk(payload) if payload else b"") + (LAST_CHUNK if last else b"")

    def _without_usage(self, payload: bytes) -> bytes:
        kept: list[bytes] = []
        for event in sse.split(payload):
            usage = sse.usage_alone(event) if _NO_CHOICES in event else None
            if usage is None:
                kept.append(event)
            else:
                self._usage = usage
        return b"".join(kept)

    # ===== the end =====

    def end_at_close(self) -> bool:
        """The connection closed, and the body's framing has no other end. False: it does not look complete."""
        if self.phase == HOLDING and self.mode == WHOLE:
            body = b"".join(self._pieces)
            if not _is_json(body):
                return False
            self._answer_whole(body, surplus=True)
            return True
        if self.mode == EVENTS:
            return self._end_events_at_close()
        if not self.exchange.head.http10:
            self._write(LAST_CHUNK)
        self.finish(surplus=True, keep=False)
        return True

    def _end_events_at_close(self) -> bool:
        rest, self._pending = self._pending, b""
        if not sse.ended(b"".join(self._tail)[-TAIL_BYTES:] + rest):
            return False
        if self.phase == HOLDING:
            self._begin_events(rest, 0, surplus=True)
            return True
        body = self._framed(rest, last=True)
        if body:
            self._write(body)
        self.finish(surplus=True)
        return True

    def used(self) -> Usage | None:
        """What the call used, as the engine told it at the end of the answer."""
        first = self._usage
        if not self._tail or (first is not None and first.completion_tokens):
            return first
        last = usage_in(b"".join(self._tail)[-TAIL_BYTES:])
        if first is None or last is None:
            return last or first
        return Usage(
            last.prompt_tokens or first.prompt_tokens, last.completion_tokens, last.cached_tokens or first.cached_tokens
        )

    def _keep_tail(self, data: bytes) -> None:
        tail = self._tail
        if len(data) >= TAIL_BYTES:
            tail.clear()
            data = data[-TAIL_BYTES:]
        tail.append(data)
        if len(tail) > _TAIL_PIECES:
            del tail[: _TAIL_PIECES // 2]


def verdict(status: int) -> Label | None:
    """The failure that a status of a replica is; None: it is an answer, whose status the client gets."""
    if 200 <= status < 300:
        return None
    if status in (401, 403, 407):
        return "upstream_auth"
    if status == 429:
        return "upstream_busy"
    if status == 503:
        return "upstream_unavailable"
    if status >= 500 or status == 408:
        return "upstream_5xx"
    return None if status >= 400 else "bad_response"


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


