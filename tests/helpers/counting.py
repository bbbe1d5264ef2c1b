"""An engine that counts: how many requests it is working on, and how many at most. Every answer takes the same time."""

import asyncio
from collections.abc import Callable

BODY = b'{"object":"chat.completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
_FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Takes one request after the other."""

    def __init__(self, engine: "Counting") -> None:
        self._engine = engine
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._engine.transports.add(transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(body) < length:
            return
        self._data = body[length:]
        if lines[0].startswith(b"post"):
            self._engine.come()
            self._timer = asyncio.get_running_loop().call_later(self._engine.takes_s, self._answer)
        else:
            self._transport.write(_FINE)  # type: ignore[attr-defined]

    def _answer(self) -> None:
        self._timer = None
        self._engine.go()
        self._transport.write(_ANSWER)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine.transports.discard(self._transport)
        if self._timer is not None:
            self._timer.cancel()
            self._engine.go()
            self._engine.broken += 1


class Counting:
    """Use as `async with Counting(0.02) as engine`."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.now = self.peak = self.requests = self.broken = 0
        self.port = 0
        self.transports: set[asyncio.BaseTransport] = set()
        self.at: Callable[[int], object] | None = None
        """Hears how many there are whenever one comes."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def come(self) -> None:
        """A request is here."""
        self.now += 1
        self.requests += 1
        self.peak = max(self.peak, self.now)

    def go(self) -> None:
        """A request is over."""
        self.now -= 1

    async def __aenter__(self) -> "Counting":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for transport in list(self.transports):
            transport.abort()  # type: ignore[attr-defined]
