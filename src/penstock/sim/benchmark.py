"""A benchmark that the Gate has ordered, made of ordinary attempts, one after the other. The best of them counts."""

from math import inf

from penstock.base.nouns import Usage
from penstock.core.effects import BENCHMARK, Bench, Probe, Send
from penstock.core.events import Began, Benched, Ended, Failed
from penstock.workload.request import Request

_MOST_REPEATS = 32


class Benchmark:
    """One of them; whoever owns it sends what `next` says and tells it what it hears."""

    def __init__(self, order: Probe) -> None:
        assert order.bench is not None
        self.id = BENCHMARK + order.replica
        self._replica = order.replica
        self._asked: Bench = order.bench
        self._sent_at = self._began_at = 0.0
        self._ttfts_s: list[float] = []
        self._speeds: list[float] = []

    @property
    def number(self) -> int:
        """Which benchmark it is."""
        return self._asked.number

    def next(self, now: float) -> tuple[Send, Request, int]:
        """The next request, and a number that makes its prompt like no other."""
        self._sent_at = self._began_at = now
        asked = self._asked
        order = Send(self.id, asked.number, self._replica, asked.model, inf, inf, inf, 0.0)
        unlike = -(asked.number * _MOST_REPEATS + len(self._ttfts_s))
        return order, Request(0, asked.prompt_tokens, asked.output_tokens), unlike

    def heard(self, event: Began | Ended | Failed, now: float) -> Benched | None:
        """What is to be told; None: it goes on, after an end with the next request."""
        if isinstance(event, Began):
            self._began_at = now
            return None
        if isinstance(event, Failed):
            return self.failed(event.label)
        if event.status != 200:
            return self.failed(f"status {event.status}")
        self._count(event.usage, now)
        if len(self._ttfts_s) < self._asked.repeats:
            return None
        speed = max(self._speeds, default=None)
        return Benched(self._replica, self._asked.number, True, min(self._ttfts_s), speed)

    def _count(self, usage: Usage | None, now: float) -> None:
        self._ttfts_s.append(self._began_at - self._sent_at)
        took_s = now - self._began_at
        if usage is not None and usage.completion_tokens > 1 and took_s > 0:
            self._speeds.append((usage.completion_tokens - 1) / took_s)

    def failed(self, why: str) -> Benched:
        """It came to nothing."""
        return Benched(self._replica, self._asked.number, detail=why)
