"""Sticky sessions [R9]: which replica a session had last, for a while. Wraps any strategy; off by default, because it
freezes an imbalance: a session that was placed well a minute ago may be placed badly now.

By itself it is a preference: a call whose replica is full goes elsewhere, and the next one of its session returns.
Where it is a pin, the call waits for its replica in a line of its own (`core.pins`): nobody is held up behind it.
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

    def bound(self, call: Call, now: float) -> Seat | None:
        """The replica that the session has; None: none yet, or it was forgotten."""
        bond = self._bonds.get((call.model, call.session))
        return bond.seat if bond is not None and now < bond.until else None

    def keep(self, call: Call, seat: Seat, now: float) -> None:
        """The session goes to this replica and stays there, unless it has gone to another meanwhile."""
        if self.bound(call, now) in (None, seat):
            self._bind((call.model, call.session), seat, now)

    def forget(self, call: Call, seat: Seat) -> None:
        """The session need not return to this replica."""
        bond = self._bonds.get((call.model, call.session))
        if bond is not None and bond.seat is seat:
            del self._bonds[call.model, call.session]

    def _bind(self, key: tuple[str, str], seat: Seat, now: float) -> None:
        bonds = self._bonds
        bonds[key] = _Bond(seat, now + self._ttl_s)
        bonds.move_to_end(key)
        while len(bonds) > self._most or next(iter(bonds.values())).until <= now:
            bonds.popitem(last=False)
