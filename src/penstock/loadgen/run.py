"""When to send what: a trace replayed in open loop (at its own times, whatever the answers do) or closed loop.

In open loop a request is never held back by an answer: what the trace says arrives, arrives, as users do. How late the
generator itself was is measured. Knows plans, the client and the tally; prints nothing.
"""

import asyncio
import resource
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

import msgspec

from penstock.base.nouns import PRIORITIES
from penstock.loadgen.answer import Answer
from penstock.loadgen.client import Client
from penstock.loadgen.keys import Keyring
from penstock.loadgen.tally import Tally
from penstock.workload.export import decimal_s
from penstock.workload.prompts import Prompts
from penstock.workload.request import NORMAL, Request

Api = Literal["chat", "completions", "embeddings"]
PATHS: dict[str, str] = {
    "chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings",
}  # fmt: skip
TICK_S = 0.2
AHEAD = 64
"""Requests that are written before their time comes: a burst of long prompts must not make the generator late."""
SPARE_FILES = 64
"""Open files that are left for everything but connections."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and when."""

    model: str = ""
    """For every request; empty: the trace's own, else `default_model`."""
    default_model: str = ""
    api: Api = "chat"
    stream: bool = True
    speed: float = 1.0
    """2: twice as fast as the trace."""
    limit: int | None = None
    """Most requests."""
    duration_s: float | None = None
    """No request is sent later than this after the start."""
    repeat: bool = False
    """Begin the trace again at its end, with new prompts, until limit or duration."""
    concurrency: int = 10_000
    """Most requests in flight in open loop; what comes beyond is not sent, and counted."""
    closed: int | None = None
    """Closed loop: so many users, each of whom sends the next request when the last is answered."""
    seed: int = 0
    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None


class _Ready(msgspec.Struct, frozen=True):
    due_s: float
    request: Request
    body: bytes
    headers: bytes
    clipped: bool


Arrival = tuple[int, float, Request]
"""Number, seconds after the start, request."""


def arrivals(requests: list[Request], plan: Plan) -> Iterator[Arrival]:
    """The requests of a plan, in order. A repeated trace begins one mean gap (1 s if it has none) later."""
    return islice(_endless(requests, plan), plan.limit)


def _endless(requests: list[Request], plan: Plan) -> Iterator[Arrival]:
    span_s = requests[-1].at_s
    period_s = span_s + (span_s / (len(requests) - 1) if span_s else 1.0)
    number, round_at_s = 0, 0.0
    while True:
        for request in requests:
            due_s = (round_at_s + request.at_s) / plan.speed
            if plan.duration_s is not None and plan.closed is None and due_s > plan.duration_s:
                return
            yield number, due_s, request
            number += 1
        if not plan.repeat:
            return
        round_at_s += period_s


def planned(requests: list[Request], plan: Plan) -> int | None:
    """How many requests the plan has; None: it depends on the answers, or does not end by itself."""
    if plan.closed is not None and plan.duration_s is not None:
        return None
    if plan.repeat and plan.limit is None and plan.duration_s is None:
        return None
    return sum(1 for _ in arrivals(requests, plan))


def clip(request: Request, plan: Plan) -> Request:
    """The request within the plan's bounds of size; the very same object where it fits."""
    prompt = min(request.prompt_tokens, plan.max_prompt_tokens or request.prompt_tokens)
    output = min(request.output_tokens, plan.max_output_tokens or request.output_tokens)
    if prompt == request.prompt_tokens and output == request.output_tokens:
        return request
    return msgspec.structs.replace(request, prompt_tokens=prompt, output_tokens=output)


def body_of(request: Request, prompt: str, plan: Plan) -> bytes:
    """The JSON of one request: exactly as many output tokens as the trace had, where the engine knows `ignore_eos`; an
    embedding has none, and no stream."""
    model = plan.model or request.adapter or request.model or plan.default_model
    if plan.api == "embeddings":
        asked = {"model": model, "input": prompt} | ({"user": request.session} if request.session else {})
        return msgspec.json.encode(asked)
    body: dict[str, object] = {
        "model": model,
        "max_tokens": max(request.output_tokens, 1),
        "ignore_eos": True,
        "stream": plan.stream,
    }
    if plan.api == "chat":
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    if plan.stream:
        body["stream_options"] = {"include_usage": True}
    if request.session:
        body["user"] = request.session
    return msgspec.json.encode(body)


def wishes_of(request: Request) -> bytes:
    """The headers that tell Penstock a request's priority and deadline; nothing where it has none."""
    wishes = b"" if request.priority == NORMAL else f"x-penstock-priority: {PRIORITIES[request.priority]}\r\n".encode()
    if request.deadline_ns:
        wishes += f"x-penstock-timeout: {decimal_s(request.deadline_ns)}\r\n".encode()
    return wishes


class Replay:
    """One run of load. `run` does it; `halt` ends it early, cutting what is in flight."""

    def __init__(
        self, requests: list[Request], plan: Plan, client: Client, tally: Tally,
        watch: Callable[[Tally], None] | None = None, tick_s: float = TICK_S, keys: Keyring | None = None,
    ) -> None:  # fmt: skip
        """`keys`: requests are dealt to tenants, each with a key; the client should have none of its own."""
        self._arrivals = arrivals(requests, plan)
        self._plan, self._client, self._tally = plan, client, tally
        self._watch, self._tick_s = watch, tick_s
        self._prompts = Prompts(plan.seed)
        self._keys = keys
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ticker: asyncio.Handle

    async def run(self) -> None:
        """Send everything and wait for the answers, each bounded by the client's timeouts."""
        self._ticker = self._loop.call_soon(self._tick)
        try:
            async with asyncio.TaskGroup() as group:
                if self._plan.closed is None:
                    await self._open_loop(group)
                else:
                    await self._closed_loop(group, self._plan.closed)
        finally:
            self._ticker.cancel()
            self._tally.over(time.perf_counter(), self._client.reconnects)
            self._client.close()

    def halt(self) -> None:
        """Send no more, and cut what is in flight. Safe to call at any time, and again."""
        self._tally.interrupted = True
        self._stop.set()
        for task in self._tasks:
            task.cancel()

    # ===== open loop =====

    async def _open_loop(self, group: asyncio.TaskGroup) -> None:
        waiting: deque[_Ready] = deque()
        await self._write_ahead(waiting, float("inf"))
        start = time.perf_counter()
        while waiting:
            ready = waiting.popleft()
            if not await self._until(start + ready.due_s):
                return
            if self._tally.in_flight >= self._plan.concurrency:
                self._tally.not_sent += 1
            else:
                self._tally.began(at := time.perf_counter(), max(at - start - ready.due_s, 0.0), ready.clipped)
                self._spawn(group, self._one(ready))
            await self._write_ahead(waiting, start + waiting[0].due_s if waiting else 0.0)

    async def _write_ahead(self, waiting: "deque[_Ready]", until: float) -> None:
        """Write requests until there are enough, or until this moment; one at least, if none is waiting."""
        while len(waiting) < AHEAD and (not waiting or time.perf_counter() < until) and not self._stop.is_set():
            arrival = next(self._arrivals, None)
            if arrival is None:
                return
            waiting.append(self._write(arrival))
            await self._let_others_run()

    async def _let_others_run(self) -> None:
        # Answers must be read between two pieces of our own work, or their times would be ours, not the target's.
        await asyncio.sleep(0)  # noqa: TID251

    async def _until(self, at: float) -> bool:
        """Wait for a moment; False: the run was stopped."""
        delay_s = at - time.perf_counter()
        if delay_s <= 0:
            await self._let_others_run()
            return not self._stop.is_set()
        try:
            async with asyncio.timeout(delay_s):
                await self._stop.wait()
        except TimeoutError:
            pass
        return not self._stop.is_set()

    # ===== closed loop =====

    async def _closed_loop(self, group: asyncio.TaskGroup, users: int) -> None:
        until = None if self._plan.duration_s is None else time.perf_counter() + self._plan.duration_s
        for _ in range(users):
            self._spawn(group, self._user(until))

    async def _user(self, until: float | None) -> None:
        for arrival in self._arrivals:  # one iterator for all users: each takes the next request of the trace
            if self._stop.is_set() or (until is not None and time.perf_counter() >= until):
                return
            ready = self._write(arrival)
            self._tally.began(time.perf_counter(), None, ready.clipped)
            await self._one(ready)

    # ===== both =====

    def _spawn(self, group: asyncio.TaskGroup, work: "asyncio._CoroutineLike[None]") -> None:
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _write(self, arrival: Arrival) -> _Ready:
        number, due_s, row = arrival
        request = clip(row, self._plan)
        clipped, headers = request is not row, wishes_of(request)
        if self._keys is not None:
            tenant = self._keys.tenant(request, number)
            headers += self._keys.header(tenant)
            request = msgspec.structs.replace(request, tenant=tenant)
        body = body_of(request, self._prompts.text(request, number), self._plan)
        return _Ready(due_s, request, body, headers, clipped)

    async def _one(self, ready: _Ready) -> None:
        answer: Answer = await self._client.ask("POST", PATHS[self._plan.api], ready.body, ready.headers)
        self._tally.ended(ready.request, answer)

    def _tick(self) -> None:
        if self._watch is not None:
            self._watch(self._tally)
        self._ticker = self._loop.call_later(self._tick_s, self._tick)


def raise_file_limit() -> int:
    """Lift this process's soft limit of open files to its hard one; returns how many connections fit below it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
    if soft != resource.RLIM_INFINITY and soft < want:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
            soft = want
        except (OSError, ValueError):
            pass  # some systems allow less than they say: then what there was holds
    return max((want if soft == resource.RLIM_INFINITY else soft) - SPARE_FILES, 1)
