"""Whether the line to a replica still holds: TCP's own keep-alives, so that a region that is cut off is known within
seconds. An engine that is frozen still has a machine that acknowledges; only where nothing comes back at all, a
connection is given up. Linux; elsewhere the system's habits stand."""

import asyncio
import socket
from typing import Final

_PROBES: Final = 4
"""Keep-alives within the time."""


def options(lost_after_s: float) -> list[tuple[int, int, int]]:
    """What to set on a socket, so that its connection is given up after so long without an acknowledgement; 0:
    nothing."""
    if not lost_after_s or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return []
    every_s = max(1, round(lost_after_s / _PROBES))
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, every_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, every_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(lost_after_s * 1000))),
    ]


def watch(transport: asyncio.BaseTransport, wanted: list[tuple[int, int, int]]) -> None:
    """Have the system watch this connection."""
    sock = transport.get_extra_info("socket") if wanted else None
    if sock is not None:
        for level, option, value in wanted:
            sock.setsockopt(level, option, value)
