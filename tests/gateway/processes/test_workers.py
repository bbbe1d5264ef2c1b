"""A parent's workers: addresses that they share, processes that cannot begin. (Those that serve: e2e/test_workers.)"""

import asyncio
import resource
import socket
import time

import pytest

from penstock.config.schema import ServerSpec, Settings
from penstock.core.events import Invalidated
from penstock.gateway.processes.words import Begin, Learnt, Snapshot
from penstock.gateway.processes.workers import Workers, reserved
from tests.helpers.wire import run


def test_an_address_is_held_for_all() -> None:
    """A port that the system chose is known before anybody listens, and whoever shares it may listen there."""
    (held,) = reserved(("127.0.0.1", 0))
    with held, socket.socket() as worker, socket.socket() as other:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(held.getsockname())
        worker.listen()
        with pytest.raises(OSError, match="in use"):
            other.bind(held.getsockname())


@pytest.mark.parametrize("shares", [True, False])
def test_an_address_that_is_taken(shares: bool) -> None:
    """Whoever has it already, willing to share it or not: the error names the address."""
    with socket.socket() as taken:
        if shares:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1:{taken.getsockname()[1]}"):
            reserved(taken.getsockname())


class _Home:
    """A parent whose workers cannot listen."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.buried: list[tuple[int, bool]] = []

    def begin(self, worker: int) -> Begin:
        return Begin(worker, 2, 1, Settings(server=ServerSpec(listen=("127.0.0.1", self._port), admin=None)))

    def known(self) -> list[Learnt | Invalidated]:
        return []

    def ended(self, worker: int, killed: bool) -> None:
        self.buried.append((worker, killed))

    def lost(self, snapshot: Snapshot) -> None:
        raise AssertionError("nobody has shown anything")


@pytest.mark.slow
def test_a_worker_that_cannot_listen_is_told_of() -> None:
    """What a worker cannot have is the start's error, in its own words, and no process is left."""

    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            home = _Home(port)
            workers = Workers(2, home, time.monotonic)
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
                await workers.start()
            await workers.stop(1.0)
            assert all(one.process is not None and one.process.poll() is not None for one in workers.living.values())
            assert workers.restarts == 0
            assert sorted(home.buried) == [(1, True), (2, True)], "whoever keeps what is theirs hears of each"

    run(main, 60.0)


def test_a_worker_that_could_not_be_made_is_not_waited_for() -> None:
    """Where there can be no more processes or files, the end does not wait for the one that there is not."""

    async def main() -> None:
        workers = Workers(1, _Home(0), time.monotonic)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await workers.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        async with asyncio.timeout(1.0):
            await workers.stop(60.0)

    run(main)
