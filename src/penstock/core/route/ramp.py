"""Slow start [R10]: a replica that is new or has returned takes part in a growing share of the choices.

A share of the choices, and not a factor on scores: with a factor the best score would still win everything or nothing.
So it works the same under every strategy. When no other replica has a free seat it gets the call all the same: no
capacity is lost. Source of the formula: Envoy's slow start mode.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import inf
from random import Random
from typing import Final

from penstock.base.nouns import Call
from penstock.core.load import Seat
from penstock.core.spec import SlowStartSpec

ENOUGH_TOKENS: Final = 1000
"""Below so many tokens looked up in its prefix cache, a replica's share of hits says nothing."""


def share_at(age_s: float, spec: SlowStartSpec) -> float:
    """Envoy's factor: max(minimum, (age / window) ^ (1 / aggression)), 1 after the window."""
    if age_s >= spec.window_s:
        return 1.0
    return float(max(spec.minimum, (max(age_s, 0.0) / spec.window_s) ** (1 / spec.aggression)))


def hit_share(seat: Seat, now: float) -> float | None:
    """Share of prompt tokens that its prefix cache had; None: unknown."""
    stats = seat.stats
    if stats is None or now >= seat.stats_until or stats.prefix_hits is None:
        return None
    if stats.prefix_queries is None or stats.prefix_queries < ENOUGH_TOKENS:
        return None
    return stats.prefix_hits / stats.prefix_queries


class Ramp:
    """Who of a pool's replicas is warming up, and since when."""

    __slots__ = ("_looked", "_recent", "_rng", "_since", "spec", "until")

    def __init__(self, spec: SlowStartSpec, rng: Random) -> None:
        self.spec = spec
        self._rng = rng
        self._since: dict[str, tuple[Seat, int, float]] = {}
        self._recent: dict[str, float] = {}
        """Who is held back, and since when."""
        self._looked = False
        self.until = inf
        """Before this time somebody may be ramping up, or nobody has looked yet."""

    def changed(self) -> None:
        """Health or membership changed: look again at the next choice."""
        self._looked = False
        self.until = inf

    def shares(self, seats: Sequence[Seat], now: float) -> dict[str, float]:
        """The share of choices that each ramping replica takes part in, 0..1, relative to the warmest: where all are
        new alike, nobody is held back. Without those that take part in all."""
        found = {name: share_at(now - at, self.spec) for name, at in self._recent.items()}
        most = 1.0 if len(found) < len(self._since) else max(found.values(), default=1.0)
        ramping = {name: share / most for name, share in found.items() if share < most}
        if ramping:
            self._warm(ramping, seats, now)
        return ramping

    def _warm(self, ramping: dict[str, float], seats: Sequence[Seat], now: float) -> None:
        """A cache that is as warm as the others' needs no more time."""
        settled = [hit_share(seat, now) for seat in seats if seat.id not in ramping]
        typical = max((share for share in settled if share is not None), default=0.0)
        if not typical:
            return
        for seat in seats:
            own = hit_share(seat, now) if seat.id in ramping else None
            if own is not None:
                ramping[seat.id] = max(ramping[seat.id], min(1.0, own / typical))

    def thin(self, call: Call, seats: Sequence[Seat], everybody: Sequence[Seat], now: float) -> Sequence[Seat]:
        """The seats without those that sit this choice out. Calls of one session or user always draw the same lot, so
        that they change their replica once while it warms up, and not back and forth."""
        if not self._looked:
            self._look(everybody, now)
        ramping = self.shares(seats, now)
        if not ramping:
            return seats
        lot = self._lot(call)
        left = [seat for seat in seats if lot < ramping.get(seat.id, 1.0)]
        return left if any(seat.in_flight < seat.health.limit for seat in left) else seats

    def _lot(self, call: Call) -> float:
        key = call.session or call.user
        if not key:
            return self._rng.random()
        return int.from_bytes(blake2b(key.encode(), digest_size=8, person=b"ramp").digest(), "big") / (1 << 64)

    def _look(self, everybody: Sequence[Seat], now: float) -> None:
        """Find who is new. A newcomer is held back only where somebody has been there for a whole window: a fleet that
        starts, one replica a moment after the other, serves with all it has."""
        before, window_s = self._since, self.spec.window_s
        stayed = {
            seat.id: before[seat.id]
            for seat in everybody
            if seat.health.usable
            and seat.id in before
            and before[seat.id][0] is seat
            and before[seat.id][1] == seat.health.returns
        }
        settled = any(at <= now - window_s for _, _, at in stayed.values())
        self._since = {
            seat.id: stayed.get(seat.id, (seat, seat.health.returns, now)) for seat in everybody if seat.health.usable
        }
        self._recent = {
            name: at
            for name, (_, _, at) in self._since.items()
            if now - at < window_s and (name in self._recent if name in stayed else settled)
        }
        self._looked = True
        self.until = max(self._recent.values(), default=-inf) + window_s
