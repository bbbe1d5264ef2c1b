"""A crowd: ten thousand requests at once are queued and served; beyond the bounds the surplus hears 429 at once."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import MANY, Start
from tests.helpers.crowd import gathered, leave
from tests.helpers.processes import Emulators, ending
from tests.helpers.traffic import ENDLESS, at_rest, begun, chat, engine, eventually, holds, pool, post, ready, seen
from tests.helpers.wire import Client, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150), pytest.mark.usefixtures("many_files")]


def engine_port(url: str) -> int:
    """The port of a URL."""
    return int(url.rpartition(":")[2])


def test_ten_thousand_at_once(start: Start, tmp_path: Path) -> None:
    """All of ten thousand requests sent at once wait their turn and are served, each by exactly one engine, once."""
    emulators = Emulators(tmp_path, 1.0, 1.0, 1.0)
    with ending(emulators):
        tree = pool(*emulators.urls, queue={"timeout": "300s"})
        for replica in tree["replicas"]:
            replica["max_concurrent_requests"] = 64
        gateway = start({"pools": [tree], "limits": {"backlog": 16384}, "log": {"access": False}})

        async def main() -> None:
            await ready(gateway, 3)
            crowd = await gathered(gateway.port, MANY)
            for number, one in enumerate(crowd):
                one.send(post(chat(1), id=f"crowd-{number}"))
            async with asyncio.timeout(120):
                await asyncio.gather(*[one.done for one in crowd])
            assert Counter(one.status for one in crowd) == {200: MANY}
            leave(crowd)
            calls = await seen(*[engine_port(url) for url in emulators.urls])
            assert Counter(calls.values()) == {"finished": MANY}
            await at_rest(gateway)

        run(main, 140.0)


def test_the_surplus_hears_429_at_once(start: Start, engines: list[str]) -> None:
    """With 100 places in the queue the others of a thousand get 429 with Retry-After at once, and reach no engine."""
    tree = pool(engines[3], queue={"timeout": "300s", "max": 100})
    gateway = start({"pools": [tree]})

    async def main() -> None:
        await ready(gateway)
        crowd = await gathered(gateway.port, 1000)
        for number, one in enumerate(crowd):
            one.send(post(chat(8), id=f"surplus-{gateway.pid}-{number}"))
        refused = 1000 - 100 - 8

        async def answered() -> bool:
            return sum(one.done.done() for one in crowd) >= refused

        await eventually(answered, f"{refused} answers", 5.0)
        surplus = [one for one in crowd if one.status == 429]
        assert len(surplus) >= refused
        assert all(b'"queue_full"' in one.data and int(one.header(b"retry-after")) >= 1 for one in surplus)
        assert max(one.took_s for one in surplus) < 2.0
        async with asyncio.timeout(30):
            await asyncio.gather(*[one.done for one in crowd])
        assert Counter(one.status for one in crowd) == {200: 1000 - len(surplus), 429: len(surplus)}
        leave(crowd)
        calls = await seen(engine_port(engines[3]))
        assert len([id for id in calls if id.startswith(f"surplus-{gateway.pid}-")]) == 1000 - len(surplus)

    run(main, 50.0)


def test_bounds_of_bytes_of_tenants_and_in_all(start: Start, engines: list[str]) -> None:
    """The queue is bounded in bytes, per tenant and in all pools together, too; each bound says 429."""
    tree = pool(engines[3], queue={"max_bytes": "2KB", "max_per_tenant": 3})
    tree["replicas"][0]["max_concurrent_requests"] = 1
    keys = [{"name": name, "key": f"sk-{name}"} for name in ("a", "b", "c")]
    gateway = start({"pools": [tree], "keys": keys, "max_waiting": 7})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as busy:
            busy.send(post(chat(ENDLESS, stream=True), key="sk-a"))
            await begun(gateway)
            large = await gathered(gateway.port, 2)
            large[0].send(post(chat(1, text="x" * 1500), key="sk-c"))
            await holds(gateway, "waiting", 1)
            large[1].send(post(chat(1, text="x" * 1500), key="sk-c"))
            await large[1].done
            assert (large[1].status, b"queue_full" in large[1].data) == (429, True)
            leave(large)
            await holds(gateway, "waiting", 0)
            crowd = await gathered(gateway.port, 12)
            for number, one in enumerate(crowd):
                one.send(post(chat(1), key=f"sk-{'abc'[number // 4]}"))
                await asyncio.sleep(0.01)  # so that they come in this order
            await holds(gateway, "waiting", 7)
            codes = [one.data.partition(b'"code":"')[2].partition(b'"')[0].decode() for one in crowd]
            assert codes == ["", "", "", "tenant_queue_full"] * 2 + ["", "queue_full", "queue_full", "queue_full"]
            leave(crowd)

    run(main, 20.0)


def test_who_waits_in_vain_reaches_no_engine(start: Start, engines: list[str]) -> None:
    """Calls whose deadline passes in the queue get 504; neither they nor those whose client leaves are ever sent."""
    tree = pool(engines[3], queue={"timeout": "500ms"})
    tree["replicas"][0]["max_concurrent_requests"] = 2
    gateway = start({"pools": [tree]})
    port = engine_port(engines[3])

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as one, Client(gateway.port) as other:
            for number, client in enumerate((one, other), 1):
                client.send(post(chat(ENDLESS, stream=True), id=f"busy-{gateway.pid}-{number}"))
                await begun(gateway, number)
            crowd = await gathered(gateway.port, 200)
            before = time.monotonic()
            for number, waits in enumerate(crowd):
                waits.send(post(chat(1), id=f"vain-{gateway.pid}-{number}"))
            await holds(gateway, "waiting", 200)
            leave(crowd[::2])
            await holds(gateway, "waiting", 100)
            await asyncio.gather(*[waits.done for waits in crowd[1::2]])
            assert 0.4 < time.monotonic() - before < 3.0
            assert Counter(waits.status for waits in crowd[1::2]) == {504: 100}
            assert all(b'"queue_timeout"' in waits.data for waits in crowd[1::2])
            leave(crowd)
        await at_rest(gateway)

        async def free() -> bool:
            return await engine(port) == {"running": 0, "waiting": 0}

        await eventually(free, "a free engine")
        calls = await seen(port)
        assert len([id for id in calls if f"-{gateway.pid}-" in id]) == 2

    run(main, 30.0)
