"""A strategy at work: sample → free seats → weighted scores → one pick."""

from collections.abc import Callable, Sequence
from operator import mul
from typing import Any

from penstock.base.nouns import Call
from penstock.base.rand import Rand
from penstock.core.load import Seat
from penstock.core.route import presets
from penstock.core.route.filters import SCORE_ALL, free, sample
from penstock.core.route.pickers import Best, PeakEwmaOfTwo, Picker, SmoothTurns, Turns
from penstock.core.route.scorers import Errors, FewestInFlight, Gpu, Latency, Load, Scorer


class Pipeline:
    """Scorers with their weights, and a picker."""

    __slots__ = ("_rng", "picker", "scorers")

    def __init__(self, scorers: Sequence[tuple[float, Scorer]], picker: Picker, rand: Rand) -> None:
        self.scorers = tuple((weight, scorer) for weight, scorer in scorers if weight)
        self.picker = picker
        self._rng = rand.stream("sample")

    def choose(self, call: Call, seats: Sequence[Seat], now: float) -> Seat | None:
        """A seat that is free for this call; None: all are taken."""
        found = free(sample(seats, self._rng) if len(seats) > SCORE_ALL else seats)
        if not found:
            if len(seats) <= SCORE_ALL:
                return None
            found = free(seats)[:SCORE_ALL]
            if not found:
                return None
        return self.picker.pick(found, self.scores(call, found, now), now)

    def scores(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """The weighted sum for each seat."""
        parts = [scorer.score(call, seats, now) for _, scorer in self.scorers]
        if len(parts) == 4:  # the default strategy: written out, it costs a third
            (a, _), (b, _), (c, _), (d, _) = self.scorers
            return [a * w + b * x + c * y + d * z for w, x, y, z in zip(*parts, strict=False)]
        weights = [weight for weight, _ in self.scorers]
        return [sum(map(mul, weights, column)) for column in zip(*parts, strict=False)]


def _adaptive(spec: presets.Adaptive, rand: Rand) -> Pipeline:
    scorers: list[tuple[float, Scorer]] = [
        (spec.load, Load()),
        (spec.latency, Latency(spec.latency_reference_s)),
        (spec.errors, Errors()),
        (spec.gpu, Gpu()),
    ]
    weighed = any(weight for weight, _ in scorers)
    return Pipeline(scorers if weighed else [(1.0, Load())], Best(rand.stream("ties")), rand)


_BUILD: dict[type, Callable[[Any, Rand], Pipeline]] = {
    presets.RoundRobin: lambda spec, rand: Pipeline([], Turns(), rand),
    presets.WeightedRoundRobin: lambda spec, rand: Pipeline([], SmoothTurns(), rand),
    presets.LeastConnections: lambda spec, rand: Pipeline([(1.0, FewestInFlight())], Best(None), rand),
    presets.LeastLoaded: lambda spec, rand: Pipeline([(1.0, Load())], Best(rand.stream("ties")), rand),
    presets.P2CPeakEwma: lambda spec, rand: Pipeline([], PeakEwmaOfTwo(rand.stream("two"), spec.decay_s), rand),
    presets.Adaptive: _adaptive,
}


def build(strategy: presets.Strategy, rand: Rand) -> Pipeline:
    """The pipeline that a strategy's spec describes."""
    return _BUILD[type(strategy)](strategy, rand)
