"""Traffic that repeats itself, and what each of its clients knows: hits, followers of one answer, those who leave it,
calls that want no kept answer. For audits of what such calls cost whom.

Every question's answer is determined, so that engines must count the same tokens whenever they are asked it.
"""

import asyncio
import itertools
import json
from itertools import accumulate
from random import Random
from typing import NamedTuple

from tests.helpers.audit import FAULTS_PATH, LIMITED, TENANTS, Rig, key_of, tokens_in
from tests.helpers.traffic import ask, eventually, post, said
from tests.helpers.wire import Answer, Client

QUESTIONS = 120
"""Of each tenant; the n-th is asked with a weight of 1 / n."""
SLOW_FACTOR = 5_000
"""So many times as long an engine takes while a crowd gathers: a second a token, so that no answer is whole before all
are there."""
HEADERS = {"": 80, "bypass": 8, "refresh": 4}
"""What clients say of the cache, and how often."""
CROWD, CROWDS = 8, 12
"""Clients of one question, and questions at a time."""
LIMIT = 20
"""Requests an hour of the tenant `limited`."""


class Question(NamedTuple):
    """What is asked, and by whom."""

    tenant: str
    model: str
    number: int

    @property
    def stream(self) -> bool:
        """Whether its answer is one."""
        return self.number % 2 == 0 or self.model == "late"

    def body(self) -> bytes:
        """The request's."""
        text = f"{self.tenant} asks {self.number}" + " and more" * (self.number % 13)
        messages = [{"role": "user", "content": text}]
        return json.dumps({
            "model": self.model, "messages": messages, "max_tokens": 3 + self.number % 17, "stream": self.stream,
            "temperature": 0,
        }).encode()  # fmt: skip


class Heard(NamedTuple):
    """What the client of one call knows."""

    question: Question
    said: str
    """What it said of the cache."""
    state: str
    """What it was told of the cache."""
    outcome: str
    """completed, interrupted, or refused."""
    delivered: int
    """Tokens of a stream that it has seen."""
    body: bytes


class Repeats:
    """Clients, and what they know when all is over."""

    def __init__(self, rig: Rig, calls: int, rounds: int, seed: int) -> None:
        """`rounds` of crowds that ask the same at the same time."""
        self._rig = rig
        self._rng = Random(seed)
        self._numbers = itertools.count(1)
        self._rounds = rounds
        weights = list(accumulate(1 / rank for rank in range(1, QUESTIONS + 1)))
        numbers = self._rng.choices(range(QUESTIONS), cum_weights=weights, k=calls)
        tenants = self._rng.choices(TENANTS, k=calls)
        words = self._rng.choices(list(HEADERS), list(HEADERS.values()), k=calls)
        self._drawn = zip(tenants, numbers, words, strict=True)
        self.known: dict[str, Heard] = {}
        """Request -> what its client knows."""

    async def go(self, users: int = 16) -> None:
        """All of them."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(users):
                tasks.create_task(self._user())
            tasks.create_task(self._limited())
            tasks.create_task(self._gather())

    async def _user(self) -> None:
        for tenant, number, word in self._drawn:
            await self.one(Question(tenant, "tiny", number), word)

    async def _limited(self) -> None:
        """One of few requests, who asks the same again and again."""
        for _ in range(LIMIT + 5):
            await self.one(Question("limited", "tiny", 1))

    async def one(self, question: Question, word: str = "") -> Heard:
        """One call on a connection of its own."""
        id, request = self._request(question, word)
        async with Client(self._rig.gateway.port) as client:
            client.send(request)
            try:
                answer = await client.answer()
            except AssertionError:  # closed without an answer
                answer = Answer(0, [], b"", b"", False)
        found = self.known[id] = heard(question, word, answer)
        return found

    def _request(self, question: Question, word: str = "") -> tuple[str, bytes]:
        id = f"again-{next(self._numbers)}"
        key = LIMITED if question.tenant == "limited" else key_of(question.tenant)
        request = post(question.body(), key=key, id=id)
        head = b"Host: test\r\nX-Penstock-Cache: %b\r\n" % word.encode()
        return id, request.replace(b"Host: test\r\n", head, 1) if word else request

    # ===== crowds =====

    async def _gather(self) -> None:
        """Crowds that ask the same while an engine takes its time; of each some leave, first or last among them, or all
        of them; then the engine hurries."""
        (port,) = self._rig.engines["late"]
        for at in range(self._rounds):
            await ask(port, json.dumps([{"kind": "slow", "factor": SLOW_FACTOR}]).encode(), FAULTS_PATH)
            async with asyncio.TaskGroup() as tasks:
                questions = [
                    Question(TENANTS[number % len(TENANTS)], "late", 1000 + at * CROWDS + number)
                    for number in range(CROWDS)
                ]
                crowds = [[tasks.create_task(self._stays(question)) for _ in range(CROWD)] for question in questions]
                await self._following(CROWDS * (CROWD - 1))
                if at % 2:  # in the middle of the answers
                    await self._generating(port)
                for number, crowd in enumerate(crowds):
                    for task in self._leaving(number, crowd):
                        task.cancel()
                leaving = [task for crowd in crowds for task in crowd if task.cancelling()]
                await asyncio.gather(*leaving, return_exceptions=True)
                await ask(port, b"[]", FAULTS_PATH)

    async def _generating(self, port: int) -> None:
        async def so() -> bool:
            seen = await said(port, "/emulator/seen")
            return all(one["completion_tokens"] > 1 for one in seen[-CROWDS:])

        await eventually(so, "answers that have begun", 30.0)

    def _leaving(self, number: int, crowd: list["asyncio.Task[None]"]) -> list["asyncio.Task[None]"]:
        how = number % 4
        if how == 0:  # whoever asked first, and two more
            return crowd[:3]
        if how == 1:
            return self._rng.sample(crowd, CROWD // 2)
        return crowd if how == 2 else []

    async def _following(self, count: int) -> None:
        async def so() -> bool:
            view = await said(self._rig.gateway.admin_port, "/admin/cache")
            return bool(view["following"] >= count)

        await eventually(so, f"{count} that follow", 30.0)

    async def _stays(self, question: Question) -> None:
        """Until its end, or until it is told to leave."""
        id, request = self._request(question)
        got = b""
        async with Client(self._rig.gateway.port) as client:
            client.send(request)
            try:
                answer = await client.answer()
                self.known[id] = heard(question, "", answer)
            except asyncio.CancelledError:
                if self._rng.random() < 0.5:
                    client.reset()
                self.known[id] = Heard(question, "", "", "interrupted", tokens_in(got), b"")


def heard(question: Question, word: str, answer: Answer) -> Heard:
    """What a client makes of its answer."""
    outcome = "refused"
    if answer.status == 200:
        whole = answer.complete and b'data: {"error"' not in answer.body
        outcome = "completed" if whole else "interrupted"
    state = answer.header("x-penstock-cache") or ""
    return Heard(question, word, state, outcome, tokens_in(answer.body), answer.body)
