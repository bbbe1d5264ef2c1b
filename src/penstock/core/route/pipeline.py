"""A strategy at work: sample → free seats → weighted scores → one pick."""

from collections.abc import Callable, Sequence
from math import fsum
from operator import mul
from random import Random
from typing import Any, Final

from penstock.base.nouns import Call
from penstock.base.rand import Rand
from penstock.core.load import Seat
from penstock.core.prefix import Index
from penstock.core.regions import RegionsSpec
from penstock.core.route import presets
from penstock.core.route.few import FEW, one_pass
from penstock.core.route.filters import SCORE_ALL, Filter, free, sample
from penstock.core.route.gpus import BelowHeatLimit, Headroom, WithinLimits
from penstock.core.route.hashed import Around
from penstock.core.route.nearness import Nearest, Nearness, Points, Ways, WithinCapacity, spread
from penstock.core.route.notes import Notes
from penstock.core.route.pickers import Best, Lot, PeakEwmaOfTwo, Picker, SmoothTurns, Turns
from penstock.core.route.prefixed import Prefix
from penstock.core.route.resources import Cheapness, Compatible, InMemory, Knee, Performance, Reliability
from penstock.core.route.scorers import Errors, FewestInFlight, Gpu, Latency, Load, ResponseTime, Scorer
from penstock.core.route.sums import in_one_go


class Pipeline:
    """Filters, scorers with their weights, and a picker. Where the filters leave nobody, `otherwise` chooses."""

    __slots__ = (
        "_few",
        "_filters",
        "_in_one_go",
        "_otherwise",
        "_plain",
        "_rng",
        "bound",
        "by_model",
        "in_memory",
        "notes",
        "picker",
        "placer",
        "prefix",
        "sample",
        "scorers",
        "times_whole",
    )

    def __init__(
        self, scorers: Sequence[tuple[float, Scorer]], picker: Picker, rand: Rand, *,
        filters: Sequence[Filter] = (), otherwise: "Pipeline | None" = None,
        placer: Around | None = None, prefix: tuple[float, Prefix] | None = None,
    ) -> None:  # fmt: skip
        self._plain = tuple((weight, scorer) for weight, scorer in scorers if weight)
        """For calls whose beginning is not known."""
        self._in_one_go = in_one_go(self._plain)
        self._few = one_pass(self._plain)
        self.scorers = self._plain
        self.prefix: Prefix | None = None
        """What it knows of prefix caches."""
        if prefix is not None and prefix[0]:
            self.scorers, self.prefix = (*self._plain, prefix), prefix[1]
        self.picker = picker
        self._filters = tuple(filters)
        self._otherwise = otherwise
        self.placer = placer
        """Has the first word about calls that have a key."""
        self._rng = rand.stream("sample")
        self.sample: Callable[[Sequence[Seat], Random], Sequence[Seat]] = sample
        """Who of many is looked at."""
        self.bound: WithinCapacity | None = None
        """A filter that holds even where it leaves nobody: then the call waits."""
        self.by_model = self.prefix is not None
        """It reads the call's model, and wants the served name there rather than an alias."""
        self.times_whole = False
        """It reads `Seat.whole_s`."""
        self.in_memory = 0.0
        """Weight of what engines have in memory, once one has told."""
        self.notes: Notes | None = None
        """Where what is chosen among is left for explanations; None: nobody wants any."""

    def changed(self, seats: Sequence[Seat]) -> None:
        """These are the pool's seats now, whatever their health."""
        if self.placer is not None:
            self.placer.changed(seats)
        if self.prefix is not None:
            self.prefix.changed(seats)
        if self.bound is not None:
            self.bound.changed(seats)
        for seat in seats:
            seat.scored_until = 0.0  # another pipeline's, it may be

    def engines_tell(self) -> None:
        """An engine told which models or adapters it has in memory: from now on that counts."""
        if self.in_memory and not any(isinstance(scorer, InMemory) for _, scorer in self.scorers):
            more = (self.in_memory, InMemory())
            self._plain, self.scorers = (*self._plain, more), (*self.scorers, more)
            self.by_model = True

    def take_notes(self, notes: Notes | None) -> None:
        """Leave there from now on what is chosen among."""
        self.notes = notes
        if self._otherwise is not None:
            self._otherwise.take_notes(notes)

    def choose(self, call: Call, seats: Sequence[Seat], now: float) -> Seat | None:
        """A seat that is free for this call; None: all are taken."""
        if self.placer is not None:
            key = self.placer.key(call)
            if key is not None:
                if self.notes is not None:
                    self.notes.pipeline, self.notes.found = self, None
                return self.placer.place(key, seats)
        looked = self.sample(seats, self._rng) if len(seats) > SCORE_ALL else seats
        if looked is not seats and call.prefix and self.prefix is not None:
            looked = self.prefix.invite(call, seats, looked)
        if self.notes is not None:
            self.notes.looked = looked
        found = free(looked) if self.bound is None else self._within(self.bound, call, looked, now)
        if not found:
            if len(seats) <= SCORE_ALL:
                return None
            found = free(seats) if self.bound is None else self._within(self.bound, call, seats, now)
            if not found:
                return None
            found = found[:SCORE_ALL]
        if self._filters:
            kept = found
            for each in self._filters:
                before, kept = kept, each.keep(call, kept, now)
                if self.notes is not None:
                    self.notes.filtered.append((each, before, kept))
            if not kept and self._otherwise is not None:
                return self._otherwise.choose(call, found, now)
            found = kept or found
        scores = self.scores(call, found, now)
        if self.notes is not None:
            self.notes.pipeline, self.notes.found = self, found
        return self.picker.pick(found, scores, now)

    def _within(self, bound: WithinCapacity, call: Call, seats: Sequence[Seat], now: float) -> list[Seat]:
        """The free seats where the bound lets calls go."""
        found = free(seats)
        kept = bound.keep(call, found, now)
        if self.notes is not None and len(kept) < len(found):
            self.notes.filtered.append((bound, found, kept))
        return kept

    def scores(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """The weighted sum for each seat; without notes, something less than the best for those that are not."""
        scorers = self.scorers if self.prefix is None or self.prefix.matters(call) else self._plain
        if self.notes is None and self._in_one_go is not None and len(scorers) < 6:
            sums = self._in_one_go(call, seats, scorers[4] if len(scorers) == 5 else None, now)
            if sums is not None:
                return sums
        if self._few is not None and len(seats) <= FEW and len(scorers) < 6:
            found = self._few(call, seats, now)
            if found is not None:
                parts, sums = found
                if len(scorers) == 5:
                    weight, scorer = scorers[4]
                    more = scorer.score(call, seats, now)
                    parts.append(more)
                    sums = [total + weight * score for total, score in zip(sums, more)]
                if self.notes is not None:
                    self.notes.parts, self.notes.scorers = parts, scorers
                return sums
        parts = [scorer.score(call, seats, now) for _, scorer in scorers]
        if self.notes is not None:
            self.notes.parts, self.notes.scorers = parts, scorers
        if len(parts) == 4:  # the default strategy: written out, it costs a third
            (a, _), (b, _), (c, _), (d, _) = scorers
            p, q, r, s = parts
            return [a * w + b * x + c * y + d * z for w, x, y, z in zip(p, q, r, s)]
        if len(parts) == 5:
            (a, _), (b, _), (c, _), (d, _), (e, _) = scorers
            o, p, q, r, s = parts
            return [a * v + b * w + c * x + d * y + e * z for v, w, x, y, z in zip(o, p, q, r, s)]
        weights = [weight for weight, _ in scorers]
        return [fsum(map(mul, weights, column)) for column in zip(*parts, strict=False)]


def _adaptive(spec: presets.Adaptive | presets.AdaptiveClassic, rand: Rand) -> Pipeline:
    scorers: list[tuple[float, Scorer]] = [
        (spec.load, Load()),
        (spec.latency, Latency(spec.latency_reference_s)),
        (spec.errors, Errors()),
        (spec.gpu, Gpu()),
    ]
    weighed = any(weight for weight, _ in scorers)
    prefix = None if isinstance(spec, presets.AdaptiveClassic) else _prefix(spec)
    pipeline = Pipeline(scorers if weighed else [(1.0, Load())], Best(rand.stream("ties")), rand, prefix=prefix)
    if not isinstance(spec, presets.AdaptiveClassic):
        pipeline.in_memory = spec.affinity
    return pipeline


def _prefix(spec: presets.Adaptive | presets.PrefixAware) -> tuple[float, Prefix]:
    spreads = isinstance(spec, presets.PrefixAware)
    return spec.prefix, Prefix(Index(spec.kv_tokens, spec.max_blocks), spec.load_factor, spreads)


def _prefix_aware(spec: presets.PrefixAware, rand: Rand) -> Pipeline:
    pipeline = Pipeline([(spec.load or 1e-6, Load())], Best(rand.stream("ties")), rand, prefix=_prefix(spec))
    pipeline.in_memory = spec.affinity
    return pipeline


def _consistent_hash(spec: presets.ConsistentHash, rand: Rand) -> Pipeline:
    return Pipeline([(1.0, FewestInFlight())], Best(None), rand, placer=Around(spec))


def _gpu_aware(spec: presets.GpuAware, rand: Rand) -> Pipeline:
    least_loaded = Pipeline([(1.0, Load())], Best(rand.stream("ties")), rand)
    not_hot = Pipeline(
        [(1.0, Load())], Best(rand.stream("ties")), rand,
        filters=[BelowHeatLimit(spec.limit_c)], otherwise=least_loaded,
    )  # fmt: skip
    weighed = spec.utilisation + spec.memory + spec.temperature + spec.fit > 0
    pipeline = Pipeline(
        [(1.0, Headroom(spec) if weighed else Load())], Best(rand.stream("ties")), rand,
        filters=[WithinLimits(spec)], otherwise=not_hot,
    )  # fmt: skip
    pipeline.by_model = bool(spec.kv_bytes_per_token)
    return pipeline


def _resource_based(spec: presets.ResourceBased, rand: Rand) -> Pipeline:
    scorers: list[tuple[float, Scorer]] = [
        (spec.compatibility, Compatible()),
        (spec.performance, Performance(spec.latency_s)),
        (spec.load, Knee()),
        (spec.reliability, Reliability()),
        (spec.cost, Cheapness()),
    ]
    weighed = any(weight for weight, _ in scorers)
    pipeline = Pipeline(scorers if weighed else [(1.0, Load())], Best(rand.stream("ties")), rand)
    pipeline.by_model, pipeline.times_whole = spec.compatibility > 0, spec.performance > 0
    return pipeline


def _regional(spec: presets.Regional | presets.RegionalClassic, rand: Rand, regions: RegionsSpec | None) -> Pipeline:
    """Without regions everybody is in the same one."""
    regions = RegionsSpec(places={}) if regions is None else regions
    ways = Ways(regions)
    scorer = Nearness(spec, ways) if isinstance(spec, presets.Regional) else Points(spec, ways)
    pipeline = Pipeline([(1.0, scorer)], Nearest(rand.stream("ties"), scorer), rand)
    pipeline.sample, pipeline.by_model = spread, isinstance(spec, presets.RegionalClassic)
    if any(place.capacity is not None for place in regions.places.values()):
        pipeline.bound = WithinCapacity(regions)
    return pipeline


_BUILD: Final[dict[type, Callable[[Any, Rand], Pipeline]]] = {
    presets.RoundRobin: lambda spec, rand: Pipeline([], Turns(), rand),
    presets.Random: lambda spec, rand: Pipeline([], Lot(rand.stream("lot")), rand),
    presets.WeightedRoundRobin: lambda spec, rand: Pipeline([], SmoothTurns(), rand),
    presets.LeastConnections: lambda spec, rand: Pipeline([(1.0, FewestInFlight())], Best(None), rand),
    presets.LeastLoaded: lambda spec, rand: Pipeline([(1.0, Load())], Best(rand.stream("ties")), rand),
    presets.LeastResponseTime: lambda spec, rand: Pipeline([(1.0, ResponseTime())], Best(rand.stream("ties")), rand),
    presets.P2CPeakEwma: lambda spec, rand: Pipeline([], PeakEwmaOfTwo(rand.stream("two"), spec.decay_s), rand),
    presets.Adaptive: _adaptive,
    presets.AdaptiveClassic: _adaptive,
    presets.PrefixAware: _prefix_aware,
    presets.ConsistentHash: _consistent_hash,
    presets.GpuAware: _gpu_aware,
    presets.ResourceBased: _resource_based,
}


def build(strategy: presets.Strategy, rand: Rand, regions: RegionsSpec | None = None) -> Pipeline:
    """The pipeline that a strategy's spec describes; `regions`: where replicas and callers are."""
    if isinstance(strategy, presets.Regional | presets.RegionalClassic):
        return _regional(strategy, rand, regions)
    return _BUILD[type(strategy)](strategy, rand)
