"""Consistent hashing as a strategy [R2]: a key's calls go to its owner while the owner's load allows.

Without `pin` no call waits for its owner while another replica has a free seat: first those within the load bound are
tried around the ring, then those beyond it. A replica's share of the load is measured against its seats. With `pin` a
call waits for its owner, whatever the load, in a line of its own (`core.pins`).
"""

from collections.abc import Sequence
from math import ceil

from penstock.base.nouns import Call
from penstock.core.load import Seat
from penstock.core.route.presets import ConsistentHash
from penstock.core.route.ring import Ring, hash_of


def key_of(call: Call, prefix_blocks: int) -> int | None:
    """What ties a call to others, as a number: session, else user, else the prompt's beginning; None: nothing."""
    if call.session:
        return hash_of(b"s" + call.session.encode())
    if call.user:
        return hash_of(b"u" + call.user.encode())
    if call.prefix and prefix_blocks:
        # chained hashes: the last one of the leading blocks stands for all of them
        return hash_of(b"p%d" % call.prefix[min(prefix_blocks, len(call.prefix)) - 1])
    return None


class Around:
    """The ring with the seats that stand on it. Calls without a key are not its business."""

    __slots__ = ("_capacity", "_members", "_seats", "_spec", "last", "ring")

    def __init__(self, spec: ConsistentHash) -> None:
        self._spec = spec
        self.ring = Ring(spec.virtual_nodes)
        self._seats: Sequence[Seat] = ()
        self._members: dict[str, Seat] = {}
        self._capacity = 0
        self.last = 0
        """The key that was placed last."""

    def changed(self, seats: Sequence[Seat]) -> None:
        """These are the pool's. Ill health moves no member off the ring: its keys walk past it, and return."""
        weights = {seat.id: seat.replica.weight for seat in seats}
        if self.ring.weights != weights:
            self.ring.become(weights)
        self._seats = ()

    def key(self, call: Call) -> int | None:
        """What the call goes by; None: it has no key."""
        return key_of(call, self._spec.prefix_blocks)

    @property
    def pin_wait_s(self) -> float | None:
        """How long a call waits for its owner; None: not at all."""
        return self._spec.pin_wait_s if self._spec.pin else None

    def owner(self, key: int, seats: Sequence[Seat]) -> Seat | None:
        """The first of these around the ring, busy or not; None: there is none."""
        if seats is not self._seats:
            self._look(seats)
        members = self._members
        return next((members[name] for name in self.ring.walk(key) if name in members), None) if members else None

    def place(self, key: int, seats: Sequence[Seat]) -> Seat | None:
        """The first free seat within the bound, else the first free one; None: all are taken."""
        if seats is not self._seats:
            self._look(seats)
        self.last = key
        total = sum([seat.in_flight for seat in seats]) + 1
        most = self._spec.load_factor * total / self._capacity if self._capacity else 0.0
        beyond: Seat | None = None
        members = self._members
        for passed, name in enumerate(self.ring.walk(key)):
            seat = members.get(name)
            if seat is not None and seat.in_flight < seat.health.limit:
                if seat.in_flight < ceil(most * seat.seats):
                    return seat
                beyond = beyond or seat
            if passed == 4 * len(seats) and beyond is None and not any(s.in_flight < s.health.limit for s in seats):
                return None  # nobody is free: that is seen at once, rather than after 150 points a replica
        return beyond

    def _look(self, seats: Sequence[Seat]) -> None:
        self._members = {seat.id: seat for seat in seats}
        self._capacity = sum(seat.seats for seat in seats)
        self._seats = seats
        if any(name not in self.ring.members for name in self._members):
            self.ring.become({seat.id: seat.replica.weight for seat in seats})
