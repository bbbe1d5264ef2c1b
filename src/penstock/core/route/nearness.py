"""Choosing across regions [G2, G3]: how far, how full, how quick, how dear. Pure reads, but for the distances of the
calls that were sent, which the picker remembers.

A measured time to first byte has the way to the replica in it, so that way is taken out again before it is added for
this call. A measurement that has aged counts less and less, and what is typical now more and more: an idle region must
look neither quick nor slow, or calls would cross an ocean to find out. Times are weighed as means of a region; between
the replicas of one their loads decide, or whoever happened to be quick would get everything.
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import exp, fsum, inf
from random import Random
from typing import Final, NamedTuple

from penstock.base.nouns import PRIORITIES, Call
from penstock.core.load import ALPHA, FADE_S, Seat
from penstock.core.regions import Atlas, RegionsSpec
from penstock.core.route.filters import SCORE_ALL
from penstock.core.route.pickers import Best
from penstock.core.route.presets import Regional, RegionalClassic
from penstock.core.route.resources import FREE_SLOT, InMemory
from penstock.core.steps import Note

HALF_MS: Final = 1000.0
"""What scores one half."""
KEPT_S: Final = 0.05
OLDEST_S: Final = -600 * FADE_S
"""A measurement is never taken for older: its weight would be none at all, and nothing can be divided by that."""
_SCALE: Final = 100.0
"""Points that tell a good replica from a bad one."""


class _Kept(NamedTuple):
    """Times to begin, as they were looked at."""

    at: float
    seats: int
    own: dict[str, float]
    typical: float


class Ways:
    """The distances of a pool's regions, and of the calls that each seat was sent."""

    def __init__(self, spec: RegionsSpec) -> None:
        self.atlas = Atlas(spec)
        self._kept = {stream: _Kept(-inf, 0, {}, 0.0) for stream in (False, True)}
        self._sent: dict[str, float] = {}
        """Seat -> mean round trip of its calls, where calls begin in their own region."""

    def network_ms(self, call: Call, seats: Sequence[Seat]) -> list[float]:
        """From the call to each seat, there and back."""
        atlas = self.atlas
        row, near_ms = atlas.row(atlas.origin(call.region)), atlas.near_ms
        return [row.get(seat.replica.region, near_ms) for seat in seats]

    def within_ms(self, seat: Seat) -> float:
        """What of its measured times is the way there and back."""
        here = self.atlas.spec.here
        if here:
            return self.atlas.row(here).get(seat.replica.region, self.atlas.near_ms)
        return self._sent.get(seat.id, 0.0)

    def sent(self, seat: Seat, network_ms: float, seats: int) -> None:
        """A call that is so far away was sent there."""
        known = self._sent
        if self.atlas.spec.here:
            return
        if len(known) > 2 * seats + SCORE_ALL:  # replicas that are gone leave nothing behind
            known.clear()
        before = known.get(seat.id, network_ms)
        known[seat.id] = before + ALPHA * (network_ms - before)

    def processing_ms(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """How long replicas of each one's region take to begin (a plain answer: to end), without the way."""
        own, typical = self.by_region(call, seats, now)
        return [own.get(seat.replica.region, typical) for seat in seats]

    def by_region(self, call: Call, seats: Sequence[Seat], now: float) -> tuple[dict[str, float], float]:
        """The same by region, and of one that was not measured, or long ago: what is typical of all. Looked at anew
        twenty times a second, for it is a mean of many calls and every call asks for it."""
        kept = self._kept[call.stream]
        if not kept.at <= now < kept.at + KEPT_S or kept.seats != len(seats):
            kept = self._kept[call.stream] = _Kept(now, len(seats), *self._means(call.stream, seats, now))
        return kept.own, kept.typical

    def _means(self, stream: bool, seats: Sequence[Seat], now: float) -> tuple[dict[str, float], float]:
        sums: dict[str, list[float]] = {}
        for seat in seats:
            mean_s, at = (seat.ttft_s, seat.ttft_at) if stream else (seat.latency_s, seat.latency_at)
            if mean_s is not None:
                fresh = exp(max(OLDEST_S, min(0.0, at - now)) / FADE_S)
                row = sums.setdefault(seat.replica.region, [0.0, 0.0, 0.0])
                row[0] += fresh
                row[1] += fresh * max(0.0, 1e3 * mean_s - self.within_ms(seat))
                row[2] = max(row[2], fresh)
        if not sums:
            return {}, 0.0
        typical = fsum(row[1] for row in sums.values()) / fsum(row[0] for row in sums.values())
        own = {region: row[2] * row[1] / row[0] + (1.0 - row[2]) * typical for region, row in sums.items()}
        return own, typical

    def dearer(self, seats: Sequence[Seat]) -> list[float]:
        """By how many % each is dearer than the cheapest of them, its region's multiplier counted in."""
        places = self.atlas.spec.places
        prices = [
            seat.replica.hourly_cost * (places[seat.replica.region].cost if seat.replica.region in places else 1.0)
            for seat in seats
        ]
        least = min((price for price in prices if price > 0), default=0.0)
        return [100.0 * (price / least - 1.0) if price > 0 else 0.0 for price in prices]


class _Regional:
    """What both scores have: the last choice, for the picker and for explanations."""

    def __init__(self, ways: Ways) -> None:
        self.ways = ways
        self.last: tuple[Call, Sequence[Seat], float] | None = None

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        self.last = (call, seats, now)
        return self._score(call, seats, now)

    @abstractmethod
    def _score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]: ...

    @abstractmethod
    def terms(self, call: Call, seats: Sequence[Seat], now: float) -> list[list[float]]:
        """For each seat the numbers that are added up."""

    def told(self, chosen: Seat) -> Note:
        """For explanations: the region that the call comes from, that of the chosen seat, and its numbers."""
        if self.last is None:
            return ()
        rows = zip(self.last[1], self.terms(*self.last), strict=True)
        numbers = next((row for seat, row in rows if seat is chosen), [])
        return (self.ways.atlas.origin(self.last[0].region), chosen.replica.region, *numbers)


class Nearness(_Regional):
    """1,000 ms / (1,000 ms + the way there and back + so much a % of its seats that is taken + its time to begin), and
    for calls that are to be cheap so much more a % that it is dearer than the cheapest [G2]."""

    def __init__(self, spec: Regional, ways: Ways) -> None:
        super().__init__(ways)
        self._spec = spec
        self._cheap_from = len(PRIORITIES) if spec.cheap_from is None else PRIORITIES.index(spec.cheap_from)

    def terms(self, call: Call, seats: Sequence[Seat], now: float) -> list[list[float]]:
        """Network, load, time to begin and price, each in ms."""
        per_percent, ways = self._spec.utilisation_ms, self.ways
        cheap = call.priority >= self._cheap_from
        columns = [
            ways.network_ms(call, seats),
            [per_percent * 100.0 * seat.in_flight / seat.seats for seat in seats],
            ways.processing_ms(call, seats, now),
            [self._spec.cost_ms * more for more in ways.dearer(seats)] if cheap else [0.0] * len(seats),
        ]
        return [list(row) for row in zip(*columns, strict=True)]

    def _score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        ways, each = self.ways, self._spec.utilisation_ms * 100.0
        if call.priority >= self._cheap_from:
            return [HALF_MS / (HALF_MS + fsum(row)) for row in self.terms(call, seats, now)]
        own, typical = ways.by_region(call, seats, now)
        row = ways.atlas.row(ways.atlas.origin(call.region))
        fixed = {region: HALF_MS + ms + own.get(region, typical) for region, ms in row.items()}
        near = HALF_MS + ways.atlas.near_ms
        for region, ms in own.items():
            if region not in fixed:
                fixed[region] = near + ms
        unknown = near + typical
        return [
            HALF_MS / (fixed.get(seat.replica.region, unknown) + each * seat.in_flight / seat.seats) for seat in seats
        ]


class Points(_Regional):
    """(100 - ms of the way there and back) + (50 - % of its seats that is taken) + 50, or -100 where its engine tells
    that it would have to load the model, + a share of `cost` by its price, the cheapest has all of it [G3]. As a score:
    1 / (1 + e^(-points / 100))."""

    def __init__(self, spec: RegionalClassic, ways: Ways) -> None:
        super().__init__(ways)
        self._spec = spec
        self._memory = InMemory()

    def terms(self, call: Call, seats: Sequence[Seat], now: float) -> list[list[float]]:
        """Latency, load, model and cost, in points."""
        columns = [
            [100.0 - ms for ms in self.ways.network_ms(call, seats)],
            [50.0 - 100.0 * seat.in_flight / seat.seats for seat in seats],
            [50.0 if score >= FREE_SLOT else -100.0 for score in self._memory.score(call, seats, now)],
            [self._spec.cost / (1.0 + more / 100.0) for more in self.ways.dearer(seats)],
        ]
        return [list(row) for row in zip(*columns, strict=True)]

    def _score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        return [1.0 / (1.0 + exp(min(700.0, -fsum(row) / _SCALE))) for row in self.terms(call, seats, now)]


class Nearest(Best):
    """The best, which remembers how far its call was, and can say what made it the best."""

    def __init__(self, rng: Random, scorer: _Regional) -> None:
        super().__init__(rng)
        self._scorer = scorer
        self._chosen: Seat | None = None

    def pick(self, seats: Sequence[Seat], scores: Sequence[float], now: float) -> Seat:
        """See `Picker`."""
        chosen = self._chosen = super().pick(seats, scores, now)
        if self._scorer.last is not None:
            (network_ms,) = self._scorer.ways.network_ms(self._scorer.last[0], [chosen])
            self._scorer.ways.sent(chosen, network_ms, len(seats))
        return chosen

    def drawn(self) -> Note:
        """For explanations."""
        return () if self._chosen is None else self._scorer.told(self._chosen)


class WithinCapacity:
    """Leaves out regions that have as many of the pool's calls in flight as they may."""

    def __init__(self, spec: RegionsSpec) -> None:
        self._most = {name: place.capacity for name, place in spec.places.items() if place.capacity is not None}
        self._seats: dict[str, list[Seat]] = {}

    def changed(self, seats: Sequence[Seat]) -> None:
        """These are the pool's seats now."""
        self._seats = {name: [seat for seat in seats if seat.replica.region == name] for name in self._most}

    def keep(self, call: Call, seats: Sequence[Seat], now: float) -> list[Seat]:
        """See `Filter`."""
        full = [
            name
            for name, most in self._most.items()
            if sum(seat.in_flight for seat in self._seats.get(name, ())) >= most
        ]
        return [seat for seat in seats if seat.replica.region not in full] if full else list(seats)


def spread(seats: Sequence[Seat], rng: Random) -> Sequence[Seat]:
    """At most SCORE_ALL of them, at equal steps: the fleet's order tells regions apart, so neighbours are of one."""
    step = len(seats) / SCORE_ALL
    if step <= 1:
        return seats
    start = rng.random() * step
    return [seats[int(start + number * step)] for number in range(SCORE_ALL)]


def untried(seats: Sequence[Seat], tried: frozenset[str], everybody: Sequence[Seat], regional: bool) -> Sequence[Seat]:
    """For another attempt: who has not failed the call, best in a region where nobody has and somebody is free; else
    all [H4]."""
    left = [seat for seat in seats if seat.id not in tried]
    if regional and left:
        failed = {seat.replica.region for seat in everybody if seat.id in tried}
        elsewhere = [seat for seat in left if seat.replica.region not in failed]
        if any(seat.in_flight < seat.health.limit for seat in elsewhere):
            return elsewhere
    return left or seats
