"""Who is next in a line: by class and fair between tenants [Q1], or by score [Q2].

Both answer `head` with the call that is next and a rank, lower first, by which lines of one pool compare. Entries of
calls that have left stay where they are until they come up or are too many: every operation is O(log n) amortised, or
in the number of bands. The bands of the one are the five priorities, of the other the sums of tier and priority.
"""

from bisect import insort
from collections.abc import Container
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Final, NamedTuple, Protocol

from penstock.base.nouns import PRIORITIES
from penstock.core.fair import Flow
from penstock.core.flight import Flight
from penstock.core.spec import QueueSpec

TIERS: Final = {"enterprise": 100.0, "premium": 80.0, "standard": 60.0, "free": 40.0}
"""Q2: what a tenant's tier is worth."""
PRIORITY_SCORES: Final[tuple[float, ...]] = (50.0, 30.0, 0.0, -20.0, -40.0)
"""Q2, by index in PRIORITIES. Batch is not named there: it goes on below low by the step that lies between normal and
low, so that free + high stays above enterprise + batch."""
URGENCY: Final = 30.0
"""Q2: what a deadline is worth when it is here."""
URGENT_S: Final = 30.0
"""From so many seconds before the deadline urgency rises, evenly (the usual longest wait in the queue)."""
EVERY: Final = 10
"""An aged band gets one seat in so many: enough to move, too little for the others to feel."""
_SLACK: Final = 16


class Found(NamedTuple):
    """Who is next in a line."""

    rank: tuple[float, float, float]
    """Lower comes first, also among the lines of a pool."""
    flight: Flight
    aged: bool
    """Its turn came because its band was passed over for too long."""


def base_score(flight: Flight) -> float:
    """Q2 without the deadline; an unknown tier counts as standard."""
    return TIERS.get(flight.call.tier, TIERS["standard"]) + PRIORITY_SCORES[flight.call.priority]


def urgency(deadline: float, now: float) -> float:
    """0 from 30 s before the deadline, 30 at the deadline and after it."""
    return URGENCY * min(1.0, max(0.0, 1.0 - (deadline - now) / URGENT_S))


class Lane:
    """Calls in order of a key; those that left are skipped.

    A sorted list, of which the first ones are passed over: calls mostly come in the order of their keys, so that one is
    put at the end; and the next few can be read off (a heap would have to be searched for them). A deadline that comes
    between others moves what is behind it, in one copy of memory."""

    __slots__ = ("_calls", "_here", "_start", "entry", "live")

    def __init__(self, here: Container[str]) -> None:
        self._calls: list[tuple[float, int, Flight]] = []
        self._start = 0
        """Those before it have left."""
        self._here = here
        """Ids of the calls that still wait."""
        self.live = 0
        self.entry: tuple[float, int, Flow] | None = None
        """Its place among the lanes of a band, where it has one."""

    def push(self, key: float, number: int, flight: Flight) -> None:
        """One more call; `number` decides between equal keys."""
        insort(self._calls, (key, number, flight), lo=self._start)
        self.live += 1

    def left(self) -> None:
        """One of its calls has left."""
        self.live -= 1
        if len(self._calls) > 2 * self.live + _SLACK:
            self._calls = [entry for entry in self._calls if entry[2].call.id in self._here]
            self._start = 0

    def first(self) -> Flight:
        """The next call. Only for a lane that has one."""
        calls, here, start = self._calls, self._here, self._start
        while calls[start][2].call.id not in here:
            start += 1
        self._start = start
        return calls[start][2]

    def upcoming(self, most: int) -> list[Flight]:
        """The next calls in their order, at most so many; nothing is taken out."""
        calls, here = self._calls, self._here
        found: list[Flight] = []
        for at in range(self._start, len(calls)):
            flight = calls[at][2]
            if flight.call.id in here:
                found.append(flight)
                if len(found) == most:
                    break
        return found


class Band:
    """The calls of one class: a lane a tenant; the tenant that has had least is next."""

    __slots__ = ("_heap", "_numbers", "_parked", "lanes", "live")

    def __init__(self, numbers: "count[int]") -> None:
        self._numbers = numbers
        self.lanes: dict[str, Lane] = {}
        self._heap: list[tuple[float, int, Flow]] = []
        self._parked: list[Flow] = []
        """Tenants that hold all the seats that they may."""
        self.live = 0

    def join(self, flow: Flow, lane: Lane) -> None:
        """A tenant begins to wait here."""
        self.lanes[flow.tenant] = lane
        lane.entry = (flow.tag, next(self._numbers), flow)
        heappush(self._heap, lane.entry)
        if len(self._heap) > 2 * len(self.lanes) + _SLACK:
            self._heap = [each.entry for each in self.lanes.values() if each.entry is not None]
            heapify(self._heap)

    def first(self) -> tuple[float, Flight] | None:
        """The tag of the tenant that is next, and its call; None: all that wait here hold the seats that they may. Tags
        only grow, so an entry whose tenant's tag has grown goes back to its place, behind equals: among equals tenants
        take turns."""
        heap, lanes = self._heap, self.lanes
        if self._parked:
            self._unpark()
        while heap:
            entry = heap[0]
            flow = entry[2]
            lane = lanes.get(flow.tenant)
            place = None if lane is None else lane.entry
            if lane is None or place is None or place[1] != entry[1]:
                heappop(heap)
            elif flow.kept():
                heappop(heap)
                lane.entry = None
                self._parked.append(flow)
            elif flow.tag > entry[0]:
                lane.entry = (flow.tag, next(self._numbers), flow)
                heapreplace(heap, lane.entry)
            else:
                return entry[0], lane.first()
        return None

    def _unpark(self) -> None:
        parked, self._parked = self._parked, []
        for flow in parked:
            lane = self.lanes.get(flow.tenant)
            if lane is None or lane.entry is not None:
                continue  # it left, or has begun to wait again
            if flow.kept():
                self._parked.append(flow)
            else:
                self.join(flow, lane)


class Order(Protocol):
    """What a line asks."""

    def push(self, flight: Flight, flow: Flow, now: float) -> None:
        """One more waits."""
        ...

    def drop(self, flight: Flight) -> None:
        """One has left; the line has taken its id out before."""
        ...

    def head(self, closed: tuple[bool, ...], owing: bool, now: float) -> Found | None:
        """The next call of an open priority. `owing`: a band that was passed over too long comes first, if there is
        one."""
        ...

    def open(self, closed: tuple[bool, ...]) -> bool:
        """Whether anybody of an open priority waits who may have a seat."""
        ...

    def served(self, flight: Flight, now: float) -> None:
        """The call has got a seat."""
        ...


class Classes:
    """Strict classes; in a class the tenant with the lowest counter; of its calls the first, or the most urgent."""

    __slots__ = ("_ageing_s", "_bands", "_edf", "_here", "_numbers", "_since")

    def __init__(self, spec: QueueSpec, here: Container[str]) -> None:
        self._here = here
        self._edf = spec.within == "edf"
        self._ageing_s = spec.ageing_s or float("inf")
        self._numbers = count()
        self._bands = tuple(Band(self._numbers) for _ in PRIORITIES)
        self._since = [0.0] * len(PRIORITIES)
        """Since when each class waits for its next seat."""

    def push(self, flight: Flight, flow: Flow, now: float) -> None:
        """See `Order`."""
        call = flight.call
        band = self._bands[call.priority]
        if not band.live:
            self._since[call.priority] = now
        band.live += 1
        lane = band.lanes.get(call.tenant)
        if lane is None:
            lane = Lane(self._here)
            band.join(flow, lane)
        lane.push(flight.deadline if self._edf else flight.arrived, next(self._numbers), flight)

    def drop(self, flight: Flight) -> None:
        """See `Order`."""
        band = self._bands[flight.call.priority]
        lane = band.lanes[flight.call.tenant]
        band.live -= 1
        lane.left()
        if not lane.live:
            del band.lanes[flight.call.tenant]

    def head(self, closed: tuple[bool, ...], owing: bool, now: float) -> Found | None:
        """See `Order`."""
        top: Found | None = None
        aged: Found | None = None
        for priority, band in enumerate(self._bands):
            if not band.live or closed[priority]:
                continue
            since = self._since[priority]
            if top is not None and (now - since < self._ageing_s or (aged is not None and since >= aged.rank[1])):
                continue
            first = band.first()
            if first is None:
                continue
            tag, flight = first
            if top is None:
                top = Found((float(priority), tag, flight.arrived), flight, False)
                if not owing:
                    break
            else:
                aged = Found((-1.0, since, flight.arrived), flight, True)
        return aged or top

    def lane(self, flight: Flight) -> Lane:
        """Where a call waits: among those of its tenant and class."""
        return self._bands[flight.call.priority].lanes[flight.call.tenant]

    def open(self, closed: tuple[bool, ...]) -> bool:
        """See `Order`."""
        return any(
            band.live and not shut and band.first() is not None for band, shut in zip(self._bands, closed, strict=True)
        )

    def served(self, flight: Flight, now: float) -> None:
        """See `Order`."""
        self._since[flight.call.priority] = now


class Scores:
    """Tier + priority + urgency, highest first. In a band (equal tier and priority) urgency orders as deadlines do, so
    only the first of each band is scored, as of now."""

    __slots__ = ("_ageing_s", "_bands", "_here", "_numbers", "_since")

    def __init__(self, spec: QueueSpec, here: Container[str]) -> None:
        self._here = here
        self._ageing_s = spec.ageing_s or float("inf")
        self._bands: dict[tuple[float, int], Lane] = {}
        self._since: dict[tuple[float, int], float] = {}
        self._numbers = count()

    def push(self, flight: Flight, flow: Flow, now: float) -> None:
        """See `Order`."""
        key = (base_score(flight), flight.call.priority)
        if key not in self._bands:
            self._bands[key], self._since[key] = Lane(self._here), now
        self._bands[key].push(flight.deadline, next(self._numbers), flight)

    def drop(self, flight: Flight) -> None:
        """See `Order`."""
        key = (base_score(flight), flight.call.priority)
        lane = self._bands[key]
        lane.left()
        if not lane.live:
            del self._bands[key], self._since[key]

    def head(self, closed: tuple[bool, ...], owing: bool, now: float) -> Found | None:
        """See `Order`."""
        best: Found | None = None
        best_key = aged = None
        for key, lane in self._bands.items():
            if not closed[key[1]]:
                flight = lane.first()
                rank = (-key[0] - urgency(flight.deadline, now), flight.deadline, flight.arrived)
                if best is None or rank < best.rank:
                    best, best_key = Found(rank, flight, False), key
        if owing:
            passed = [key for key in self._bands if key != best_key and not closed[key[1]]]
            aged = min(passed, key=self._since.__getitem__, default=None)
        if aged is not None and now - self._since[aged] >= self._ageing_s:
            flight = self._bands[aged].first()
            return Found((float("-inf"), self._since[aged], flight.arrived), flight, True)
        return best

    def open(self, closed: tuple[bool, ...]) -> bool:
        """See `Order`."""
        return any(not closed[priority] for _, priority in self._bands)

    def served(self, flight: Flight, now: float) -> None:
        """See `Order`."""
        self._since[base_score(flight), flight.call.priority] = now
