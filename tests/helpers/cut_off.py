"""A program for a network namespace of its own: connects to itself, cuts the line, and says for how long two
connections seemed to hold: one that waits, one over which something was sent. Seconds, one a line."""

import asyncio
import subprocess
import sys
import time

import uvloop

from penstock.gateway.fleet.lines import options, watch


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, lost_after_s: float) -> None:
        self._lost_after_s = lost_after_s
        self.over: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        watch(transport, options(self._lost_after_s))

    def connection_lost(self, error: Exception | None) -> None:
        """It is known not to hold."""
        self.over.set_result(time.monotonic())


async def main(lost_after_s: float) -> None:
    """Cut it."""
    link = ["ip", "link", "set", "lo"]
    subprocess.run([*link, "up"], check=True)  # noqa: ASYNC221 - nothing else goes on here
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    (_, waits), (sending, sends) = [
        await loop.create_connection(lambda: Line(lost_after_s), *address) for _ in range(2)
    ]
    subprocess.run([*link, "down"], check=True)  # noqa: ASYNC221
    since = time.monotonic()
    sending.write(b"x")
    for line in (waits, sends):
        sys.stdout.write(f"{await asyncio.wait_for(line.over, 30.0) - since:.2f}\n")


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
