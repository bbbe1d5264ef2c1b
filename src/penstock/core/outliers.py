"""Outliers: who of a pool's replicas answers so much worse than the others, or than is its habit, that it is put out.

The counting is done where calls end (`Seat.served`, `failed`, `firsts`, `slow_firsts`, which only grow); here two looks
at these counts, an interval apart, are compared. So a call pays next to nothing for it. Decides who; `fleet` puts out
and takes back.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf, sqrt
from typing import Final, Literal, NamedTuple

from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.spec import LatencySpec, OutlierSpec

Reason = Literal["success_rate", "failure_share", "latency"]
REASONS: Final[tuple[Reason, ...]] = ("success_rate", "failure_share", "latency")
LEARN: Final = 0.1
"""Weight of an interval in a replica's habit."""


class Interval(NamedTuple):
    """What one replica did since the last look."""

    seat: Seat
    served: int
    failed: int
    firsts: int
    """Streamed calls that began, or have waited for it for longer than would be slow."""
    slow: int

    @property
    def requests(self) -> int:
        """Attempts that say something about it."""
        return self.served + self.failed

    @property
    def success_rate(self) -> float:
        """Share of them that ended well, 0..1."""
        return self.served / self.requests


class _Mark:
    """A replica's counts at the last look, and its habit."""

    __slots__ = ("failed", "firsts", "habit_s", "out", "seat", "served", "slow")

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.habit_s: float | None = None
        """How long its first byte usually takes."""
        self.look()

    def look(self) -> None:
        """Remember the counts as they are now."""
        seat = self.seat
        self.served, self.failed, self.firsts, self.slow = seat.served, seat.failed, seat.firsts, seat.slow_firsts
        self.out = seat.health.ejected

    def since(self, waiting: int) -> Interval:
        """What was done since."""
        seat = self.seat
        return Interval(
            seat,
            seat.served - self.served,
            seat.failed - self.failed,
            seat.firsts - self.firsts + waiting,
            seat.slow_firsts - self.slow + waiting,
        )


def success_threshold(rates: Sequence[float], deviations: float) -> float:
    """Success rates below this are outliers: mean - deviations x standard deviation, of the whole population.

    Source: Envoy, `success_rate_stdev_factor` (1900 stands for 1.9).
    """
    mean = fsum(rates) / len(rates)
    return mean - deviations * sqrt(fsum((rate - mean) ** 2 for rate in rates) / len(rates))


def ejection_s(spec: OutlierSpec, times: int) -> float:
    """How long the `times`-th ejection in succession lasts. Source: Envoy, `base_` and `max_ejection_time`."""
    return min(spec.ejection_s * times, max(spec.ejection_s, spec.ejection_max_s))


def most_ejected(spec: OutlierSpec, replicas: int) -> int:
    """How many of so many replicas may be out at once. Source: Envoy, `max_ejection_percent`: one always may."""
    return max(1, int(spec.max_ejected * replicas + 1e-9))


def overdue(flights: Iterable[Flight], now: float) -> dict[str, int]:
    """For each replica, how many streamed calls wait for a first byte that is slow already, come when it may."""
    found: dict[str, int] = {}
    for flight in flights:
        seat = flight.seat
        if seat is not None and flight.began is None and flight.call.stream and now - flight.sent_at > seat.slow_over_s:
            found[seat.id] = found.get(seat.id, 0) + 1
    return found


class Outliers:
    """The comparison within one pool."""

    __slots__ = ("_marks", "ejections", "spec")

    def __init__(self, spec: OutlierSpec) -> None:
        self.spec = spec
        self._marks: dict[str, _Mark] = {}
        self.ejections: dict[Reason, int] = dict.fromkeys(REASONS, 0)

    def fewest(self) -> int | None:
        """How many replicas there must be for any comparison; None: nothing is compared."""
        spec = self.spec
        rules = (spec.success_rate, spec.failure_share, spec.latency)
        return min((rule.replicas for rule in rules if rule.enabled), default=None) if spec.enabled else None

    def sweep(self, seats: Sequence[Seat], waiting: Mapping[str, int]) -> list[tuple[Seat, Reason]]:
        """An interval is over: who is to be put out, the worst first, and no more than the bound allows. `waiting` is
        `overdue`."""
        intervals = self._turn(seats, waiting)
        found = list(self._outliers(intervals))
        for interval in intervals:
            self._learn(interval, slow=any(interval.seat is seat for seat, why in found if why == "latency"))
        room = most_ejected(self.spec, len(seats)) - sum(seat.health.ejected for seat in seats)
        chosen = found[: max(0, room)]
        for _, reason in chosen:
            self.ejections[reason] += 1
        out = {seat.id for seat, _ in chosen}
        for interval in intervals:
            if interval.seat.id not in out:
                interval.seat.health.behaved()
        return chosen

    def _turn(self, seats: Sequence[Seat], waiting: Mapping[str, int]) -> list[Interval]:
        """Close the interval of everybody who was in traffic at its begin and is at its end, and begin the next."""
        before, self._marks, intervals = self._marks, {}, []
        for seat in seats:
            mark = before.get(seat.id)
            if mark is None or mark.seat is not seat:
                mark = _Mark(seat)
            elif seat.health.usable and not seat.health.ejected and not mark.out:
                intervals.append(mark.since(waiting.get(seat.id, 0)))
            mark.look()
            self._marks[seat.id] = mark
        return intervals

    def _outliers(self, intervals: Sequence[Interval]) -> Iterable[tuple[Seat, Reason]]:
        """Everybody who is one, once, by the first rule that says so."""
        seen: dict[str, tuple[Seat, Reason]] = {}
        rules: tuple[tuple[Reason, list[Seat]], ...] = (
            ("failure_share", self._failing(intervals)),
            ("success_rate", self._below_the_others(intervals)),
            ("latency", self._slowed(intervals)),
        )
        for reason, seats in rules:
            for seat in seats:
                seen.setdefault(seat.id, (seat, reason))
        return seen.values()

    def _failing(self, intervals: Sequence[Interval]) -> list[Seat]:
        rule = self.spec.failure_share
        enough = [each for each in intervals if rule.enabled and each.requests >= rule.requests]
        if len(enough) < rule.replicas:
            return []
        worst = sorted(enough, key=lambda each: (each.success_rate, each.seat.order))
        return [each.seat for each in worst if each.failed / each.requests >= rule.share]

    def _below_the_others(self, intervals: Sequence[Interval]) -> list[Seat]:
        rule = self.spec.success_rate
        enough = [each for each in intervals if rule.enabled and each.requests >= rule.requests]
        if len(enough) < rule.replicas:
            return []
        rates = [each.success_rate for each in enough]
        threshold = success_threshold(rates, rule.deviations)
        highest = fsum(rates) / len(rates) - rule.gap
        worst = sorted(enough, key=lambda each: (each.success_rate, each.seat.order))
        return [each.seat for each in worst if each.success_rate < threshold and each.success_rate <= highest]

    # ===== by time to first token =====

    def _slowed(self, intervals: Sequence[Interval]) -> list[Seat]:
        """Most of its calls were slow by its own habit, and hardly any of the others' by theirs: a rush or a wave of
        long prompts slows all of them, an honest slow replica has a slow habit."""
        rule = self.spec.latency
        known = [each for each in intervals if rule.enabled and each.seat.slow_over_s < inf]
        if len(known) < rule.replicas:
            return []
        firsts, slow = sum(each.firsts for each in known), sum(each.slow for each in known)
        found = []
        for each in known:
            others = firsts - each.firsts
            if (
                each.firsts >= rule.requests <= others
                and each.slow >= rule.share * each.firsts
                and slow - each.slow <= rule.others * others
            ):
                found.append(each)
        return [each.seat for each in sorted(found, key=lambda each: (-each.slow / each.firsts, each.seat.order))]

    def _learn(self, interval: Interval, slow: bool) -> None:
        """Let the interval form the replica's habit; not one in which it was an outlier, or too few calls began."""
        rule, seat = self.spec.latency, interval.seat
        mark = self._marks[seat.id]
        if rule.enabled and not slow and seat.ttft_s is not None and interval.firsts >= rule.requests:
            if mark.habit_s is None:
                mark.habit_s = seat.ttft_s
            else:
                mark.habit_s += LEARN * (seat.ttft_s - mark.habit_s)
        seat.slow_over_s = slow_over_s(rule, mark.habit_s)


def slow_over_s(rule: LatencySpec, habit_s: float | None) -> float:
    """A first byte that takes longer is slow; without a habit none is."""
    return max(rule.factor * habit_s, rule.at_least_s) if rule.enabled and habit_s is not None else inf


def look_for_panic(seats: Sequence[Seat], below: float) -> bool:
    """Whether so few are well that ill health is not believed; those that are asked all the same hear of it.

    Panic goes by level, as Envoy's goes by priority: primaries, and backups only where they carry the load. With nobody
    well anywhere, all are asked.
    """
    members = [seat for seat in seats if seat.health.member]
    well = [seat for seat in members if seat.health.well]
    if well:
        level = all(seat.replica.backup for seat in well)
        members = [seat for seat in members if seat.replica.backup == level]
        well = [seat for seat in well if seat.replica.backup == level]
    panic = len(well) < below * len(members)
    asked = {seat.id for seat in members} if panic else ()
    for seat in seats:
        seat.health.panics(seat.id in asked)
    return panic
