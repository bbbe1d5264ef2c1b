"""Everything at once: callers of every kind at one gateway, in waves, and what each of them knows of its call.

Who leaves does so after a time that is drawn, wherever its call has got to; so nobody waits for a state that passes.
"""

import asyncio
import gzip
import itertools
import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from tests.helpers.audit import tokens_in
from tests.helpers.traffic import post
from tests.helpers.wire import Answer, Client

KEYS = {name: f"sk-{name}-0123456789abcdef" for name in ("acme", "beta", "counted", "thrifty")}
"""Two tenants without limits, one with few requests, one with few tokens."""
KINDS = {
    "whole": 20, "stream": 20, "hedged": 8, "narrow": 8, "question": 24, "embedding": 12, "repeated embedding": 4,
    "mistake": 3,
}  # fmt: skip
"""What is drawn, and how often."""
LEAVE, LEAVE_S = 0.25, 0.25
"""Of all but mistakes so many leave, after at most so many seconds."""
QUESTIONS = 40
PATHS = {"embedding": "/v1/embeddings", "repeated embedding": "/v1/embeddings"}


class Known(NamedTuple):
    """What the client of one call knows."""

    wave: str
    kind: str
    tenant: str
    status: int
    """0: nothing came, or it left."""
    outcome: str
    """completed, interrupted, refused, mistake, left, or lost: its connection was closed without an answer."""
    delivered: int
    usage: tuple[int, int] | None
    """As its answer says; none: it does not."""
    cache: str
    packed: bool


class Medley:
    """Callers of one gateway."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._numbers = itertools.count(1)
        self.known: dict[str, Known] = {}

    async def wave(self, port: int, name: str, calls: int, users: int = 24) -> None:
        """So many calls."""
        kinds = iter(self._rng.choices(list(KINDS), list(KINDS.values()), k=calls))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(users):
                tasks.create_task(self._user(port, name, kinds))

    async def _user(self, port: int, wave: str, kinds: Iterator[str]) -> None:
        for kind in kinds:
            await self._one(port, wave, kind)

    async def _one(self, port: int, wave: str, kind: str) -> None:
        id, tenant = f"medley-{next(self._numbers)}", self._rng.choice(list(KEYS))
        leaves_s = self._rng.random() * LEAVE_S if kind != "mistake" and self._rng.random() < LEAVE else None
        request = self._request(kind, tenant, id)
        got, answer = bytearray(), None
        try:
            async with Client(port) as client, asyncio.timeout(leaves_s):
                client.send(request)
                if leaves_s is None:
                    answer = await client.answer()
                while leaves_s is not None and (more := await client.reader.read(1 << 16)):
                    got += more
        except TimeoutError:
            pass
        except (AssertionError, OSError):  # closed without an answer
            self.known[id] = Known(wave, kind, tenant, 0, "lost", 0, None, "", False)
            return
        if answer is None:
            self.known[id] = Known(wave, kind, tenant, 0, "left", tokens_in(_events(bytes(got))), None, "", False)
        else:
            self.known[id] = _known(wave, kind, tenant, answer)

    def _request(self, kind: str, tenant: str, id: str) -> bytes:
        rng = self._rng
        model = {"hedged": "twin", "narrow": "narrow"}.get(kind, "tiny")
        text = "word " * rng.randrange(5, 60)
        about: dict[str, Any] = {"model": model, "user": f"{tenant}-user"}
        if kind == "embedding":
            about["input"] = f"{text} {id}"
        elif kind == "repeated embedding":
            about["input"] = f"text {rng.randrange(QUESTIONS)}"
        else:
            number = min(rng.randrange(QUESTIONS) for _ in range(4))
            if kind == "question":
                if number % 4 < 2:  # slowly, so that others come while it is answered, and hedged
                    about["model"] = "twin"
                text, about["temperature"], tokens = f"{tenant} asks {number}", 0, 3 + number
            else:
                tokens = 10**6 if kind == "mistake" else rng.randrange(2, 40)
            stream = number % 2 == 0 if kind == "question" else kind in ("stream", "narrow") or rng.random() < 0.3
            about |= {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "stream": stream}
        request = post(json.dumps(about).encode(), PATHS.get(kind, "/v1/chat/completions"), KEYS[tenant], id)
        if rng.random() < 0.5:
            request = request.replace(b"Host: test\r\n", b"Host: test\r\nAccept-Encoding: gzip\r\n", 1)
        # who leaves reads to the end of the connection, if it stays that long
        return request.replace(b"Host: test\r\n", b"Host: test\r\nConnection: close\r\n", 1)


def _events(raw: bytes) -> bytes:
    """The body of a stream that is not whole, near enough to count its tokens."""
    at = raw.find(b"data: ")
    return raw[at:] if at >= 0 else b""


def _known(wave: str, kind: str, tenant: str, answer: Answer) -> Known:
    body, packed, usage = answer.body, answer.header("content-encoding") == "gzip", None
    if packed and answer.complete:
        body = gzip.decompress(body)
    if answer.status != 200:
        outcome = "mistake" if answer.status == 400 else "refused"
    else:
        outcome = "completed" if answer.complete and b'data: {"error"' not in body else "interrupted"
    if outcome == "completed" and body.startswith(b"{"):
        told = json.loads(body)["usage"]
        usage = told["prompt_tokens"], told.get("completion_tokens") or 0
    cache = answer.header("x-penstock-cache") or ""
    return Known(wave, kind, tenant, answer.status, outcome, tokens_in(body), usage, cache, packed)
