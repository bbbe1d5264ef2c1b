"""Scorers: for each seat a number from 0 (worst) to 1 (best), in the order of the seats.

Pure reads; the weights stand outside.
"""

from collections.abc import Sequence
from math import exp, fsum
from typing import Protocol

from penstock.base.nouns import Call
from penstock.core.load import FADE_S, Seat


class Scorer(Protocol):
    """One view of what makes a replica good for a call."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """0..1 for each seat."""
        ...


class FewestInFlight:
    """1 / (1 + calls in flight)."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        return [1.0 / (1 + seat.in_flight) for seat in seats]


class Load:
    """1 − F3."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        return [
            1.0
            - 0.7 * seat.in_flight / seat.seats
            - (0.3 * seat.queued_share if now < seat.stats_until else seat.pinned_load)
            for seat in seats
        ]


class Latency:
    """reference / (reference + mean): TTFT for streamed calls, whole answers for others. Unmeasured counts as the best
    of the measured, so that a new replica is neither flooded nor avoided: taken for the mean of them it would get
    nothing under light load, when somebody better than the mean is always idle."""

    def __init__(self, reference_s: float) -> None:
        self.reference_s = reference_s

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        ref_s, stream = self.reference_s, call.stream
        try:  # in one go: everybody is measured nearly always, and this is a fifth of what a choice costs
            if stream:
                return [ref_s / (ref_s + seat.ttft_s * exp((seat.ttft_at - now) / FADE_S)) for seat in seats]  # type: ignore[operator]
            return [ref_s / (ref_s + seat.latency_s * exp((seat.latency_at - now) / FADE_S)) for seat in seats]  # type: ignore[operator]
        except TypeError:  # somebody's mean is None
            means = _means(call, seats, now)
        best_s = min((mean for mean in means if mean is not None), default=0.0)
        return [ref_s / (ref_s + (best_s if mean is None else mean)) for mean in means]


class ResponseTime:
    """The lowest cost among them / its own, where cost is the mean response time × (in flight + 1): a quick replica is
    not chosen for ever on what it did when it was idle. Unmeasured: as in `Latency`."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        means = _means(call, seats, now)
        best_s = min((mean for mean in means if mean), default=1.0)
        costs = [(mean or best_s) * (seat.in_flight + 1) for mean, seat in zip(means, seats)]
        least = min(costs)
        return [least / cost for cost in costs]


def _means(call: Call, seats: Sequence[Seat], now: float) -> list[float | None]:
    """TTFT for streamed calls, whole answers for others, faded; None: not measured."""
    if call.stream:
        return [seat.ttft_s and seat.ttft_s * exp((seat.ttft_at - now) / FADE_S) for seat in seats]
    return [seat.latency_s and seat.latency_s * exp((seat.latency_at - now) / FADE_S) for seat in seats]


class Errors:
    """1 − 10 × error rate, at least 0."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        return [max(0.0, 1.0 - 10.0 * seat.error_rate_at(now)) if seat.errors else 1.0 for seat in seats]


class Gpu:
    """1 − GPU utilisation, else KV-cache usage; a replica that does not say counts as the mean of those that do.

    The cache's usage is as old as the last look at the engine (2 s), and calls come and go meanwhile: it is carried on
    by what a call took of it then. Otherwise whoever was emptiest at the last look would get all calls until the next.
    """

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        try:
            scores = [
                1.0  # type: ignore[operator]
                - (seat.gpu_used if now < seat.stats_until else None)
                - seat.gpu_more * (seat.in_flight - seat.gpu_then)
                for seat in seats
            ]
            return scores if min(scores) >= 0.0 else [max(0.0, score) for score in scores]
        except TypeError:  # somebody does not say
            used = [
                None
                if seat.gpu_used is None or now >= seat.stats_until
                else seat.gpu_used + seat.gpu_more * (seat.in_flight - seat.gpu_then)
                for seat in seats
            ]
        known = [share for share in used if share is not None]
        if not known:
            return [1.0] * len(seats)
        typical = fsum(known) / len(known)
        return [max(0.0, 1.0 - (typical if share is None else share)) for share in used]
