"""Side doors: an application on an address of its own, with a clear error where that is taken, and a bounded end."""

import asyncio
import socket
import time

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from penstock.gateway.admin.side import SideDoor, bound
from tests.helpers.wire import Client, get, run

HERE = ("127.0.0.1", 0)


def app(started: asyncio.Event | None = None, go: asyncio.Event | None = None) -> Starlette:
    """An application with a quick page and a slow one."""

    async def quick(request: Request) -> Response:
        return PlainTextResponse("quick")

    async def slow(request: Request) -> Response:
        assert started is not None
        assert go is not None
        started.set()
        await go.wait()
        return PlainTextResponse("slow")

    return Starlette(routes=[Route("/quick", quick), Route("/slow", slow)])


def test_it_serves_on_a_port_of_the_systems_choice() -> None:
    """With port 0 it tells the port that it has, and answers there without naming its server."""

    async def main() -> None:
        door = SideDoor(app(), HERE)
        door.start()
        async with Client(door.port) as client:
            client.send(get("/quick"))
            answer = await client.answer()
        assert (answer.status, answer.body, answer.header("server")) == (200, b"quick", None)
        await door.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*HERE[:1], door.port)

    run(main)


def test_a_taken_port_is_told_at_once() -> None:
    """A second door at an address is refused with the address in the words, though neither serves yet."""

    async def main() -> None:
        first = SideDoor(app(), HERE)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{first.port}: Address already in use"):
            SideDoor(app(), ("127.0.0.1", first.port))
        await first.stop()
        await SideDoor(app(), ("127.0.0.1", first.port)).stop()

    run(main)


def test_addresses_that_are_not_ours() -> None:
    """An address of another machine is told by name."""
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        bound(("192.0.2.1", 0))


def test_ipv6() -> None:
    """A door may be on an IPv6 address."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        sock = bound(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with sock:
        assert sock.family == socket.AF_INET6


def test_clients_may_come_before_it_serves() -> None:
    """It listens from its making on, so that a client between two steps of the start waits instead of being refused."""

    async def main() -> None:
        door = SideDoor(app(), HERE)
        async with Client(door.port) as client:
            client.send(get("/quick"))
            door.start()
            assert (await client.answer()).body == b"quick"
        await door.stop()

    run(main)


def test_stopping_lets_an_answer_finish() -> None:
    """An answer under way is completed, new clients are refused meanwhile."""

    async def main() -> None:
        started, go = asyncio.Event(), asyncio.Event()
        door = SideDoor(app(started, go), HERE)
        door.start()
        async with Client(door.port) as client:
            client.send(get("/slow"))
            await started.wait()
            stopping = asyncio.create_task(door.stop())
            go.set()
            assert (await client.answer()).body == b"slow"
            await stopping

    run(main)


@pytest.mark.slow
def test_stopping_is_bounded() -> None:
    """An answer that never comes delays the end by a few seconds at most."""

    async def main() -> None:
        started = asyncio.Event()
        door = SideDoor(app(started, asyncio.Event()), HERE)
        door.start()
        async with Client(door.port) as client:
            client.send(get("/slow"))
            await started.wait()
            before = time.monotonic()
            await door.stop()
            assert time.monotonic() - before < 6

    run(main)
