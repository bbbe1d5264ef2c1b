"""One HTTP/1.1 connection to the target, and the stack of idle ones that are kept for reuse.

Knows framing (by llhttp) and when a connection may be used again; what an answer means is `exchange`'s business.
"""

import asyncio
import time

import httptools

from penstock.loadgen.exchange import Exchange

_FRAMING = {b"content-length", b"transfer-encoding"}


class Pool:
    """Idle connections, the last used first: it is the least likely to have been closed by the target."""

    __slots__ = ("_idle", "_max_idle", "connections")

    def __init__(self, max_idle: int = 1024) -> None:
        self._idle: list[Connection] = []
        self._max_idle = max_idle
        self.connections: set[Connection] = set()
        """All that are open."""

    def take(self) -> "Connection | None":
        """An idle connection, if there is one."""
        return self._idle.pop() if self._idle else None

    def give(self, connection: "Connection") -> None:
        """Keep a connection whose exchange is over."""
        if len(self._idle) < self._max_idle:
            self._idle.append(connection)
        else:
            connection.abort()

    def forget(self, connection: "Connection") -> None:
        """It was closed."""
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close all."""
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """A connection: at most one exchange at a time."""

    __slots__ = ("_complete", "_exchange", "_headers", "_kept", "_parser", "_pool", "_transport")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._complete = False
        self._kept = False

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Send a whole request; its answer goes to `exchange`."""
        self._exchange = exchange
        if self._transport is None or self._transport.is_closing():
            self._lost("closed_early")
        else:
            self._transport.write(request)

    def abort(self) -> None:
        """Close at once, without a word."""
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """The exchange is over, for whatever reason: keep the connection if the answer was whole, else close it."""
        self._exchange = None
        if self._complete and self._kept:
            self._reset()
            self._pool.give(self)
        else:
            self.abort()

    # ===== asyncio.Protocol =====

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._pool.connections.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or exchange.over:
            self.abort()  # nobody asked for these bytes, or nobody waits for them any more
            return
        exchange.on_bytes(time.perf_counter())
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a bug of ours, not the target's
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._kept = False
            exchange.fail("bad_http")
        else:
            if self._complete:
                exchange.on_complete()

    def eof_received(self) -> bool:
        """An answer without a length ends with the connection."""
        exchange = self._exchange
        if exchange is not None and not exchange.over and exchange.answer.status and self._until_close():
            exchange.on_complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        self._lost("closed_early" if exc is None else "reset")

    def _lost(self, kind: str) -> None:
        if self._exchange is not None:
            self._exchange.on_lost(kind)

    def _until_close(self) -> bool:
        return not self._headers.keys() & _FRAMING

    # ===== llhttp =====

    def on_message_begin(self) -> None:
        if self._complete:
            self._kept = False  # more than one answer to one request: what follows cannot be trusted

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and self._exchange is not None:
            self._exchange.on_head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        if self._exchange is not None and not self._exchange.over:
            self._exchange.on_body(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._complete = True
            self._kept = self._parser.should_keep_alive()  # the parser forgets it when the next read comes
        else:
            self._headers = {}  # a 1xx: the answer itself is still to come
