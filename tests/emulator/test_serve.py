"""Several emulators in one process: ports of their own, a graceful end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest

from penstock.emulator.serve import is_there, running, serve_emulators
from tests.emulator.client import CHAT, Connection, ask, chat, spec, until


def test_each_has_its_port_and_its_numbers() -> None:
    """Two replicas serve side by side and count apart."""

    async def main() -> None:
        async with asyncio.timeout(5), running([spec(), spec(version="9.9")]) as both:
            await ask(both.ports[1], CHAT, chat(max_tokens=3))
            assert [app.state.replica.batcher.counters.generation_tokens for app in both.apps] == [0, 3]
            assert (await ask(both.ports[1], "/version")).json == {"version": "9.9"}
            assert both.urls[0] == f"http://127.0.0.1:{both.ports[0]}"

    asyncio.run(main())


def test_a_taken_port_is_told_and_nothing_is_left_open() -> None:
    """OSError, and the port that could be had is free again."""

    async def main() -> None:
        with socket.socket() as taken, socket.socket() as probe:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
            probe.close()
            with pytest.raises(
                OSError, match=rf"cannot listen on 127.0.0.1:{taken.getsockname()[1]}: .*in use; --port chooses another"
            ):
                async with running([spec(), spec()], [free, taken.getsockname()[1]]):
                    pass
            async with running([spec()], [free]):
                pass

    asyncio.run(main())


def test_sigterm_lets_streams_end() -> None:
    """Told to stop, it accepts nothing new and finishes the stream that runs; then `serve_emulators` returns."""

    async def main() -> None:
        started: list[str] = []
        serving = asyncio.create_task(serve_emulators([(spec(), 0)], started=started.extend))
        await until(lambda: bool(started))
        port = int(started[0].rpartition(":")[2])
        connection = await Connection.open(port)
        connection.send(CHAT, chat(stream=True, max_tokens=100))
        await connection.read(lambda reply: b"oak" in reply.body or len(reply.body) > 300)
        os.kill(os.getpid(), signal.SIGTERM)
        rest = await connection.read()
        assert rest.garbled or rest.events[-1] == "[DONE]"
        await serving
        with pytest.raises(ConnectionRefusedError):
            await Connection.open(port)
        connection.close()

    async def bounded() -> None:
        async with asyncio.timeout(5):
            await main()

    asyncio.run(bounded())


def test_a_stream_too_long_is_cut_at_the_end() -> None:
    """Without time to finish, an open stream ends without its end, and the engine is free."""

    async def main() -> None:
        async with asyncio.timeout(5):
            async with running([spec()]) as emulator:
                connection = await Connection.open(emulator.ports[0])
                connection.send(CHAT, chat(stream=True, max_tokens=30_000))
                await connection.read(lambda reply: bool(reply.body))
                replica = emulator.apps[0].state.replica
            assert replica.in_flight == 0
            assert replica.seen[0].outcome == "aborted"
            connection.close()

    asyncio.run(main())


@pytest.mark.slow
def test_it_ends_with_the_process_that_it_belongs_to() -> None:
    """While that process runs it serves; once it is gone it stops by itself."""

    async def main() -> None:
        started: list[str] = []
        owner = await asyncio.create_subprocess_exec("sleep", "60")
        serving = asyncio.create_task(serve_emulators([(spec(), 0)], started=started.extend, end_with=owner.pid))
        await until(lambda: bool(started))
        assert is_there(owner.pid)
        owner.kill()
        await owner.wait()
        assert not is_there(owner.pid)
        async with asyncio.timeout(5):
            await serving

    asyncio.run(main())


def test_one_that_nobody_waits_for_is_gone() -> None:
    """A process that has ended is not there, also while its parent has not looked at how it ended."""
    owner = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.DEVNULL)
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
    assert is_there(os.getpid())
    assert is_there(owner.pid) is (sys.platform != "linux")
    owner.wait()
