"""Scorers for fleets of unlike replicas [R5], and for what an engine has in memory [R6]. Pure reads."""

from collections.abc import Sequence
from math import exp
from typing import Final

from penstock.base.nouns import Call, Compatibility
from penstock.core.load import FADE_S, Seat

COMPATIBILITY: Final[dict[Compatibility, float]] = {
    "native": 1.0, "optimised": 0.9, "compatible": 0.7, "basic": 0.5, "unsupported": 0.0,
}  # fmt: skip
"""R5's. Who does not support a model never gets this far: such a seat is not usable for it at all (`core.pool`)."""
BEST_LOAD: Final = 0.7
"""Up to this load a replica is as good as idle [R5]."""
RUNNING, FREE_SLOT, WAITING, FULL = 1.0, 0.8, 0.6, 0.0
"""Scores of a LoRA adapter that is active, would have a free slot, waits for one, would find none (llm-d's)."""


class Compatible:
    """How well each runs the call's model, as configured; native where nothing is said."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        return [COMPATIBILITY[seat.replica.compatibility.get(call.model, "native")] for seat in seats]


class Performance:
    """1 − expected time / what the call can wait, 0 for who cannot make it. The expected time is the mean time to a
    whole answer, faded; an unmeasured replica is taken to be as quick as the quickest that was measured."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        most_s = self.latency_s if call.latency_s is None else call.latency_s
        means = [None if seat.whole_s is None else seat.whole_s * exp((seat.whole_at - now) / FADE_S) for seat in seats]
        best_s = min((mean for mean in means if mean is not None), default=0.0)
        return [max(0.0, 1.0 - (best_s if mean is None else mean) / most_s) if most_s > 0 else 0.0 for mean in means]


class Knee:
    """1 up to 70 % of load (F3), then straight down to 0 at 100 %."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        return [min(1.0, max(0.0, (1.0 - seat.load_at(now)) / (1.0 - BEST_LOAD))) for seat in seats]


class Reliability:
    """Share of attempts that it did not fail, faded."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        return [1.0 - seat.error_rate_at(now) for seat in seats]


class Cheapness:
    """The lowest price an hour among them / its own."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        least = min(seat.replica.hourly_cost for seat in seats)
        return [least / seat.replica.hourly_cost if seat.replica.hourly_cost > 0 else 1.0 for seat in seats]


class InMemory:
    """Whether the model, or the LoRA adapter, is in the engine's memory already. Where nobody has it or says anything,
    all are alike, so that base models and cold adapters go by the other scores."""

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        found = [self._of(seat, call.model) if now < seat.stats_until else None for seat in seats]
        if RUNNING not in found and WAITING not in found:
            return [1.0] * len(seats)
        return [FREE_SLOT if score is None else score for score in found]

    def _of(self, seat: Seat, model: str) -> float | None:
        stats = seat.stats
        if stats is None:
            return None
        name = seat.replica.models.get(model, model)
        if stats.loaded is not None:
            return RUNNING if name in stats.loaded else FULL
        running, waiting = stats.loras_running, stats.loras_waiting or ()
        if running is None:
            return None
        if name in running:
            return RUNNING
        if name in waiting:
            return WAITING
        taken = len(running) + len(waiting)
        return FREE_SLOT if stats.lora_slots is None or taken < stats.lora_slots else FULL
