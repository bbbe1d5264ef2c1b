"""Where calls wait for a free seat: bounded, in the order that the pool's settings say, late binding [Q3, Q4].

A lane's calls wait here, not in an engine's own queue, until a seat is free. Retried calls wait beside the line, not
in it: they may be waiting for a particular replica and must not hold up those behind them. Who of a line is next is
`order`'s business.
"""

from collections import OrderedDict
from collections.abc import Iterator
from heapq import nlargest
from typing import Final

from penstock.base.errors import Label
from penstock.base.nouns import PRIORITIES
from penstock.core.fair import Flow
from penstock.core.flight import Flight
from penstock.core.order import Classes, Order, Scores
from penstock.core.spec import QueueSpec

SHOWN_TENANTS: Final = 20
"""So many tenants are shown: there may be thousands."""


class Line:
    """The calls that wait for one model of one pool."""

    __slots__ = ("fresh", "order", "retries", "stranded")

    def __init__(self, spec: QueueSpec) -> None:
        self.fresh: OrderedDict[str, Flight] = OrderedDict()
        """By arrival; `order` says who is next."""
        self.retries: OrderedDict[str, Flight] = OrderedDict()
        self.stranded = False
        """Nobody can serve its model, and those in it wait as long as such calls do."""
        self.order: Order = (Scores if spec.order == "score" else Classes)(spec, self.fresh)

    def __len__(self) -> int:
        return len(self.fresh) + len(self.retries)

    def __iter__(self) -> Iterator[Flight]:
        yield from self.retries.values()
        yield from self.fresh.values()

    def push(self, flight: Flight, flow: Flow, now: float) -> None:
        """Let the call wait: in the line, or beside it after a failed attempt."""
        if flight.attempt:
            self.retries[flight.call.id] = flight
        else:
            fresh = self.fresh
            later = fresh and flight.arrived < next(iter(fresh.values())).arrived  # it waited elsewhere before
            fresh[flight.call.id] = flight
            if later:
                fresh.move_to_end(flight.call.id, last=False)
            self.order.push(flight, flow, now)

    def drop(self, flight: Flight) -> None:
        """The call waits no more."""
        if self.fresh.pop(flight.call.id, None) is None:
            del self.retries[flight.call.id]
        else:
            self.order.drop(flight)

    def head_at(self) -> float:
        """Arrival of the call that has waited longest; infinity when none waits."""
        heads = [next(iter(part.values())).arrived for part in (self.retries, self.fresh) if part]
        return min(heads, default=float("inf"))


class Counts:
    """What waits in one pool, counted: the bounds are checked against these."""

    __slots__ = ("by_priority", "by_tenant", "bytes", "calls")

    def __init__(self) -> None:
        self.calls = 0
        self.bytes = 0
        self.by_tenant: dict[str, int] = {}
        self.by_priority = [0] * len(PRIORITIES)

    def refusal(self, spec: QueueSpec, flight: Flight) -> Label | None:
        """Why this call may not wait; None: it may."""
        if self.calls >= spec.max or self.bytes + flight.call.body_bytes > spec.max_bytes:
            return "queue_full"
        bound: int | None = getattr(spec.max_per_priority, PRIORITIES[flight.call.priority])
        if bound is not None and self.by_priority[flight.call.priority] >= bound:
            return "queue_full"
        bound = spec.max_per_tenant
        if bound is not None and self.by_tenant.get(flight.call.tenant, 0) >= bound:
            return "tenant_queue_full"
        return None

    def add(self, flight: Flight) -> None:
        """One more waits."""
        call = flight.call
        self.calls += 1
        self.bytes += call.body_bytes
        self.by_priority[call.priority] += 1
        self.by_tenant[call.tenant] = self.by_tenant.get(call.tenant, 0) + 1

    def drop(self, flight: Flight) -> None:
        """One waits no more."""
        call = flight.call
        self.calls -= 1
        self.bytes -= call.body_bytes
        self.by_priority[call.priority] -= 1
        left = self.by_tenant[call.tenant] - 1
        if left:
            self.by_tenant[call.tenant] = left
        else:
            del self.by_tenant[call.tenant]

    def shown_by_priority(self) -> dict[str, int]:
        """Waiting calls by the name of their priority."""
        return dict(zip(PRIORITIES, self.by_priority, strict=True))

    def shown_by_tenant(self) -> dict[str, int]:
        """Waiting calls of the tenants with the most of them."""
        return dict(nlargest(SHOWN_TENANTS, self.by_tenant.items(), key=lambda item: item[1]))
