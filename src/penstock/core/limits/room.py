"""Where calls wait until a limit lets them pass: first come, first served, per tenant, key and model.

A call that needs much is not overtaken by those behind it that need less, so it cannot starve. Calls with another key
or for another model stand in other lanes: what holds these up need not hold them.
"""

from collections import OrderedDict
from math import inf

from penstock.core.flight import Flight

Lane = tuple[str, str, str, str, int]
"""Tenant, key, model, tier, and the priority where that matters."""


class Room:
    """Who waits."""

    __slots__ = ("_count", "_lanes")

    def __init__(self) -> None:
        self._lanes: dict[str, dict[Lane, OrderedDict[str, Flight]]] = {}
        """By tenant."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def tenants(self) -> list[str]:
        """Whose calls wait."""
        return list(self._lanes)

    def waiting(self, tenant: str) -> int:
        """How many of its calls wait."""
        return sum(map(len, self._lanes.get(tenant, {}).values()))

    def busy(self, lane: Lane) -> bool:
        """Whether somebody waits there."""
        lanes = self._lanes.get(lane[0])
        return lanes is not None and lane in lanes

    def count(self, lane: Lane) -> int:
        """How many wait there."""
        return len(self._lanes[lane[0]][lane]) if self.busy(lane) else 0

    def first(self, lane: Lane) -> Flight:
        """Who came there first."""
        return next(iter(self._lanes[lane[0]][lane].values()))

    def push(self, flight: Flight, lane: Lane) -> None:
        """Let it wait, behind those who came before."""
        lanes = self._lanes.setdefault(lane[0], {})
        lanes.setdefault(lane, OrderedDict())[flight.call.id] = flight
        flight.lane = lane
        self._count += 1

    def drop(self, flight: Flight) -> None:
        """It waits no more."""
        lane = flight.lane
        assert lane is not None
        flight.lane = None
        lanes = self._lanes[lane[0]]
        del lanes[lane][flight.call.id]
        self._count -= 1
        if not lanes[lane]:
            del lanes[lane]
            if not lanes:
                del self._lanes[lane[0]]

    def oldest(self, tenant: str) -> float:
        """When the first of its calls came that waits; infinity: none does."""
        lanes = self._lanes.get(tenant, {})
        return min((next(iter(lane.values())).arrived for lane in lanes.values()), default=inf)

    def heads(self, tenant: str) -> list[Flight]:
        """The first of each of its lanes, who came first first."""
        heads = [next(iter(lane.values())) for lane in self._lanes.get(tenant, {}).values()]
        return sorted(heads, key=lambda flight: flight.arrived)
