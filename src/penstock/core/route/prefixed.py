"""Choosing by what is in the engines' prefix caches already [R6]: the longest match, weighed against load.

A match counts only for a replica whose load is within a bound of the mean, as in consistent hashing with bounded loads:
so a hot prefix spills over, and whoever it spilled to has it from then on. The only holder of the longest match may
have one call more: otherwise chance alone would copy every prefix at light load, and the caches would hold less.

Where nobody knows anything of a prompt the replica whose turn was longest ago is better by a hair: cold prompts spread
where loads are equal, and nobody is preferred for having an empty cache (a replica that was just started would be
flooded).
"""

from collections.abc import Sequence
from typing import Final

from penstock.base.nouns import Call
from penstock.base.prefix import ENDS
from penstock.core.load import Seat
from penstock.core.prefix import BYTES_PER_TOKEN, Cached, Index

HALF_TOKENS: Final = 256
"""A match of so many tokens counts half of its share of the prompt: a few hundred cost less than a detour."""
_HAIR: Final = 1e-3
MOST_GUESTS: Final = 4
"""Holders that join a sample which was drawn from a large fleet."""
BESIDE_GUESTS: Final = 16
"""Others of that sample that stay in it then."""


class Prefix:
    """Share of the prompt that is cached, for replicas within the load bound."""

    def __init__(self, index: Index, load_factor: float, spreads: bool = True) -> None:
        """`spreads`: it has a word about prompts that nobody knows; beside finer scores than load it would be lost."""
        self.index = index
        self._spreads = spreads
        self._load_factor = load_factor
        self._seats: Sequence[Seat] = ()
        self._by_id: dict[str, Seat] = {}

    def changed(self, seats: Sequence[Seat]) -> None:
        """These are the pool's. Whoever is ill by its probes may have been started anew: what it had is forgotten."""
        self.index.keep([seat.cache for seat in seats])
        for seat in seats:
            if seat.health.life == "unhealthy":
                self.index.forget(seat.cache)

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        if not call.prefix:
            return [0.0] * len(seats)
        index = self.index
        keys = index.keys(call.prefix, call.model)
        root, last, count, guess = keys[-1], keys[0], len(keys), 0
        if root not in index.who:
            turn = index.turn + 1
            return [_HAIR * (1 - seat.cache.turn / turn) for seat in seats]
        total, room, depths, deepest, alone = 1, 0, list[int](), -1, 0
        for seat in seats:  # many have the same, so the last one's depth is the guess for the next
            total += seat.in_flight
            room += seat.seats
            blocks = seat.cache.blocks
            if root not in blocks:
                depth = 0
            elif last in blocks:
                depth = count
            else:
                depth = guess = seat.cache.depth(keys, guess)
            depths.append(depth)
            if depth > deepest:
                deepest, alone = depth, 1
            elif depth == deepest:
                alone += 1
        most = self._load_factor * total / room
        whole = max(ENDS[count], call.prompt_bytes)
        half = HALF_TOKENS * index.per_token.get(call.model, BYTES_PER_TOKEN)
        more = 1 if alone == 1 else 0
        worth, of, scores = 0.0, 0, list[float]()
        for depth, seat in zip(depths, seats):
            if depth and seat.in_flight - more < most * seat.seats:
                if depth != of:  # many have the same
                    end, of = ENDS[depth], depth
                    worth = end / whole * end / (end + half)
                trust = seat.cache.trust
                scores.append(worth * trust if trust < 1.0 else worth)
            else:
                scores.append(0.0)
        return scores

    def matters(self, call: Call) -> bool:
        """Whether its scores can tell this call's replicas apart."""
        prefix = call.prefix
        return bool(prefix) and (self._spreads or self.index.begins(prefix, call.model))

    def sent(self, call: Call, model: str, seat: Seat) -> Cached:
        """The call goes there; what of its prompt is there already."""
        return self.index.sent(call.prefix, model, call.prompt_bytes, seat.cache)

    def invite(self, call: Call, seats: Sequence[Seat], sample: Sequence[Seat]) -> Sequence[Seat]:
        """Those of a large fleet that have most of the prompt, and some of the sample to weigh them against; the sample
        itself where nobody has any of it."""
        keys = self.index.keys(call.prefix, call.model)
        holders = self.index.holders(keys)
        if not holders:
            return sample
        if seats is not self._seats:
            self._seats, self._by_id = seats, {seat.id: seat for seat in seats}
        found = [self._by_id.get(cache.owner) for cache in holders[-MOST_GUESTS:]]
        others = sample[:BESIDE_GUESTS]
        return [*[seat for seat in found if seat is not None and seat not in others], *others]
