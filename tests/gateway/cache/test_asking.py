"""Embeddings from a model that the gateway serves itself: ordinary calls, bounded, and a failure is no vector."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import yaml

pytest.importorskip("numpy", reason="the extra `semantic` is not installed")

from penstock.config.load import load, read_text
from penstock.gateway.build import Gateway
from penstock.gateway.cache import asking
from tests.helpers.caching import USED, House, ask_for
from tests.helpers.wire import HANG, RESET, Engine, answer, run, until


def vector(*values: float) -> bytes:
    """An answer to a request for one."""
    data = [{"object": "embedding", "index": 0, "embedding": values}]
    return answer(json.dumps({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}).encode())


@asynccontextmanager
async def houses(*scripts: Sequence[Any], within: str = "5s", **semantic: Any) -> AsyncIterator[tuple[House, Engine]]:
    """A gateway with a model for chats and one for embeddings, which plays the scripts. At its end nothing is held."""
    async with AsyncExitStack() as stack:
        chats = await stack.enter_async_context(Engine(scripts=[[answer(USED)]]))
        vectors = await stack.enter_async_context(Engine(scripts=list(scripts)))
        pools = [
            {"name": name, "models": [name], "probe": {"enabled": False}, "replicas": [{"url": engine.url, "id": name}]}
            for name, engine in (("m", chats), ("embed", vectors))
        ]
        spec = {"mode": "all", "model": "embed", "timeout": within, **semantic}
        tree = {
            "listen": "127.0.0.1:0", "admin": None, "timeouts": {"drain": "1s"}, "retries": {"backoff": "1ms"},
            "cache": {"semantic": spec}, "pools": pools,
        }  # fmt: skip
        gateway = Gateway(load(yaml.safe_dump(tree), {}, read_text), seed=1)
        await gateway.start()
        house = House(gateway, chats)
        try:
            yield house, vectors
            await until(lambda: not house.held(), f"nothing held in {house.held()}")
        finally:
            await gateway.stop()


async def states(house: House, *texts: str) -> list[str | None]:
    """How each was answered."""
    return [(await house.ask(ask_for(text))).header("x-penstock-cache") for text in texts]


def test_a_served_model_is_asked_like_any_other() -> None:
    """One call for each new question, with a row for the tenant `penstock`; the nearest one has the answer."""

    async def main() -> None:
        async with houses([vector(1, 0)], [vector(1, 0.1)], [vector(0, 1)]) as (house, vectors):
            assert await states(house, "a first one", "a similar thing", "something else", "a first one") == [
                "miss", "hit", "miss", "hit",
            ]  # fmt: skip
            assert len(house.engine.got) == 2
            assert [got.line for got in vectors.got] == [b"POST /v1/embeddings HTTP/1.1"] * 3
            assert json.loads(vectors.got[1].body) == {
                "model": "embed", "input": "a similar thing", "encoding_format": "float",
            }  # fmt: skip
            own = [row for row in house.rows if row.tenant == "penstock"]
            assert [(row.path, row.outcome, row.replica) for row in own] == [("/v1/embeddings", "ok", "embed")] * 3
            assert own[0].usage.prompt_tokens == 3

    run(main)


NO_VECTORS: dict[str, Sequence[Any]] = {
    "an error": [answer(b'{"error":{"message":"no"}}', 400)],
    "nonsense": [answer(b"[]")],
    "several": [answer(b'{"data":[{"embedding":[1.0]},{"embedding":[2.0]}]}')],
    "no numbers": [answer(b'{"data":[{"embedding":"AAAA"}]}')],
    "nothing long": [answer(b'{"data":[{"embedding":[]}]}')],
    "a death": [RESET],
    "very much": [answer(b'{"data":[{"embedding":[%b1]}]}' % (b"0.5," * 300_000))],
}


@pytest.mark.parametrize("script", NO_VECTORS.values(), ids=NO_VECTORS)
def test_without_a_vector_the_call_is_sent(script: Sequence[Any]) -> None:
    """Whatever the model does, nobody gets an error for it."""

    async def main() -> None:
        async with houses(script, within="300ms") as (house, _):
            assert await states(house, "a first one", "a similar thing") == ["miss", "miss"]
            similar = house.gateway.plane.similar
            assert similar is not None
            await until(lambda: similar.away > 0, "it is counted")
            assert house.gateway.caching.metrics()["cache_embeddings_missed"] == similar.away

    run(main)


def test_nobody_waits_long_and_a_model_that_is_silent_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way is given up; after three in a row it is not asked for a while."""
    monkeypatch.setattr(asking, "ALONE_S", 600.0)

    async def main() -> None:
        async with houses([vector(1, 0)], [HANG], within="50ms") as (house, vectors):
            for number in range(6):
                assert await states(house, f"silence {'x' * number}") == ["miss"]
                await until(lambda: not house.held(), "all that was asked is over")
            assert asking.FAILURES <= len(vectors.got) <= 1 + asking.FAILURES  # the first one may be late as well
            await until(lambda: vectors.gone >= asking.FAILURES - 1, "the engine is told")

    run(main)


def test_only_so_many_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """More are misses at once; when the gateway ends, nobody waits for a vector."""
    monkeypatch.setattr(asking, "MOST_AT_ONCE", 2)

    async def main() -> None:
        opened = asyncio.Event()
        async with houses([vector(1, 0)], [opened, vector(0, 1)]) as (house, vectors):
            await states(house, "a first one")
            asked = [asyncio.create_task(states(house, f"another {'y' * number}")) for number in range(5)]
            await until(lambda: len(vectors.got) == 3, "two are asked")
            await until(lambda: sum(task.done() for task in asked) == 3, "three are misses")
            opened.set()
            assert {state for task in asked for state in await task} == {"miss"}

    run(main)


def test_a_question_is_never_compared_for_its_own_embedding() -> None:
    """The calls for vectors have nothing to do with the cache, so that none leads to another."""

    async def main() -> None:
        async with houses([vector(1, 0)]) as (house, vectors):
            await states(house, "a first one")
            await until(lambda: len(vectors.got) == 1, "one vector")
            await until(lambda: len(house.rows) == 2, "both calls are over")
            assert [bool(row.cache) for row in house.rows if row.tenant == "penstock"] == [False]

    run(main)
