"""Side doors: the admin and metrics applications, served by uvicorn on the gateway's own loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from penstock.config.addresses import show_address

BACKLOG = 128
"""Connections that the kernel may hold before they are accepted."""


class _Quiet(uvicorn.Server):
    """A uvicorn that leaves signals to the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class SideDoor:
    """One Starlette application on one address."""

    def __init__(self, app: Starlette, address: tuple[str, int]) -> None:
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, lifespan="off", ws="none",
            proxy_headers=False, server_header=False, limit_concurrency=200, timeout_keep_alive=10,
            h11_max_incomplete_event_size=64 << 10, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = _Quiet(config)
        self._socket = bound(address)
        self.port: int = self._socket.getsockname()[1]
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve in the background. The socket listens already, so this cannot fail for a taken port."""
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._socket]))
        self._task.add_done_callback(_log_end)

    async def stop(self) -> None:
        """Let answers under way finish for two seconds at most, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=5)
        self._socket.close()


def _log_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logging.getLogger("penstock.gateway").error("a side door ended", exc_info=task.exception())


def bound(address: tuple[str, int]) -> socket.socket:
    """A listening socket on this address. Raises OSError that names the address.

    It listens at once: a socket that is only bound may share its address with another one until either listens.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as wrong:
        sock.close()
        raise OSError(wrong.errno, f"cannot listen on {show_address(address)}: {wrong.strerror}") from None
    sock.setblocking(False)
    return sock
