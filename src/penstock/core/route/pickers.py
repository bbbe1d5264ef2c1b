"""Pickers: one seat out of the scored ones. A picker may remember its last turns; it never changes a seat."""

from collections.abc import Sequence
from random import Random
from typing import Protocol

from penstock.core.load import Seat


class Picker(Protocol):
    """The last word of a strategy."""

    def pick(self, seats: Sequence[Seat], scores: Sequence[float], now: float) -> Seat:
        """One of the seats; there is at least one."""
        ...


class Best:
    """The highest score; ties: the lowest id, or by lot where that would send every idle moment to one replica."""

    def __init__(self, rng: Random | None) -> None:
        self.rng = rng

    def pick(self, seats: Sequence[Seat], scores: Sequence[float], now: float) -> Seat:
        best = max(scores)
        if self.rng is not None and scores.count(best) > 1:
            tied = [seat for seat, score in zip(seats, scores) if score == best]
            return tied[int(self.rng.random() * len(tied))]
        if self.rng is None and scores.count(best) > 1:
            return min((seat for seat, score in zip(seats, scores) if score == best), key=_by_id)
        return seats[scores.index(best)]


def _by_id(seat: Seat) -> str:
    return seat.id


class Lot:
    """Any of them, by lot."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def pick(self, seats: Sequence[Seat], scores: Sequence[float], now: float) -> Seat:
        return seats[int(self.rng.random() * len(seats))]


class Turns:
    """Round robin: the next in the fleet's order after the one that had the last turn."""

    def __init__(self) -> None:
        self.last = -1

    def pick(self, seats: Sequence[Seat], scores: Sequence[float], now: float) -> Seat:
        after = [seat for seat in seats if seat.order > self.last]
        chosen = min(after or seats, key=_by_order)
        self.last = chosen.order
        return chosen


def _by_order(seat: Seat) -> int:
    return seat.order


class SmoothTurns:
    """Smooth weighted round robin (nginx's): everyone gains its weight, the richest pays the sum."""

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def pick(self, seats: Sequence[Seat], scores: Sequence[float], now: float) -> Seat:
        credit = self._credit
        if len(credit) > 2 * len(seats) + 64:  # replicas that are gone leave nothing behind
            self._credit = credit = {seat.id: credit.get(seat.id, 0.0) for seat in seats}
        total, chosen = 0.0, seats[0]
        for seat in seats:
            weight = seat.replica.weight
            total += weight
            credit[seat.id] = credit.get(seat.id, 0.0) + weight
            if credit[seat.id] > credit[chosen.id]:
                chosen = seat
        credit[chosen.id] -= total
        return chosen


class PeakEwmaOfTwo:
    """Of two distinct random seats the one with the lower peak-EWMA × (in flight + 1). An unmeasured one is taken to
    be as fast as the other: with any fixed guess it would be flooded by slow models' calls and starved of quick ones'.
    """

    def __init__(self, rng: Random, decay_s: float) -> None:
        self.rng = rng
        self.decay_s = decay_s
        self._two: tuple[Seat, float, Seat, float] | None = None

    def cost(self, seat: Seat, other: Seat, now: float) -> float:
        """Expected time behind those already there, seconds."""
        unmeasured_s = other.peak.value_at(self.decay_s, 1.0, now)
        return seat.peak.value_at(self.decay_s, unmeasured_s, now) * (seat.in_flight + 1)

    def pick(self, seats: Sequence[Seat], scores: Sequence[float], now: float) -> Seat:
        count = len(seats)
        if count == 1:
            self._two = None
            return seats[0]
        first = int(self.rng.random() * count)
        second = int(self.rng.random() * (count - 1))
        one, other = seats[first], seats[second + (second >= first)]
        a, b = self.cost(one, other, now), self.cost(other, one, now)
        self._two = (one, a, other, b)
        return one if a <= b else other

    def drawn(self) -> tuple[str | float, ...]:
        """For explanations: the two of the last choice, each with its cost; empty: there was only one seat."""
        if self._two is None:
            return ()
        one, a, other, b = self._two
        return (one.id, a, other.id, b)
