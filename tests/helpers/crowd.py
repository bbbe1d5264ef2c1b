"""A crowd: thousands of connections at once, each a protocol of its own rather than a task."""

import asyncio
import time
from typing import cast


class One(asyncio.Protocol):
    """One of the crowd: sends its request when told, and notes the answer's head and when it came."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.data = b""
        self.sent_at = 0.0
        self.took_s = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the base class

    def send(self, request: bytes) -> None:
        """Ask."""
        self.sent_at = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Some of the answer: all of them are small and end in a brace."""
        self.data += data
        if data.endswith(b"}") and not self.done.done():
            self.took_s = time.monotonic() - self.sent_at
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Closed."""
        if not self.done.done():
            self.done.set_result(None)

    @property
    def status(self) -> int:
        """The status; 0: it was closed without an answer."""
        return int(self.data[9:12] or 0)

    def header(self, name: bytes) -> bytes:
        """A header's value."""
        return self.data.partition(name + b": ")[2].partition(b"\r\n")[0]


async def gathered(port: int, count: int) -> list[One]:
    """So many connections, opened all at once."""
    loop = asyncio.get_running_loop()
    pairs = await asyncio.gather(*[loop.create_connection(One, "127.0.0.1", port) for _ in range(count)])
    return [one for _, one in pairs]


def leave(crowd: list[One]) -> None:
    """Everybody closes."""
    for one in crowd:
        one.transport.abort()
