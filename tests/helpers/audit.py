"""An audit of the ledger: thousands of mixed calls, and three accounts of each that must agree: its client's, the
engines' own, and the gateway's row.

What clients do is drawn by a seed. Nobody sleeps: who leaves before the first byte, or while he waits, leaves once the
engine or the gateway says that he has got so far.
"""

import asyncio
import itertools
import json
from collections import Counter
from random import Random
from typing import Any, NamedTuple

from tests.helpers.processes import Gateway
from tests.helpers.traffic import CHAT, ENDLESS, SLOW, ask, eventually, said
from tests.helpers.traffic import engine as load_of
from tests.helpers.wire import Answer, Client

TENANTS = ("acme", "beta", "gamma", "delta")
KINDS = {
    "whole": 30, "stream": 34, "hedged": 8, "completion": 5, "embedding": 3, "mistake": 4, "unknown": 2, "limited": 4,
    "leaves at the end": 5, "leaves in the middle": 5,
}  # fmt: skip
"""What is drawn, and how often; beside these some wait for a seat or a first byte and leave."""
FAULTS = {
    "tiny": (
        (),
        ("status,status=503,probability=0.1", "reset_before_head,probability=0.05"),
        (
            "close_mid_stream,after=6,probability=0.03", "reset_mid_stream,after=9,probability=0.03",
            "bad_chunk,after=4,probability=0.02", "error_event,after=12,probability=0.02",
            "truncated,probability=0.02",
        ),
    ),
}  # fmt: skip
"""What goes wrong at the engines of the model `tiny`, one after the other."""
LIMITED = "sk-limited-0123456789abcdef"
FAULTS_PATH = "/emulator/faults"
LATE = 10_000
"""So many times as long an engine takes whose first byte nobody waits for: two seconds a step."""
LONG = 400
"""Tokens of an answer that is left in its middle."""


class Mine(NamedTuple):
    """What the client of one call knows."""

    kind: str
    tenant: str
    outcome: str
    """completed, mistake, refused, or interrupted."""
    delivered: int
    """Tokens of the answer that it has seen, where it was a stream."""


class Rig(NamedTuple):
    """Who takes part. Ports of engines by model."""

    gateway: Gateway
    engines: dict[str, list[int]]


def key_of(tenant: str) -> str:
    """A tenant's key."""
    return f"sk-{tenant}-0123456789abcdef"


def tree(pools: list[dict[str, Any]], folder: str) -> dict[str, Any]:
    """The gateway's configuration."""
    keys = [{"name": f"{tenant}-key", "key": key_of(tenant), "tenant": tenant} for tenant in TENANTS]
    limited = {"name": "limited-key", "key": LIMITED, "tenant": "limited", "limits": {"requests_per_hour": 20}}
    tenants = [{"name": name} for name in (*TENANTS, "limited")]
    prices = {model: {"prompt": 3, "completion": 9} for model in ("tiny", "twin", "narrow", "late", "mild")}
    return {
        "pools": pools, "keys": [*keys, limited], "tenants": tenants, "prices": prices,
        "ledger": {"folder": folder}, "log": {"access": False},
    }  # fmt: skip


class Crowd:
    """Clients, and what they know when all is over."""

    def __init__(self, rig: Rig, calls: int, leavers: int, seed: int) -> None:
        """`leavers`: so many leave while they wait, and as many before the first byte."""
        self._rig = rig
        self._rng = Random(seed)
        kinds = self._rng.choices(list(KINDS), list(KINDS.values()), k=calls)
        self._kinds = iter(kinds)
        self._leavers = leavers
        self._numbers = itertools.count(1)
        self.known: dict[str, Mine] = {}
        """Request -> what its client knows."""

    async def go(self, users: int = 24, together: int = 20) -> None:
        """All of them. What prompts are is learnt from the first answers, which come to their end."""
        for model in ("tiny", "mild", "narrow", "late"):
            for _ in range(10):
                async with Client(self._rig.gateway.port) as client:
                    await self._whole(client, "whole", model=model, tokens=2)
        await ask(self._rig.engines["late"][0], json.dumps([{"kind": "slow", "factor": LATE}]).encode(), FAULTS_PATH)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(users):
                tasks.create_task(self._user())
            tasks.create_task(self._before_the_first_byte(together))
            tasks.create_task(self._waiting(together))

    async def _user(self) -> None:
        more = True
        while more:
            async with Client(self._rig.gateway.port) as client:
                more = False
                for kind in self._kinds:
                    if not await self._one(client, kind):
                        more = True
                        break

    async def _one(self, client: Client, kind: str) -> bool:
        """One call; False: its connection is used up."""
        if kind == "leaves in the middle":
            await self._middle(client)
            return False
        if kind == "hedged":
            return await self._whole(client, kind, model="twin")
        if kind == "unknown":
            return await self._whole(client, kind, model="nobody")
        if kind == "mistake":
            return await self._whole(client, kind, tokens=10**6)
        if kind == "limited":
            return await self._whole(client, kind, tenant="limited")
        going_on = await self._whole(client, kind)
        if kind == "leaves at the end":
            client.reset()
            return False
        return going_on

    # ===== requests =====

    def _request(
        self, model: str, tokens: int, stream: bool, tenant: str, kind: str = ""
    ) -> tuple[str, str, bytes]:  # fmt: skip
        """Its id, its tenant and its bytes."""
        id, tenant = f"audit-{next(self._numbers)}", tenant or self._rng.choice(TENANTS)
        text = "word " * (5 + self._rng.randrange(60))
        about: dict[str, Any] = {"model": model, "user": f"{tenant}-user-{self._rng.randrange(50)}"}
        path = CHAT
        if kind == "embedding":
            path, about = "/v1/embeddings", {"model": model, "input": text}
        elif kind == "completion":
            path, about = "/v1/completions", {**about, "prompt": text, "max_tokens": tokens, "stream": stream}
        else:
            messages = [{"role": "user", "content": text}]
            about |= {"messages": messages, "max_tokens": tokens, "stream": stream}
        body = json.dumps(about).encode()
        key = LIMITED if tenant == "limited" else key_of(tenant)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
            f"X-Request-Id: {id}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return id, tenant, head.encode() + body

    async def _whole(
        self, client: Client, kind: str, *, model: str = "tiny", tokens: int = 0, tenant: str = ""
    ) -> bool:  # fmt: skip
        stream = kind == "stream" or (kind not in ("whole", "embedding") and self._rng.random() < 0.5)
        tokens = tokens or 2 + self._rng.randrange(30)
        id, tenant, request = self._request(model, tokens, stream, tenant, kind)
        client.send(request)
        try:
            answer = await client.answer()
        except AssertionError:  # closed without an answer
            answer = Answer(0, [], b"", b"", False)
        self.known[id] = Mine(kind, tenant, _outcome(answer), tokens_in(answer.body))
        # behind an error in a stream the gateway closes
        return self.known[id].outcome != "interrupted" and answer.complete and answer.header("connection") != "close"

    async def _middle(self, client: Client) -> None:
        """A stream that is left after some tokens."""
        id, tenant, request = self._request("mild", LONG, True, "")
        client.send(request)
        got = b""
        try:
            for _ in range(3 + self._rng.randrange(40)):
                got += await client.reader.readuntil(b"\n\n")
        except asyncio.IncompleteReadError as end:
            raise AssertionError(f"{id} ended: {end.partial!r}") from None
        self.known[id] = Mine("leaves in the middle", tenant, "interrupted", tokens_in(got))
        if self._rng.random() < 0.5:
            client.reset()

    async def _before_the_first_byte(self, together: int) -> None:
        """They leave once the engine works on all of them."""
        (port,) = self._rig.engines["late"]
        for begin in range(0, self._leavers, together):
            clients = await self._send_all("late", min(together, self._leavers - begin), "leaves before the first byte")

            async def all_there(count: int = len(clients)) -> bool:
                load = await load_of(port)
                return load["running"] + load["waiting"] == count

            await eventually(all_there, "calls at the engine")
            await self._leave(clients)

            async def nobody() -> bool:
                load = await load_of(port)
                return load["running"] + load["waiting"] == 0

            await eventually(nobody, "an engine without work")

    async def _waiting(self, together: int) -> None:
        """They leave while another has the only seat."""
        first = await self._send_all("narrow", 1, "leaves before the first byte", ENDLESS)
        for begin in range(0, self._leavers, together):
            clients = await self._send_all("narrow", min(together, self._leavers - begin), "leaves while it waits")
            await self._line(len(clients))
            await self._leave(clients)
            await self._line(0)
        await self._leave(first)

    async def _line(self, count: int) -> None:
        async def so() -> bool:
            queues = await said(self._rig.gateway.admin_port, "/admin/queues")
            return bool(next(queue["queued"] for queue in queues if queue["name"] == "narrow") == count)

        await eventually(so, f"{count} that wait")

    async def _send_all(self, model: str, count: int, kind: str, tokens: int = 20) -> list[Client]:
        clients = [await Client(self._rig.gateway.port).__aenter__() for _ in range(count)]
        for client in clients:
            id, tenant, request = self._request(model, tokens, True, "")
            client.send(request)
            self.known[id] = Mine(kind, tenant, "interrupted", 0)
        return clients

    async def _leave(self, clients: list[Client]) -> None:
        for client in clients:
            if self._rng.random() < 0.5:
                client.reset()
            await client.__aexit__()

    def counted(self) -> Counter[str]:
        """How many calls there were of each kind and outcome."""
        return Counter(f"{mine.kind}: {mine.outcome}" for mine in self.known.values())


def tokens_in(body: bytes) -> int:
    """Tokens of a stream that were seen: chunks with content."""
    chat = body.count(b'"content":"') - body.count(b'"content":""')
    return chat + body.count(b'"text":"') - body.count(b'"text":""') if body.startswith(b"data:") else 0


def _outcome(answer: Answer) -> str:
    if answer.status == 200:
        whole = answer.complete and b'data: {"error"' not in answer.body
        return "completed" if whole else "interrupted"
    return "mistake" if answer.status == 400 else "refused"


class Done(NamedTuple):
    """What one engine did for one attempt."""

    prompt: int
    completion: int
    outcome: str
    user: str


async def accounts(rig: Rig) -> dict[str, dict[int, Done]]:
    """The engines' own account: request -> attempt -> what was done for it."""
    found: dict[str, dict[int, Done]] = {}
    for port in itertools.chain.from_iterable(rig.engines.values()):
        for one in await said(port, "/emulator/seen"):
            name = one["id"].partition("-")[2]
            id, attempt = (name, 1) if name.count("-") == 1 else name.rsplit("-", 1)
            attempts = found.setdefault(id, {})
            assert int(attempt) not in attempts, f"attempt {attempt} of {id} was made twice"
            attempts[int(attempt)] = Done(one["prompt_tokens"], one["completion_tokens"], one["outcome"], one["user"])
    return found


def speeds() -> dict[str, tuple[float, ...]]:
    """How fast the engines of each model are."""
    return {"twin": (1.0, SLOW), "mild": (SLOW * 2,), "narrow": (SLOW,), "late": (1.0,)}
