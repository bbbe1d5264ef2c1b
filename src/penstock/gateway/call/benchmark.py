"""Runs the benchmarks that the Gate orders [F4]: streamed requests of our own, one by one, with a clock beside.

Knows how a completion is asked for and how its events tell of content; when a benchmark is run, and what its numbers
mean, is the Gate's business.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from penstock.adapters.wire import sse
from penstock.adapters.wire.usage import TAIL_BYTES, usage_in
from penstock.base.nouns import Engine
from penstock.core.effects import Bench, Probe
from penstock.core.events import Benched, Event
from penstock.gateway.fleet.outbound import Outbound, Page
from penstock.gateway.fleet.pool import Pool
from penstock.workload.words import WORDS

log = logging.getLogger("penstock.gateway")

MAX_ANSWER_BYTES: Final = 8 << 20
"""One answer of up to 10,000 tokens, each an event of some 300 bytes."""
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
NOT_THERE: Final = frozenset({404, 405, 501})
"""What a server answers that has no such path."""
GOES_ON: Final[frozenset[Engine]] = frozenset({"vllm", "sglang", "llamacpp"})
"""Engines that take `ignore_eos`, so that an answer has its full length; others may end theirs sooner."""


class Field(Protocol):
    """The data plane, as benchmarks see it."""

    outbound: Outbound
    tell: Callable[[Event], None]


class Run(NamedTuple):
    """What one request showed."""

    ttft_s: float
    tokens_per_s: float | None
    """Behind the first token; None: too few came, or all at once."""


class NoAnswer(ValueError):
    """The engine answered otherwise than with a stream of tokens."""


class Timed(Page):
    """Takes a streamed answer, and notes when content came."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        super().__init__(max_bytes)
        self._clock = clock
        self._sent_at = 0.0
        self._looked = 0
        self._rest = b""
        self._first_at = 0.0
        self._last_at = 0.0
        self._events = 0
        """Events with content."""
        self._failed = False

    def sent(self) -> None:
        """Connecting, which most calls need not, does not count."""
        self._sent_at = self._clock()

    def received(self, data: bytes) -> None:
        """Bytes of the replica."""
        super().received(data)
        self._rest += b"".join(self._pieces[self._looked :])
        self._looked = len(self._pieces)
        end = sse.last_end(self._rest)
        if end:
            whole, self._rest = self._rest[:end], self._rest[end:]
            self._note(sse.split(whole), self._clock())

    def _note(self, events: list[bytes], now: float) -> None:
        for event in events:
            kind = sse.kind_of(event)
            self._failed = self._failed or kind == "error"
            if kind == "content" and sse.data_of(event) != sse.DONE:
                self._first_at = self._first_at or now
                self._last_at = now
                self._events += 1

    def run(self, body: bytes) -> Run:
        """What a whole answer showed. Raises NoAnswer."""
        if self._failed:
            raise NoAnswer("the engine failed")
        if not self._events:
            raise NoAnswer("an answer without content")
        usage = usage_in(body[-TAIL_BYTES:])
        tokens = usage.completion_tokens if usage is not None else self._events
        took_s = self._last_at - self._first_at
        return Run(self._first_at - self._sent_at, (tokens - 1) / took_s if tokens > 1 and took_s > 0 else None)


class Benchmarks:
    """Those that run."""

    def __init__(self, plane: Field) -> None:
        self._plane = plane
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def begin(self, order: Probe, bench: Bench) -> None:
        """Run it beside; what comes of it is told."""
        task = self._plane.outbound.spawn(self._run(order, bench, self._plane.outbound.pools.get(order.replica)))
        self._tasks[bench.number] = task
        task.add_done_callback(lambda _: self._tasks.pop(bench.number, None))

    def cancel(self, number: int) -> None:
        """Stop it; nothing is told of it."""
        task = self._tasks.pop(number, None)
        if task is not None:
            task.cancel()

    async def _run(self, order: Probe, bench: Bench, pool: Pool | None) -> None:
        try:
            if pool is None:
                raise NoAnswer("unknown replica")
            async with asyncio.timeout(order.timeout_s):
                event = _judged(order.replica, bench, await _runs(pool, bench))
        except NoAnswer as wrong:
            event = Benched(order.replica, bench.number, detail=str(wrong))
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            event = Benched(order.replica, bench.number, detail=type(error).__name__)
        if event.ok:
            speed = "unknown" if event.tokens_per_s is None else f"{event.tokens_per_s:.1f}"
            log.info("benchmark of %s: first token after %.3f s, tokens/s: %s", order.replica, event.ttft_s, speed)
        else:
            log.warning("benchmark of %s failed: %s", order.replica, event.detail)
        self._plane.tell(event)


def _judged(replica: str, bench: Bench, runs: list[Run]) -> Benched:
    speeds = [run.tokens_per_s for run in runs if run.tokens_per_s is not None]
    ttft_s = min(run.ttft_s for run in runs)
    return Benched(replica, bench.number, True, ttft_s, max(speeds, default=None))


async def _runs(pool: Pool, bench: Bench) -> list[Run]:
    """One request after the other. Raises NoAnswer, OSError or ValueError."""
    found: list[Run] = []
    path = COMPLETIONS
    while len(found) < bench.repeats:
        body = request(path, bench, pool.replica.engine)
        page = Timed(MAX_ANSWER_BYTES, perf_counter)  # the loop's own clock has milliseconds
        status, answer = await page.asked(pool, pool.port, pool.post_head(path, len(body)) + body)
        if status in NOT_THERE and path == COMPLETIONS:
            path = CHAT
        elif status != 200:
            raise NoAnswer(f"status {status}")
        else:
            found.append(page.run(answer))
    return found


def request(path: str, bench: Bench, engine: Engine) -> bytes:
    """The body of one request. Its prompt is random from the first word on, so no prefix cache has any of it."""
    prompt = " ".join(secrets.choice(WORDS) for _ in range(bench.prompt_tokens))  # about a token a word
    asks: dict[str, Any] = {"prompt": prompt}
    if path == CHAT:
        asks = {"messages": [{"role": "user", "content": prompt}]}
    more = {"ignore_eos": True} if engine in GOES_ON else {}
    return msgspec.json.encode(
        {
            "model": bench.model, **asks, "max_tokens": bench.output_tokens, "stream": True,
            "stream_options": {"include_usage": True}, **more,
        }
    )  # fmt: skip
