"""Looking ahead in a line [R6, Q1]: a call that waits may be served before its neighbours, where its prefix is cached.

While all seats are taken, whoever is first in line gets the seat that comes free, wherever the beginning of its prompt
is cached; so the engines push out each other's prefixes just when there is most to do. Here the next few calls of the
same tenant and class are looked at as well, and one of them goes first if much more of its prompt is cached at a seat
that is free. Engines order their own queues like this (longest prefix match, as in SGLang: Zheng et al., "SGLang:
Efficient Execution of Structured Language Model Programs", 2024); here it is done across replicas.

No call is overtaken more often than the strategy says, and never by another tenant's or class's: the line's order of
those, and what a tenant is charged, stay as they are.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from penstock.base.nouns import Call
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.order import Classes, Order
from penstock.core.route.filters import SCORE_ALL, free
from penstock.core.route.pipeline import Pipeline
from penstock.core.route.prefixed import Prefix
from penstock.core.route.presets import Adaptive, PrefixAware
from penstock.core.spec import PoolSpec

LOOK: Final = 16
"""So many calls are looked at, the first of the line among them."""
MARGIN: Final = 0.25
"""How much more of a prompt must be cached (by the prefix score, 0..1) to go before another: less is not worth the
disorder."""
ENOUGH: Final = 0.5
"""By the same score: whoever has so much of its prompt there is not passed, and nobody behind it is looked at."""
FAITH: Final = 0.5
"""Nobody waits for an engine that found less than this share of what it was believed to have."""


class Ahead:
    """Who of a tenant's waiting calls goes first."""

    __slots__ = ("_most", "_prefix", "_sticky")

    def __init__(self, prefix: Prefix, most: int, sticky: bool) -> None:
        """`most`: how often a call may be overtaken. `sticky`: a session's call goes where the session is."""
        self._prefix = prefix
        self._most = most
        self._sticky = sticky

    def pick(self, head: Flight, order: Order, usable: Sequence[Seat], model: str, now: float) -> Flight:
        """Who gets the free seat: the first of the line, or one behind it. Those that it passes are marked."""
        if not isinstance(order, Classes) or head.pin is not None or head.overtaken >= self._most or self._stays(head):
            return head
        lane = order.lane(head)
        if lane.live < 2 or not (seats := free(usable)[:SCORE_ALL]):
            return head
        worth = self._worth(head.call, seats, model, now)
        if worth >= ENOUGH:
            return head
        best, least = 0, worth + MARGIN
        flights = lane.upcoming(LOOK)
        for at, flight in enumerate(flights):
            if at and not self._stays(flight):
                worth = self._worth(flight.call, seats, model, now)
                if worth >= least:
                    best, least = at, worth + MARGIN
            if worth >= ENOUGH or flight.overtaken >= self._most:
                break
        if best:
            for flight in flights[:best]:
                flight.overtaken += 1
            flights[best].overtook = best
        return flights[best]

    def _stays(self, flight: Flight) -> bool:
        return self._sticky and bool(flight.call.session)

    def _worth(self, call: Call, seats: Sequence[Seat], model: str, now: float) -> float:
        """The best prefix score among these seats; below 0 where others alone have its beginning: then the call had
        better wait for one of theirs, and go behind prompts that must be computed anyway."""
        if not call.prefix:
            return 0.0
        root, holders = self._prefix.index.root(call.prefix, model)
        if not holders:
            return 0.0
        if not [1 for seat in seats if root in seat.cache.blocks]:
            kept = [1 for cache in holders if cache.trust > FAITH]  # else their engines keep less than is believed
            return -MARGIN if kept else 0.0
        if call.model != model:
            call = replace(call, model=model)
        return max(self._prefix.score(call, seats, now))


def ahead(spec: PoolSpec, pipeline: Pipeline) -> Ahead | None:
    """What looks ahead in this pool's lines; None: nobody does, because its strategy knows no prefixes, its order is by
    deadline or score, or it was told not to."""
    queue, strategy = spec.queue, spec.strategy
    if pipeline.prefix is None or not isinstance(strategy, Adaptive | PrefixAware) or not strategy.max_overtaken:
        return None
    if queue.order != "class" or queue.within != "fifo":
        return None
    return Ahead(pipeline.prefix, strategy.max_overtaken, spec.sticky is not None)
