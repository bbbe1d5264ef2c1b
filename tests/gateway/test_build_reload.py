"""A reload of a running gateway: what the file changes really holds, for the next call and for those that wait."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import yaml

from penstock.config.load import load, read_text
from penstock.config.schema import Settings
from penstock.gateway.build import Gateway
from tests.helpers.wire import Client, Engine, answer, get, request, run, stream, until

Tree = dict[str, Any]


class Rig:
    """A gateway whose file is a tree that a test changes; three engines stand ready."""

    def __init__(self, engines: list[Engine]) -> None:
        self.engines = engines
        self.tree: Tree = {
            "listen": "127.0.0.1:0", "admin": None, "keys": [{"name": "one", "key": "sk-one"}],
            "pools": [self.pool("p", ["m"], 0)],
        }  # fmt: skip
        self.gateway = Gateway(self.read(), self.read)
        self.key = "sk-one"

    def pool(self, name: str, models: list[str], *engines: int, **more: Any) -> Tree:
        """A pool over some of the engines."""
        replicas = [{"url": self.engines[number].url, "id": f"e{number}"} for number in engines]
        return {"name": name, "models": models, "probe": {"enabled": False}, "replicas": replicas, **more}

    def read(self) -> Settings:
        """The file."""
        return load(yaml.safe_dump(self.tree), {}, read_text)

    async def reload(self, **changes: Any) -> list[str]:
        """Change the file, and reload it."""
        self.tree.update(changes)
        return await self.gateway.reload()

    @property
    def port(self) -> int:
        """The data port."""
        return self.gateway.bound().server.listen[1]

    async def ask(self, model: str = "m", key: str = "") -> tuple[int, str]:
        """The status, and the engine that answered."""
        async with Client(self.port) as client:
            client.send(self.request(model, key))
            got = await client.answer()
            return got.status, got.header("x-penstock-replica") or ""

    def request(self, model: str = "m", key: str = "", stream: bool = False) -> bytes:
        """A request's bytes."""
        body = f'{{"model":"{model}","messages":[],"stream":{str(stream).lower()}}}'
        return request(body.encode(), extra=f"Authorization: Bearer {key or self.key}\r\n")


@asynccontextmanager
async def rigged() -> AsyncIterator[Rig]:
    """A rig that runs."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(Engine(scripts=[[answer()]])) for _ in range(3)]
        rig = Rig(engines)
        await rig.gateway.start()
        yield rig
        await until(lambda: not rig.gateway.counters()["flights"] + rig.gateway.counters()["exchanges"])
        await rig.gateway.stop()


def test_keys() -> None:
    """A key that was added opens, one that was removed no longer does; on a connection that is kept, too."""

    async def main() -> None:
        async with rigged() as rig, Client(rig.port) as kept:
            kept.send(rig.request())
            assert (await kept.answer()).status == 200
            said = await rig.reload(keys=[{"name": "two", "key": "sk-two"}])
            assert said == ["keys: one removed", "keys: two added"]
            assert await rig.ask(key="sk-one") == (401, "")
            assert await rig.ask(key="sk-two") == (200, "e0")
            kept.send(rig.request())
            assert (await kept.answer()).status == 401

    run(main)


def test_aliases_and_models() -> None:
    """An alias works from the reload on and is listed; when it is taken out again the name is unknown."""

    async def main() -> None:
        async with rigged() as rig:
            assert (await rig.ask("gpt"))[0] == 404
            await rig.reload(aliases={"gpt": "m"})
            assert await rig.ask("gpt") == (200, "e0")
            assert json.loads(rig.engines[0].got[-1].body)["model"] == "m"
            async with Client(rig.port) as client:
                client.send(get("/v1/models").replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer sk-one\r\n\r\n"))
                assert b'"gpt"' in (await client.answer()).body
            await rig.reload(aliases={})
            assert (await rig.ask("gpt"))[0] == 404

    run(main)


def test_strategy() -> None:
    """Another strategy decides the next call."""

    async def main() -> None:
        async with rigged() as rig:
            await rig.reload(pools=[rig.pool("p", ["m"], 0, 1, strategy="round_robin")])
            assert {(await rig.ask())[1] for _ in range(4)} == {"e0", "e1"}
            weighted = rig.pool("p", ["m"], 0, 1, strategy="weighted_round_robin")
            weighted["replicas"][1]["weight"] = 1000
            await rig.reload(pools=[weighted])
            assert [(await rig.ask())[1] for _ in range(4)] == ["e1"] * 4

    run(main)


def test_pools_and_replicas_come_and_go() -> None:
    """A pool and a replica that were added serve, the ones that were removed do not, and their connections close."""

    async def main() -> None:
        async with rigged() as rig:
            assert await rig.ask() == (200, "e0")
            await rig.reload(pools=[rig.pool("p", ["m"], 1), rig.pool("q", ["n"], 2)])
            assert await rig.ask() == (200, "e1")
            assert await rig.ask("n") == (200, "e2")
            await until(lambda: rig.engines[0].open == 0, "a closed connection to the replica that is gone")
            await rig.reload(pools=[rig.pool("q", ["n"], 2)])
            assert (await rig.ask())[0] == 404
            assert [view.id for view in rig.gateway.replica_views()] == ["e2"]

    run(main)


def test_a_replica_that_moves() -> None:
    """An id with another URL is another replica: the next call goes to the new place."""

    async def main() -> None:
        async with rigged() as rig:
            await rig.ask()
            moved = rig.pool("p", ["m"], 1)
            moved["replicas"][0]["id"] = "e0"
            await rig.reload(pools=[moved])
            assert await rig.ask() == (200, "e0")
            assert (len(rig.engines[0].got), len(rig.engines[1].got)) == (1, 1)

    run(main)


def test_what_a_replica_is_shown() -> None:
    """A new API key is shown to the replica from the next call on."""

    async def main() -> None:
        async with rigged() as rig:
            for key in ("sk-first", "sk-second"):
                pool = rig.pool("p", ["m"], 0)
                pool["replicas"][0]["api_key"] = key
                await rig.reload(pools=[pool])
                await rig.ask()
                assert rig.engines[0].got[-1].header("authorization") == f"Bearer {key}"

    run(main)


def test_limits_and_queue() -> None:
    """Bounds of bodies and of the queue hold from the reload on."""

    async def main() -> None:
        async with rigged() as rig:
            rig.engines[0].scripts = [[asyncio.Event()]]
            pool = rig.pool("p", ["m"], 0, queue={"timeout": "1ms"})
            pool["replicas"][0]["max_concurrent_requests"] = 1
            await rig.reload(pools=[pool], limits={"body": "100B", "buffered": "1KB"})
            async with Client(rig.port) as busy:
                busy.send(rig.request())
                await until(lambda: bool(rig.engines[0].got))
                assert (await rig.ask())[0] == 504
                assert (await rig.ask("x" * 200))[0] == 413

    run(main)


def test_a_stream_goes_on_over_a_reload() -> None:
    """A stream from a replica that the reload takes out is relayed to its end, and then the replica is forgotten."""

    async def main() -> None:
        async with rigged() as rig:
            go = asyncio.Event()
            first, *rest = stream("a", "b", "c")
            rig.engines[0].scripts = [[first, rest[0], go, *rest[1:]]]
            async with Client(rig.port) as client:
                client.send(rig.request(stream=True))
                answering = asyncio.create_task(client.answer())
                await until(lambda: bool(rig.engines[0].got))
                await rig.reload(pools=[rig.pool("p", ["m"], 1)], keys=[{"name": "two", "key": "sk-two"}])
                assert await rig.ask(key="sk-two") == (200, "e1")
                go.set()
                got = await answering
            assert got.complete
            assert got.body.endswith(b"data: [DONE]\n\n")
            await until(lambda: rig.engines[0].open == 0)

    run(main)


def test_waiting_calls_follow_the_new_file() -> None:
    """A call that waits for a seat is served by a replica that a reload adds, and 404 where its model is gone."""

    async def main() -> None:
        async with rigged() as rig:
            rig.engines[0].scripts = [[asyncio.Event()]]
            pool = rig.pool("p", ["m"], 0)
            pool["replicas"][0]["max_concurrent_requests"] = 1
            await rig.reload(pools=[pool])
            async with Client(rig.port) as busy:
                busy.send(rig.request())
                await until(lambda: bool(rig.engines[0].got))
                waiting = asyncio.create_task(rig.ask())
                await until(lambda: rig.gateway.counters()["waiting"] == 1)
                other = rig.pool("p", ["m"], 1)
                await rig.reload(pools=[{**pool, "replicas": pool["replicas"] + other["replicas"]}])
                assert await waiting == (200, "e1")
                rig.engines[1].scripts = [[asyncio.Event()]]
                full = {**other["replicas"][0], "max_concurrent_requests": 1}
                await rig.reload(pools=[{**pool, "replicas": [*pool["replicas"], full]}])
                async with Client(rig.port) as second:
                    second.send(rig.request())
                    await until(lambda: rig.gateway.counters()["seats_taken"] == 2)
                    waiting = asyncio.create_task(rig.ask())
                    await until(lambda: rig.gateway.counters()["waiting"] == 1)
                    await rig.reload(pools=[rig.pool("q", ["n"], 2)])
                    assert (await waiting)[0] == 404

    run(main)


def test_the_access_log_can_be_switched(capsys: pytest.CaptureFixture[str]) -> None:
    """`log.access` holds from the reload on, and its lines tell the call."""

    async def main() -> None:
        async with rigged() as rig:
            await rig.ask()
            await rig.reload(log={"access": True, "format": "text"})
            await rig.ask()
            for handler in logging.getLogger().handlers:
                handler.flush()
            await rig.reload(log={"access": False, "format": "text"})
            await rig.ask()

    run(main)
    lines = [line for line in capsys.readouterr().err.splitlines() if "access: call" in line]
    assert len(lines) == 1
    assert "outcome=ok" in lines[0]
