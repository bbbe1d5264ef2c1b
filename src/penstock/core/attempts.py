"""Second chances: whether a failed attempt may be followed by another, when, and within which budget [H4].

Decides over numbers handed in; which replica takes the next attempt is routing's business.
"""

from random import Random
from typing import Final

from penstock.base.errors import REFUSALS, Label, Refusal
from penstock.core.spec import RetrySpec

WINDOW_S: Final = 10
"""Requests and retries are remembered for this long (Finagle's and tower's time to live)."""
MAX_PAUSE_S: Final = 30.0
"""Longest time for which a replica's Retry-After keeps it aside."""


class RetryBudget:
    """Retries may not exceed a share of the recent requests, plus a floor per second.

    Ten one-second buckets: deposit and withdraw are O(1) amortised and need no timer.
    """

    __slots__ = ("_calls", "_retries", "_second", "calls", "retries")

    def __init__(self) -> None:
        self._calls = [0] * WINDOW_S
        self._retries = [0] * WINDOW_S
        self._second = 0
        self.calls = 0
        """Requests within the window."""
        self.retries = 0

    def _advance(self, now: float) -> int:
        second = int(now)
        for past in range(self._second + 1, min(second, self._second + WINDOW_S) + 1):
            slot = past % WINDOW_S
            self.calls -= self._calls[slot]
            self.retries -= self._retries[slot]
            self._calls[slot] = self._retries[slot] = 0
        self._second = max(second, self._second)
        return self._second % WINDOW_S

    def deposit(self, now: float) -> None:
        """A first attempt was made."""
        slot = self._second % WINDOW_S if int(now) == self._second else self._advance(now)
        self._calls[slot] += 1
        self.calls += 1

    def withdraw(self, spec: RetrySpec, now: float) -> bool:
        """Take one retry out of the budget; False: it is spent."""
        slot = self._advance(now)
        if self.retries + 1 > spec.budget * self.calls + spec.budget_min_per_s * WINDOW_S:
            return False
        self._retries[slot] += 1
        self.retries += 1
        return True


def pause_s(spec: RetrySpec, nth: int, rng: Random) -> float:
    """How long to wait before the `nth` retry (from 1) goes to a replica that was tried already."""
    base = spec.backoff_s * spec.factor ** (nth - 1)
    return base * (1 + spec.jitter * (2 * rng.random() - 1))


def may_repeat(row: Refusal, repeatable: bool) -> bool:
    """Whether doing the call again can help and can do no harm."""
    return row.retryable and (repeatable or row.unsent)


def told(label: Label, panic: bool) -> Label:
    """What a client is told of its last attempt's failure. Where a pool panics and nobody was there either, it was no
    replica's mishap: there is none."""
    return "no_replica" if panic and REFUSALS[label].unsent else label
