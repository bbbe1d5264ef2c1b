"""Sticky sessions [R9]: which replica a session had last, for a while. Wraps any strategy; off by default, because it
freezes an imbalance: a session that was placed well a minute ago may be placed badly now.

It is a preference and not a pin: a call whose replica is full goes elsewhere, and the next one of its session returns.
Waiting for one replica while others idle would hold up everybody behind it in the line.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from penstock.base.nouns import Call
from penstock.core.load import Seat
from penstock.core.route.pipeline import Pipeline


class _Bond(NamedTuple):
    seat: Seat
    until: float


class Sticky:
    """Sessions and their replicas, bounded: beyond `most` the one that was not heard of for longest is forgotten."""

    __slots__ = ("_bonds", "_most", "_ttl_s")

    def __init__(self, ttl_s: float, most: int) -> None:
        self._ttl_s = ttl_s
        self._most = most
        self._bonds: OrderedDict[tuple[str, str], _Bond] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bonds)

    def choose(self, call: Call, seats: Sequence[Seat], pipeline: Pipeline, now: float) -> Seat | None:
        """The replica that the session had, if it can take the call; else the strategy's choice.

        Where the replica is gone, ill or forgotten, the new choice is the session's from now on.
        """
        key = (call.model, call.session)
        bond = self._bonds.get(key)
        if bond is None or now >= bond.until or not bond.seat.health.usable:
            seat = pipeline.choose(call, seats, now)
            if seat is not None:
                self._bind(key, seat, now)
            return seat
        seat = bond.seat
        if seat.in_flight < seat.health.limit and seat in seats:
            self._bind(key, seat, now)
            return seat
        return pipeline.choose(call, seats, now)

    def _bind(self, key: tuple[str, str], seat: Seat, now: float) -> None:
        bonds = self._bonds
        bonds[key] = _Bond(seat, now + self._ttl_s)
        bonds.move_to_end(key)
        while len(bonds) > self._most or next(iter(bonds.values())).until <= now:
            bonds.popitem(last=False)
