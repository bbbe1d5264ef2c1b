"""A client leaves in any phase, politely or not: the engine is freed within two seconds, nothing is held for him."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import (
    ENDLESS,
    SLOW,
    ask,
    at_rest,
    chat,
    engine,
    eventually,
    holds,
    pool,
    post,
    ready,
    said,
    seen,
    unique,
)
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow

FREED_S = 2.0


class Rig(NamedTuple):
    """A gateway with two seats at an engine that runs one sequence at once, so that a second waits there."""

    gateway: Gateway
    engine: int


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The rig; at its end the gateway stops with status 0."""
    folder = tmp_path_factory.mktemp("leaving")
    emulators = Emulators(folder, SLOW, max_num_seqs=1)
    with ending(emulators):
        tree = pool(*emulators.urls)
        tree["replicas"][0]["max_concurrent_requests"] = 2
        gateway = Gateway(folder, {"pools": [tree]})
        with ending(gateway):
            run(lambda: ready(gateway))
            yield Rig(gateway, emulators.ports[0])
            assert gateway.stop() == 0
            assert "bug while handling" not in gateway.log()


async def at_engine(rig: Rig, running: int, waiting: int) -> None:
    """Wait until the engine has so many sequences."""

    async def so() -> bool:
        return await engine(rig.engine) == {"running": running, "waiting": waiting}

    await eventually(so, f"{running} running and {waiting} waiting", FREED_S)


async def leave(client: Client, how: str) -> None:
    """Close as a program does that ends (FIN), as one that dies (RST), or only one's own side."""
    if how == "rst":
        client.reset()
    elif how == "half":
        client.writer.write_eof()
    else:
        client.writer.close()


async def reach(rig: Rig, phase: str, client: Client, id: str) -> list[Client]:
    """Bring the client's call into a phase; who else is there for it."""
    others = [Client(rig.gateway.port) for _ in range({"queued": 2, "before first token": 1}.get(phase, 0))]
    for number, other in enumerate(others, 1):
        await other.__aenter__()
        other.send(post(chat(ENDLESS, stream=True)))
        await at_engine(rig, 1, number - 1)
    client.send(post(chat(ENDLESS, stream=phase != "not streamed"), id=id))
    if phase == "queued":
        await holds(rig.gateway, "waiting", 1)
    else:
        await at_engine(rig, 1, len(others))
    if phase == "mid-stream":
        await client.reader.readuntil(b"data: ")
    return others


@pytest.mark.parametrize("how", ["fin", "rst", "half"])
@pytest.mark.parametrize("phase", ["queued", "before first token", "mid-stream", "not streamed"])
def test_leaving_frees_the_engine(rig: Rig, phase: str, how: str) -> None:
    """Whatever the phase and the way, the engine stops working for the client, or never hears of him."""

    async def main() -> None:
        id = unique()
        async with Client(rig.gateway.port) as client:
            others = await reach(rig, phase, client, id)
            await leave(client, how)
            if phase == "queued":
                await holds(rig.gateway, "waiting", 0)
            await at_engine(rig, min(1, len(others)), max(0, len(others) - 1))
            for other in others:
                await leave(other, "fin")
            await at_engine(rig, 0, 0)
            await at_rest(rig.gateway, FREED_S)
        calls = await seen(rig.engine)
        assert calls.get(id) == (None if phase == "queued" else "aborted")
        assert (await ask(rig.gateway.port, chat(1))).status == 200

    run(main, 20.0)


def test_who_has_left_is_counted(rig: Rig) -> None:
    """The metrics count those who left as such, and blame no replica."""

    async def main() -> None:
        async with Client(rig.gateway.port) as client:
            await reach(rig, "mid-stream", client, unique())
        await at_rest(rig.gateway, FREED_S)
        page = (await ask(rig.gateway.admin_port, None, "/metrics")).body.decode()
        assert 'outcome="client_gone"' in page
        (view,) = await said(rig.gateway.admin_port, "/admin/fleet")
        assert (view["failed"], view["breaker"]) == (0, "closed")

    run(main, 20.0)


def test_a_crowd_that_leaves(rig: Rig) -> None:
    """A hundred clients who leave at once, most of them waiting, free everything."""

    async def main() -> None:
        ids = [unique() for _ in range(100)]
        clients = [Client(rig.gateway.port) for _ in ids]
        await asyncio.gather(*[client.__aenter__() for client in clients])
        for client, id in zip(clients, ids):
            client.send(post(chat(ENDLESS, stream=True), id=id))
        await holds(rig.gateway, "waiting", 98)
        for number, client in enumerate(clients):
            await leave(client, ("fin", "rst")[number % 2])
        await at_rest(rig.gateway, FREED_S)
        await at_engine(rig, 0, 0)
        calls = await seen(rig.engine)
        assert len([id for id in ids if id in calls]) <= 20, "hardly anybody was sent who was leaving"

    run(main, 20.0)
