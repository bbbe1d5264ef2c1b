"""An answer's body on its way from a replica to the client: bytes in, bytes out, no sockets.

Nothing comes out before there is content: until then the Gate hears of whatever goes wrong, and may try elsewhere. A
plain JSON answer is held until it is whole (bounded), so that it is never half delivered. Of event streams only whole
events come out, so that an error can be told in the stream's own language at any time.
"""

import re
from typing import Final

import msgspec

from penstock.adapters.wire import sse
from penstock.adapters.wire.bodies import CRLF, LAST_CHUNK, MORE, SIZES, Chunked, chunk
from penstock.adapters.wire.response import ResponseHead
from penstock.adapters.wire.usage import TAIL_BYTES, usage_in
from penstock.base.nouns import Usage

HOLD_EVENTS_BYTES: Final = 64 << 10
"""Events without content that are held before an answer counts as begun all the same."""
HOLD_WHOLE_BYTES: Final = 256 << 10
"""A JSON answer up to this size reaches the client whole or not at all."""
MAX_EVENT_BYTES: Final = 256 << 10
"""A larger event comes out in pieces."""
_TAIL_PIECES: Final = 8
_EVENT_ENDS: Final[tuple[bytes, ...]] = (b"\n\n\r\n", b"\r\n\r\n\r\n")
"""How a read ends that holds whole events in whole chunks."""
_CHOICES_END: Final = b"}]}\n\n\r\n"
"""How a read ends whose last event ends with its choices, as engines write a token."""
_TOKEN_LINES: Final = 4
"""Line feeds in one chunk around one event of one line."""
_NO_CHOICES: Final = b"[]"
"""Stands in the chunk that only tells the usage (`"choices":[]`) and seldom elsewhere: a cheap first test."""
_COMMENT: Final = b"\n:"
_PING: Final = b"event: ping"
_SILENT: Final = re.compile(
    rb"(?:(?:(?<=\n\n)|(?<=\r\n)|\A)(?::[^\n]*+\n){1,8}+|(?:(?<=\n)|\A)event: ping\r?\n[^\n]*+\n)\r?\n"
)
"""Nothing but comments (a chunk's head or an empty line stands before them; else they are the end of an event), or
Anthropic's ping: engines keep a connection open with them while nothing comes. Of bounded lines, or a replica that
sends nothing else would have each of them looked at again and again."""
_ERROR_EVENT: Final = b'data: {"error"'
TAIL_ERROR_BYTES: Final = 1024
"""At a stream's end an engine's own error is looked for in so much."""
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"


class _Tail:
    """The last pieces of a body: what the call used stands there."""

    __slots__ = ("_pieces", "token")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.token = b""
        """The last token, where nothing else came since. An earlier one says nothing that it does not, so that a token
        costs an assignment."""

    def add(self, data: bytes) -> None:
        """Keep it, forget older ones."""
        pieces = self._pieces
        if self.token:
            pieces.append(self.token[-TAIL_BYTES:])
            self.token = b""
        if len(data) >= TAIL_BYTES:
            pieces.clear()
            data = data[-TAIL_BYTES:]
        pieces.append(data)
        if len(pieces) > _TAIL_PIECES:
            del pieces[: _TAIL_PIECES // 2]

    def bytes(self) -> bytes:
        """The end of the body, as far as it was kept."""
        return (b"".join(self._pieces) + self.token)[-TAIL_BYTES:]


class PlainRelay:
    """A body that is no event stream."""

    __slots__ = ("_http10", "_pieces", "_reader", "_room", "_tail", "begun", "done", "framing", "response", "surplus")

    failure = b""
    can_take_event = False
    relayed_tokens = 0

    def __init__(self, response: ResponseHead, *, http10: bool, hold: bool) -> None:
        self.response = response
        self._reader = response.reader()
        self._http10 = http10
        self._pieces: list[bytes] = []
        self._room = HOLD_WHOLE_BYTES if hold else 0
        self._tail = _Tail()
        self.begun = False
        """Something may be passed on, behind a head that says `framing`."""
        self.done = False
        self.surplus = False
        """More came than belongs to the answer."""
        self.framing = b""

    def feed(self, data: bytes, at: int) -> bytes:
        """What of `data[at:]`, and of what was held, the client gets now. Raises FramingError."""
        pieces = self._pieces
        before = len(pieces)
        end = self._reader.feed(data, at, pieces)
        if end >= 0:
            self.done = True
            self.surplus = end < len(data)
        if not self.begun:
            if self.done:
                return self._whole()
            self._room -= sum(map(len, pieces[before:]))
            if self._room >= 0 or not pieces:
                return b""
            self.begun = True
            if self.response.length > 0:
                self.framing = b"content-length: %d\r\n" % self.response.length
            elif not self._http10:
                self.framing = _CHUNKED
        body = b"".join(pieces)
        pieces.clear()
        if body:
            self._tail.add(body)
        if self.framing is not _CHUNKED:
            return body
        return (chunk(body) if body else b"") + (LAST_CHUNK if self.done else b"")

    def _whole(self) -> bytes:
        body = b"".join(self._pieces)
        self._pieces.clear()
        self.begun = True
        self._tail.add(body)
        self.framing = b"content-length: %d\r\n" % len(body) if self.response.status != 204 else b""
        return body

    def close(self) -> bytes | None:
        """The connection closed cleanly, which is this body's only end: the last bytes; None: it was not whole."""
        self.done = self.surplus = True
        if self.begun:
            return LAST_CHUNK if self.framing is _CHUNKED else b""
        if self.response.content_type == b"application/json" and not _is_json(b"".join(self._pieces)):
            return None
        return self._whole()

    def used(self) -> Usage | None:
        """What the call used, as the engine told it at the end of the answer."""
        return usage_in(self._tail.bytes()) if self.response.status < 300 else None


class EventRelay:
    """A stream of events."""

    __slots__ = (
        "_aligned", "_chunked", "_held", "_pending", "_reader", "_separator", "_strip", "_tail", "_usage", "begun",
        "can_take_event", "done", "failure", "framing", "relayed_tokens", "surplus",
    )  # fmt: skip

    def __init__(self, response: ResponseHead, *, http10: bool, strip: bool) -> None:
        self._reader = response.reader()
        self._chunked = not http10
        self._strip = strip
        """The client did not ask for the usage: the event that tells it stays here."""
        self._pending = b""
        """An event that is not whole yet."""
        self._held = b""
        """Events without content, before the stream has begun."""
        self._tail = _Tail()
        self._aligned = False
        """All that came was whole chunks of whole events, and has come out."""
        self._separator = b"\n\n"
        self._usage: Usage | None = None
        self.begun = False
        self.done = False
        self.surplus = False
        self.failure = b""
        """The error event with which the stream began: it never was an answer."""
        self.framing = _CHUNKED if self._chunked else b""
        self.can_take_event = True
        """What came out ends with a whole event: an error event can follow."""
        self.relayed_tokens = 0

    def feed(self, data: bytes, at: int) -> bytes:
        """What of `data[at:]`, and of what was held, the client gets now. Raises FramingError."""
        if self._aligned:
            # the hottest path: a read that is one whole chunk, of one token, passes as it is
            eol = data.find(CRLF)
            if (
                SIZES.get(data[:eol], 0) == len(data) - eol - 4
                and data.endswith(_CHOICES_END)
                and data.count(b"\n") == _TOKEN_LINES
            ):
                self.relayed_tokens += 1
                self._tail.token = data
                return data
            # so does one that is several whole chunks of whole events
            end = self._reader.feed(data, at, None)
            if not self._strip or _NO_CHOICES not in data:
                if end == MORE and data.endswith(_EVENT_ENDS):
                    self.relayed_tokens += self._tokens(data)
                    self._tail.add(data)
                    return data
                if end >= 0:
                    return self._last(data, end)
            self._reader.rewind()  # type: ignore[union-attr]
        pieces: list[bytes] = []
        end = self._reader.feed(data, at, pieces)
        payload = self._pending + b"".join(pieces)
        if end >= 0:
            self.done = True
            self.surplus = end < len(data)
            self._pending = b""
        else:
            cut = sse.last_end(payload)
            self._pending = payload[cut:]
            payload = payload[:cut]
        if not self.begun:
            payload = self._held + payload if self._begins(payload) else b""
            if not self.begun:
                return b""
        return self._pass(payload, between_chunks=end == MORE)

    def _last(self, data: bytes, end: int) -> bytes:
        self.done = True
        self.surplus = end < len(data)
        if self.surplus:
            data = data[:end]
        self.relayed_tokens += self._tokens(data[: -len(LAST_CHUNK)])
        self._tail.add(data)
        self._uncount_done()
        return data

    def _tokens(self, payload: bytes) -> int:
        """Events that may be tokens: all but comments and pings."""
        found = payload.count(self._separator)
        if _COMMENT in payload or _PING in payload or payload.startswith(b":"):
            found -= len(_SILENT.findall(payload))
        return found

    def _uncount_done(self) -> None:
        """The mark at the end of a stream is no token, and the error that an engine ended it with is none either."""
        tail = self._tail.bytes()
        if sse.DONE in tail[-64:]:
            self.relayed_tokens -= 1
        if _ERROR_EVENT in tail[-TAIL_ERROR_BYTES:]:
            self.relayed_tokens -= 1

    def _begins(self, payload: bytes) -> bool:
        """Whether there is content, or enough without; keeps what has none."""
        if payload:
            self._separator = sse.separator(payload)
        empty = self._tokens(self._held)
        for event in sse.split(payload) if payload else ():
            kind = sse.kind_of(event)
            if kind == "error":
                self.failure = event
                return False
            if kind == "content":
                self.begun = True
                break
            empty += self._tokens(event)
        if self.done or len(self._held) + len(payload) + len(self._pending) > HOLD_EVENTS_BYTES:
            self.begun = True
        if not self.begun:
            self._held += payload
            return False
        self.relayed_tokens -= empty
        if b"message_start" in self._held or b"message_start" in payload:
            self._usage = _usage_at_start(self._held + payload)
        return True

    def _pass(self, payload: bytes, *, between_chunks: bool) -> bytes:
        """Whole events as the client gets them."""
        self._held = b""
        if payload:
            self.can_take_event = True
        if len(self._pending) > MAX_EVENT_BYTES:
            payload += self._pending
            self._pending = b""
            self.can_take_event = False
        self._aligned = (
            between_chunks
            and self._chunked
            and self.can_take_event
            and not self._pending
            and type(self._reader) is Chunked
        )
        if self._strip and _NO_CHOICES in payload:
            payload = self._without_usage(payload)
        if payload:
            self.relayed_tokens += self._tokens(payload)
            self._tail.add(payload)
        if self.done:
            self._uncount_done()
        if not self._chunked:
            return payload
        return (chunk(payload) if payload else b"") + (LAST_CHUNK if self.done else b"")

    def _without_usage(self, payload: bytes) -> bytes:
        kept: list[bytes] = []
        for event in sse.split(payload):
            usage = sse.usage_alone(event) if _NO_CHOICES in event else None
            if usage is None:
                kept.append(event)
            else:
                self._usage = usage
        return b"".join(kept)

    def close(self) -> bytes | None:
        """The connection closed cleanly, which is this stream's only end: the last bytes; None: it was not whole."""
        rest, self._pending = self._held + self._pending, b""
        if not sse.ended(self._tail.bytes() + rest):
            return None
        self.begun = self.done = self.surplus = True
        return self._pass(rest, between_chunks=False)

    def used(self) -> Usage | None:
        """What the call used, as the engine told it at the end of the stream."""
        first = self._usage
        if first is not None and first.completion_tokens and self._strip:
            return first
        last = usage_in(self._tail.bytes())
        if first is None or last is None:
            return last or first
        return Usage(
            last.prompt_tokens or first.prompt_tokens, last.completion_tokens, last.cached_tokens or first.cached_tokens
        )


def _usage_at_start(payload: bytes) -> Usage | None:
    """Anthropic tells the prompt's tokens at the start; a short answer's end may be here as well, and tells others."""
    return next((usage_in(event) for event in sse.split(payload) if b"message_start" in event), None)


Body = PlainRelay | EventRelay


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
