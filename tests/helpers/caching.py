"""A whole gateway with a cache over one scripted engine, for tests of what clients get."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import yaml

from penstock.config.load import load, read_text
from penstock.core.effects import Effect, Record
from penstock.core.events import Event
from penstock.gateway.build import Gateway
from tests.helpers.wire import DONE, Answer, Client, Engine, chunk, event, request, stream, until


def ask_for(text: str = "Hello", *, stream: bool = False, **fields: Any) -> bytes:
    """The body of a chat request that determines its answer."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "m", "messages": messages, "temperature": 0, "stream": stream, **fields}).encode()


ASKED_AS_STREAM = ask_for(stream=True)
USED = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
WHOLE_STREAM = stream("one", "two", "three")
ALL_EVENTS = b"".join([event("one"), event("two"), event("three"), DONE])
EVENTS = [chunk(event(text)) for text in ("one", "two", "three")]


class House:
    """A gateway, its engine, and the rows of the calls that are over."""

    def __init__(self, gateway: Gateway, engine: Engine) -> None:
        self.gateway = gateway
        self.engine = engine
        self.rows: list[Any] = []
        gateway.journal.observers.append(self._observe)

    def _observe(self, now: float, event: Event, effects: list[Effect]) -> None:
        self.rows += [order.row for order in effects if isinstance(order, Record)]

    @property
    def port(self) -> int:
        """Where it serves."""
        return self.gateway.bound().server.listen[1]

    def states(self) -> list[str]:
        """What the cache had to do with each call, in the order of their ends."""
        return [row.cache or "" for row in self.rows]

    async def ask(self, body: bytes, extra: str = "", path: str = "/v1/chat/completions") -> Answer:
        """One request on a connection of its own."""
        async with Client(self.port) as client:
            client.send(request(body, path=path, extra=extra))
            return await client.answer()

    def held(self) -> dict[str, int]:
        """What is held beside connections to the replica that wait for the next call."""
        counters = self.gateway.counters()
        counters["upstream_connections"] -= counters.pop("upstream_idle")
        return {name: value for name, value in counters.items() if value and not name.endswith("_total")}


@asynccontextmanager
async def caching(
    *scripts: Sequence[Any], cache: dict[str, Any] | None = None, seats: int = 64, **file: Any
) -> AsyncIterator[House]:
    """A started gateway. At its end nothing may be held."""
    async with Engine(scripts=list(scripts)) as engine:
        replica = {"url": engine.url, "id": "r0", "max_concurrent_requests": seats}
        pool = {"name": "p", "models": ["m"], "probe": {"enabled": False}, "replicas": [replica]}
        tree = {
            "listen": "127.0.0.1:0", "admin": None, "timeouts": {"drain": "1s"}, "retries": {"backoff": "5ms"},
            "cache": cache or {}, "pools": [pool], **file,
        }  # fmt: skip
        gateway = Gateway(load(yaml.safe_dump(tree), {}, read_text), seed=1)
        await gateway.start()
        house = House(gateway, engine)
        try:
            yield house
            await until(lambda: not house.held(), f"nothing held in {house.held()}")
        finally:
            await gateway.stop()


async def arrive(
    house: House, count: int, body: bytes = ASKED_AS_STREAM, extra: str = ""
) -> list[asyncio.Task[Answer]]:
    """So many ask at once; they are in flight."""
    before = house.gateway.counters()["flights"]
    asked = [asyncio.create_task(house.ask(body, extra)) for _ in range(count)]
    await until(lambda: house.gateway.counters()["flights"] == before + count, "all are here")
    return asked


def told(answers: list[Answer]) -> list[str]:
    """What the cache had to do with each."""
    return sorted(one.header("x-penstock-cache") or "" for one in answers)


def relayed(house: House) -> int:
    """Events that the engine's answer has brought."""
    return sum(attempt.relayed_tokens for one in house.gateway.plane.exchanges.values() for attempt in one.attempts)
