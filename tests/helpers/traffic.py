"""Traffic for end-to-end tests: requests over real sockets, steady load, and what the admin API and emulators say."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from penstock.loadgen.answer import Answer
from penstock.loadgen.client import Client as Caller
from penstock.loadgen.client import Target
from penstock.loadgen.exchange import Timeouts
from tests.helpers.processes import Gateway
from tests.helpers.wire import Answer as Raw
from tests.helpers.wire import Client

CHAT = "/v1/chat/completions"
ENDLESS = 30_000
"""Tokens of an answer that outlasts every test."""

SLOW = 0.01
"""Speed of an emulated engine that needs 20 ms a token, so that a test can act while it streams."""

_numbers = itertools.count(1)


def pool(*urls: str, name: str = "tiny", models: tuple[str, ...] = ("tiny",), **more: Any) -> dict[str, Any]:
    """A pool over these engines, looked at often enough for tests."""
    replicas = [{"url": url, "engine": "vllm"} for url in urls]
    looks = {"probe": {"interval": "200ms", "timeout": "1s"}, "scrape": {"interval": "500ms"}}
    return {"name": name, "models": list(models), "replicas": replicas, **looks, **more}


def unique() -> str:
    """A request id by which a call is found again at an emulator."""
    return f"e2e-{next(_numbers)}"


def chat(max_tokens: int = 5, *, stream: bool = False, model: str = "tiny", text: str = "Hello there") -> bytes:
    """The body of a chat request. Answers have exactly `max_tokens` tokens."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "messages": messages, "max_tokens": max_tokens, "stream": stream}).encode()


def post(body: bytes, path: str = CHAT, key: str = "", id: str = "", host: str = "test") -> bytes:
    """A POST's bytes."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"X-Request-Id: {id}"] if id else []
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def ask(port: int, body: bytes | None = None, path: str = CHAT, **how: str) -> Raw:
    """One request on a connection of its own; without a body it is a GET."""
    async with Client(port) as client:
        if body is None:
            client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        else:
            client.send(post(body, path, **how))
        return await client.answer()


async def said(port: int, path: str) -> Any:
    """The JSON of a page."""
    return json.loads((await ask(port, None, path)).body)


async def order(gateway: Gateway, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request to the admin API."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
    async with Client(gateway.admin_port) as client:
        client.send(head.encode() + data)
        got = await client.answer()
        return got.status, json.loads(got.body)


async def eventually(true: Callable[[], Any], what: str, within_s: float = 10.0) -> None:
    """Wait until a coroutine function says yes."""
    seen: Any = None
    try:
        async with asyncio.timeout(within_s):
            while not (seen := await true()):  # noqa: ASYNC110 - another process has no event of ours
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {within_s} s for {what}; last: {seen}") from None


HELD = ("flights", "waiting", "held_ids", "seats_taken", "exchanges", "buffered_bytes")


async def at_rest(gateway: Gateway, within_s: float = 5.0) -> None:
    """Wait until the gateway holds nothing: no call, seat, byte or id, and no upstream connection that is in use."""
    held: dict[str, int] = {}

    async def nothing() -> bool:
        held.update(await said(gateway.admin_port, "/admin/counters"))
        return not any(held[name] for name in HELD) and held["upstream_connections"] == held["upstream_idle"]

    try:
        await eventually(nothing, "a gateway at rest", within_s)
    except AssertionError:
        raise AssertionError(f"the gateway still holds {held}") from None


async def ready(gateway: Gateway, replicas: int = 1) -> None:
    """Wait until so many replicas can serve."""

    async def enough() -> bool:
        found = await states(gateway)
        return sum(state in ("healthy", "busy") for state in found.values()) >= replicas

    await eventually(enough, f"{replicas} healthy replicas", 20.0)


async def holds(gateway: Gateway, name: str, count: int) -> None:
    """Wait until a counter of the gateway stands at this."""

    async def so() -> bool:
        return bool((await said(gateway.admin_port, "/admin/counters"))[name] == count)

    await eventually(so, f"{name} to be {count}")


async def begun(gateway: Gateway, count: int = 1) -> None:
    """Wait until so many streams have begun since the gateway started."""

    async def so() -> bool:
        turns = await said(gateway.admin_port, "/admin/journal?last=10000")
        return len([event for _, event, _ in turns if event["type"] == "Began"]) >= count

    await eventually(so, f"{count} streams that have begun")


async def states(gateway: Gateway) -> dict[str, str]:
    """The state of each replica, by id."""
    return {view["id"]: view["state"] for view in await said(gateway.admin_port, "/admin/fleet")}


async def engine(port: int) -> dict[str, float]:
    """What an emulated engine says: `running`, `waiting`."""
    page = (await ask(port, None, "/metrics")).body.decode()
    names = {"running": "vllm:num_requests_running{", "waiting": "vllm:num_requests_waiting{"}
    values: dict[str, float] = {}
    for short, name in names.items():
        (line,) = [line for line in page.splitlines() if line.startswith(name)]
        values[short] = float(line.rpartition(" ")[2])
    return values


async def seen(*ports: int) -> dict[str, str]:
    """Every call that reached these emulated engines: the request's id, and how it ended there."""
    found: dict[str, str] = {}
    for port in ports:
        for entry in await said(port, "/emulator/seen"):
            id = entry["id"].partition("-")[2]
            assert id not in found, f"{id} was sent twice"
            found[id] = entry["outcome"]
    return found


class Traffic:
    """Users who ask again as soon as they have their answer, until they are told to stop."""

    def __init__(self, gateway: Gateway, users: int = 16, key: str | None = None) -> None:
        self.answers: list[Answer] = []
        self.refused = 0
        """Answers without a single byte that came back; the load client asks those again."""
        self._users = users
        self._port = gateway.port
        self._key = key
        self._stop = asyncio.Event()

    def bodies(self) -> "itertools.cycle[bytes]":
        """What the users ask: short and longer, streamed and not, in turn."""
        return itertools.cycle([chat(3), chat(30, stream=True), chat(120, stream=True), chat(40)])

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator["Traffic"]:
        """Traffic flows while the block runs; at its end everybody has got his last answer."""
        caller = Caller(Target("127.0.0.1", self._port), key=self._key, timeouts=Timeouts(total_s=30.0))
        bodies = self.bodies()

        async def user() -> None:
            while not self._stop.is_set():
                self.answers.append(await caller.ask("POST", CHAT, next(bodies)))

        async with asyncio.TaskGroup() as users:
            for _ in range(self._users):
                users.create_task(user())
            try:
                yield self
            finally:
                self._stop.set()
        self.refused = caller.reconnects
        caller.close()

    async def more(self, count: int) -> None:
        """Wait for so many further answers."""
        wanted = len(self.answers) + count

        async def enough() -> bool:
            return len(self.answers) >= wanted

        await eventually(enough, f"{count} more answers")

    def errors(self) -> list[str]:
        """The kinds of all that went wrong."""
        return [answer.error for answer in self.answers if answer.error]
