"""Filters: which seats may be considered at all."""

from collections.abc import Sequence
from random import Random
from typing import Final, Protocol

from penstock.base.nouns import Call
from penstock.core.load import Seat

SCORE_ALL: Final = 64
"""Up to so many seats are all scored; of more, a sample of this size (scoring 1,000 takes a third of a millisecond)."""


class Filter(Protocol):
    """One reason to leave replicas out."""

    def keep(self, call: Call, seats: Sequence[Seat], now: float) -> list[Seat]:
        """Those that may be considered, in their order."""
        ...


def free(seats: Sequence[Seat]) -> list[Seat]:
    """Those with a free seat now."""
    return [seat for seat in seats if seat.in_flight < seat.health.limit]


def sample(seats: Sequence[Seat], rng: Random) -> Sequence[Seat]:
    """At most SCORE_ALL of them: a run from a random place. The fleet's order says nothing about load, so neighbours
    are as good as strangers, and a slice costs a twentieth of drawing each one."""
    count = len(seats)
    if count <= SCORE_ALL:
        return seats
    start = int(rng.random() * count)
    run = seats[start : start + SCORE_ALL]
    return run if len(run) == SCORE_ALL else [*run, *seats[: SCORE_ALL - len(run)]]
