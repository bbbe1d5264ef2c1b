"""Several emulators in one process, each on its own port: bound first, then served, then stopped gracefully."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

from penstock.adapters.actuators.kernel import mark_of
from penstock.emulator.app import EmulatorSpec, build
from penstock.emulator.sabotage import protocol_for

BACKLOG = 4096
STOP_S = 5.0
"""Streams that take longer than this after the process was told to stop are cut."""
CUT_S = 1.0
"""And then they have this long to notice."""
LOOK_S = 1.0
"""Between two looks at the process that it is to end with."""


class _Server(uvicorn.Server):
    """One port. Signals are handled once for all of them, below, and nothing is polled for its end."""

    def __init__(self, config: uvicorn.Config, stop_s: float) -> None:
        super().__init__(config)
        self._stop_s = stop_s
        self._told = asyncio.Event()

    def stop(self) -> None:
        """Accept nothing new, let answers end, then return from `serve`."""
        self.should_exit = True
        self._told.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not self.should_exit:
            await self.on_tick(0)  # sets the date header
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._quiet(self._stop_s)
        self.cut()
        await self._quiet(CUT_S)

    def cut(self) -> None:
        """End all connections now. To the app this is a client that left, so nothing needs to be cancelled."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _quiet(self, timeout_s: float) -> None:
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=timeout_s)


class Running:
    """Emulators that serve. `urls` and `ports` are in the order of their specs."""

    def __init__(self, host: str, sockets: list[socket.socket], specs: Sequence[EmulatorSpec], stop_s: float) -> None:
        self.ports: list[int] = [sock.getsockname()[1] for sock in sockets]
        shown = f"[{host}]" if ":" in host else host
        self.urls = [f"http://{shown}:{port}" for port in self.ports]
        self.apps = [build(spec) for spec in specs]
        """`app.state.replica` and `app.state.faults` are the insides, for tests in the same process."""
        self._servers = [_Server(_config(app), stop_s) for app in self.apps]
        self._tasks = [
            asyncio.get_running_loop().create_task(server.serve([sock])) for server, sock in zip(self._servers, sockets)
        ]

    def stop(self) -> None:
        """Accept nothing new, let streams end, then return from `done`."""
        for server in self._servers:
            server.stop()

    def cut(self) -> None:
        """End all connections now."""
        for server in self._servers:
            server.cut()

    async def done(self) -> None:
        """Until all have stopped. Raises what made one of them fail."""
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for app in self.apps:
                app.state.replica.stop()


@asynccontextmanager
async def running(
    specs: Sequence[EmulatorSpec], ports: Sequence[int] | None = None, host: str = "127.0.0.1", stop_s: float = 0.0
) -> AsyncIterator[Running]:
    """Serve while the block runs, and `stop_s` longer what is being streamed at its end.

    Port 0 (and no `ports`) lets the system choose. Raises OSError when a port is taken.
    """
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(_bound(host, port)) for port in ports or [0] * len(specs)]
        emulators = Running(host, sockets, specs, stop_s)
        opened.pop_all()
    try:
        yield emulators
    finally:
        emulators.stop()
        await emulators.done()


async def serve_emulators(
    specs_with_ports: Sequence[tuple[EmulatorSpec, int]],
    host: str = "127.0.0.1",
    started: Callable[[list[str]], None] | None = None,
    end_with: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let streams end (at most 5 s; a second signal cuts them).

    `end_with` is the number of the process that this one belongs to: where that is gone, it is told to end as well.
    `started` hears the base URLs once connections are accepted. Raises OSError when a port is taken.
    """
    specs, ports = [spec for spec, _ in specs_with_ports], [port for _, port in specs_with_ports]
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    async with running(specs, ports, host, STOP_S) as emulators:

        def stop() -> None:
            if told.is_set():
                emulators.cut()
            told.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        if started is not None:
            started(emulators.urls)
        while not told.is_set() and (end_with is None or is_there(end_with)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if end_with is None else LOOK_S):
                    await told.wait()


def is_there(pid: int) -> bool:
    """Whether a process of this number runs. One that has ended and waits for its parent to look does not: where nobody
    looks, as in many a container, it would be there for ever."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's, so it is there
    return sys.platform != "linux" or mark_of(pid) is not None


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol_for(app.state.faults),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket, so that a client that is told the port can connect at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as wrong:
        sock.close()
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise OSError(wrong.errno, f"cannot listen on {where}: {wrong.strerror}; --port chooses another") from None
    return sock
