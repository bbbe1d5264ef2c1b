"""The fleet changes through the admin API while traffic runs: streams finish, nothing new arrives, load moves."""

import asyncio

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Gateway
from tests.helpers.traffic import Traffic, begun, chat, eventually, order, pool, post, ready, said, seen, states, unique
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow


def port_of(url: str) -> int:
    """The port of a URL."""
    return int(url.rpartition(":")[2])


def name_of(url: str) -> str:
    """The id of a replica that has none of its own."""
    return url.removeprefix("http://")


async def view_of(gateway: Gateway, url: str) -> dict[str, object]:
    """What the admin API tells of a replica; nothing where it is not there."""
    views = await said(gateway.admin_port, "/admin/fleet")
    return next((view for view in views if view["id"] == name_of(url)), {})


async def idle(gateway: Gateway, url: str) -> None:
    """Wait until a replica has nothing in flight, or is gone."""

    async def so() -> bool:
        return not (await view_of(gateway, url)).get("in_flight", 0)

    await eventually(so, f"nothing at {url}")


async def gets_more(gateway: Gateway, url: str, count: int) -> None:
    """Wait until a replica has served so many more calls."""
    before = len(await seen(port_of(url)))

    async def so() -> bool:
        return len(await seen(port_of(url))) >= before + count

    await eventually(so, f"{count} calls more at {url}")


def test_add_drain_undrain_remove_under_load(start: Start, engines: list[str]) -> None:
    """A replica that is added gets load; one that is drained or removed gets none; nobody's call fails."""
    gateway = start({"pools": [pool(engines[0], strategy="round_robin")]})
    first, second = engines[:2]

    async def main() -> Traffic:
        await ready(gateway)
        traffic = Traffic(gateway, 8)
        async with traffic.flowing():
            await traffic.more(50)
            body = {"pool": "tiny", "url": second, "engine": "vllm", "max_concurrent_requests": 4}
            assert await order(gateway, "POST", "/admin/fleet", body) == (201, {"added": name_of(second)})
            await gets_more(gateway, second, 50)

            assert (await order(gateway, "POST", f"/admin/fleet/{name_of(first)}/drain"))[0] == 200
            await idle(gateway, first)
            calls = len(await seen(port_of(first)))
            await traffic.more(100)
            assert len(await seen(port_of(first))) == calls, "nothing new at a draining replica"
            assert (await states(gateway))[name_of(first)] == "draining"

            assert (await order(gateway, "POST", f"/admin/fleet/{name_of(first)}/undrain"))[0] == 200
            await gets_more(gateway, first, 50)

            assert (await order(gateway, "DELETE", f"/admin/fleet/{name_of(second)}"))[0] == 200
            assert name_of(second) not in await states(gateway)
            await traffic.more(16)
            calls = len(await seen(port_of(second)))
            await traffic.more(100)
            assert len(await seen(port_of(second))) == calls, "nothing new at a removed replica"
        return traffic

    assert run(main, 40.0).errors() == []


@pytest.mark.parametrize("wish", ["drain", "remove"])
def test_streams_finish(start: Start, engines: list[str], wish: str) -> None:
    """A stream at a replica that is drained or removed comes to its end, and then its connection is closed."""
    slow, quick = engines[3], engines[0]
    gateway = start({"pools": [pool(slow)]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as client:
            client.send(post(chat(60, stream=True)))
            await begun(gateway)
            await order(gateway, "POST", "/admin/fleet", {"pool": "tiny", "url": quick, "engine": "vllm"})
            path = f"/admin/fleet/{name_of(slow)}"
            answers = order(gateway, "POST", f"{path}/drain") if wish == "drain" else order(gateway, "DELETE", path)
            assert (await answers)[0] == 200
            await ready(gateway, 1)
            id = unique()
            async with Client(gateway.port) as other:
                other.send(post(chat(3), id=id))
                assert (await other.answer()).header("x-penstock-replica") == name_of(quick)
            answer = await client.answer()
            assert answer.complete
            assert answer.body.endswith(b"data: [DONE]\n\n")

    run(main, 20.0)


def test_a_waiting_call_is_served_by_who_comes(start: Start, engines: list[str]) -> None:
    """A call that waits for a seat goes to a replica that is added meanwhile."""
    tree = pool(engines[3])
    tree["replicas"][0]["max_concurrent_requests"] = 1
    gateway = start({"pools": [tree]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as busy, Client(gateway.port) as waits:
            busy.send(post(chat(200, stream=True)))
            await begun(gateway)
            waits.send(post(chat(3)))
            await asyncio.sleep(0.05)
            await order(gateway, "POST", "/admin/fleet", {"pool": "tiny", "url": engines[0], "engine": "vllm"})
            answer = await waits.answer()
            assert (answer.status, answer.header("x-penstock-replica")) == (200, name_of(engines[0]))

    run(main, 20.0)


def test_the_last_replica_is_removed_and_comes_back(start: Start, engines: list[str]) -> None:
    """With nobody left calls wait and are served by who is added; the same replica can be removed and added again."""
    gateway = start({"pools": [pool(engines[0])]})

    async def main() -> None:
        await ready(gateway)
        for _ in range(3):
            assert (await order(gateway, "DELETE", f"/admin/fleet/{name_of(engines[0])}"))[0] == 200
            async with Client(gateway.port) as client:
                client.send(post(chat(3)))
                body = {"pool": "tiny", "url": engines[0], "engine": "vllm"}
                assert (await order(gateway, "POST", "/admin/fleet", body))[0] == 201
                assert (await client.answer()).status == 200

    run(main, 20.0)
