"""A crowd: ten thousand requests at once are queued and served; beyond the bounds the surplus hears 429 at once."""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, ending
from tests.helpers.traffic import ENDLESS, at_rest, begun, chat, engine, eventually, holds, pool, post, ready, seen
from tests.helpers.wire import Client, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

MANY = 10_000


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """As many open files as the system allows; without enough for the crowd there is nothing to test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < MANY + 2000:
        pytest.skip(f"only {before[1]} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class One(asyncio.Protocol):
    """One of the crowd: sends its request when told, and notes the answer's head and when it came."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.data = b""
        self.sent_at = 0.0
        self.took_s = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the base class

    def send(self, request: bytes) -> None:
        """Ask."""
        self.sent_at = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Some of the answer: all of them are small and end in a brace."""
        self.data += data
        if data.endswith(b"}") and not self.done.done():
            self.took_s = time.monotonic() - self.sent_at
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Closed."""
        if not self.done.done():
            self.done.set_result(None)

    @property
    def status(self) -> int:
        """The status; 0: it was closed without an answer."""
        return int(self.data[9:12] or 0)

    def header(self, name: bytes) -> bytes:
        """A header's value."""
        return self.data.partition(name + b": ")[2].partition(b"\r\n")[0]


async def gathered(port: int, count: int) -> list[One]:
    """So many connections, opened all at once."""
    loop = asyncio.get_running_loop()
    pairs = await asyncio.gather(*[loop.create_connection(One, "127.0.0.1", port) for _ in range(count)])
    return [one for _, one in pairs]


def leave(crowd: list[One]) -> None:
    """Everybody closes."""
    for one in crowd:
        one.transport.abort()


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
