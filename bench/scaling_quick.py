"""The worlds of `bench.scaling` for who has no hours: a replica is so many seats, a call has one for a known time.

The Governor is the gateway's own, told what it is told in the simulator; arrivals and lengths are the same requests.
What is simpler: a call takes as long as on a full replica, waits in one line for the first free seat, and there are no
probes, retries or caches. A week of 1.4 million calls takes seconds instead of minutes; runs of `--full` beside them
tell how far apart they are.
"""

from array import array
from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import NamedTuple

from bench.scaling_plan import Stay, service_s
from bench.scaling_rivals import LOOKS, cpu_share
from penstock.base.nouns import Unit
from penstock.config.scenarios import Group, Scale, Slo
from penstock.core.scale.governor import Governor
from penstock.core.scale.history import Past
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.core.scale.words import Drain, Order, Reconfigured, Remember, Remembered, Seen, Start, Stop
from penstock.workload.request import NS, Request

POOL = "sim"
PATIENCE_S = 30.0
"""The gateway's own `queue.timeout`."""
END, LOOK, READY, DRAIN = range(4)


class Calls(NamedTuple):
    """What comes, by arrival: times in seconds."""

    at: "array[float]"
    takes: "array[float]"
    first: "array[float]"
    """From its seat to its first token."""


def calls_of(requests: Iterable[Request], group: Group) -> Calls:
    """The same requests as seats see them."""
    calls = Calls(array("d"), array("d"), array("d"))
    cost = group.modelled().cost
    for one in requests:
        prompt = one.prompt_tokens
        calls.at.append(one.at_ns / NS)
        calls.takes.append(service_s(group, one))
        calls.first.append(cost.step_s(prompt, 0, 0, prompt * (prompt + 1) // 2) / group.speed)
    return calls


class Found(NamedTuple):
    """What came out."""

    requests: int
    good: int
    failed: int
    hours: float
    ups: int
    downs: int
    waits: "array[float]"
    """Of those that were answered, in seconds."""
    kept: Past | None
    governor: Governor


class _Replica:
    """One of them."""

    __slots__ = ("born", "busy", "drains", "in_flight", "name", "ready_at", "served")

    def __init__(self, name: str, born: float, ready_at: float) -> None:
        self.name = name
        self.born = born
        self.ready_at = ready_at
        self.drains = False
        self.in_flight = 0
        self.served = 0
        self.busy: deque[float] = deque(maxlen=LOOKS)


class Quick:
    """One run."""

    def __init__(self, calls: Calls, group: Group, slo: Slo, look_s: float = 5.0) -> None:
        self._calls = calls
        self._group = group
        self._slo = slo
        self._look_s = look_s
        self._replicas: dict[str, _Replica] = {}
        self._events: list[tuple[float, int, int, _Replica | None]] = []
        self._number = 0
        self._line: deque[int] = deque()
        self._usable: list[_Replica] = []
        self.governor = Governor()
        self._cpu = self._governed = False
        self._hours_s = 0.0
        self._good = self._failed = 0
        self._waits = array("d")
        self._kept: Past | None = None

    # ===== who scales =====

    def scaled(self, scale: Scale, past: Past | None = None, cpu: bool = False) -> Found:
        """Under a Governor. `cpu`: its replicas tell their CPU where others tell their GPU."""
        self._cpu, self._governed = cpu, True
        for number in range(self._group.count):
            self._add(f"r{number}", 0.0, 0.0)
        self.governor.on(Reconfigured({POOL: scale}, {POOL: 1.0}), 0.0)
        if past is not None:
            self.governor.on(Remembered(POOL, past), 0.0)
        self._push(0.0, LOOK, None)
        return self._run()

    def fixed(self, count: int) -> Found:
        """So many all the time."""
        for number in range(count):
            self._add(f"r{number}", 0.0, 0.0)
        return self._run()

    def planned(self, stays: list[Stay]) -> Found:
        """By a plan."""
        for number, stay in enumerate(stays):
            born = max(0.0, stay.start_s - self._group.startup_s)
            one = _Replica(f"p{number}", born, stay.start_s)
            self._push(stay.start_s, READY, one)
            self._push(stay.end_s, DRAIN, one)
        return self._run()

    # ===== time =====

    def _push(self, at: float, kind: int, replica: _Replica | None) -> None:
        self._number += 1
        heappush(self._events, (at, self._number, kind, replica))

    def _run(self) -> Found:
        events, arrive = self._events, self._arrive
        for index, at in enumerate(self._calls.at):
            while events and events[0][0] <= at:
                self._happen(heappop(events))
            arrive(index, at)
        end = self._calls.at[-1]
        while self._line or any(one.in_flight for one in self._replicas.values()):
            if not events:
                break
            event = heappop(events)
            end = event[0]
            self._happen(event)
        return self._found(end)

    def _happen(self, event: tuple[float, int, int, _Replica | None]) -> None:
        now, _, kind, replica = event
        if replica is None:
            self._look(now)
        elif kind == END:
            if self._replicas.get(replica.name) is replica:
                replica.in_flight -= 1
                replica.served += 1
                if self._line and not replica.drains:
                    self._next(replica, now)
                elif replica.drains and not replica.in_flight and not self._governed:
                    self._remove(replica, now)
        elif kind == READY:
            if replica.name not in self._replicas:
                self._replicas[replica.name] = replica
            if not replica.drains:
                self._usable.append(replica)
                while self._line and replica.in_flight < self._group.seats:
                    self._next(replica, now)
        else:
            self._drain(replica, True)
            if not replica.in_flight:
                self._remove(replica, now)

    # ===== calls =====

    def _arrive(self, index: int, now: float) -> None:
        seats = self._group.seats
        free = min(self._usable, key=_in_flight, default=None)
        if free is not None and free.in_flight < seats and not self._line:
            self._begin(index, free, now)
        else:
            self._line.append(index)

    def _next(self, replica: _Replica, now: float) -> None:
        """Who waits longest, and has not given up, has the seat."""
        self._prune(now)
        if self._line:
            self._begin(self._line.popleft(), replica, now)

    def _prune(self, now: float) -> None:
        line, at = self._line, self._calls.at
        while line and now - at[line[0]] > PATIENCE_S:
            line.popleft()
            self._failed += 1

    def _begin(self, index: int, replica: _Replica, now: float) -> None:
        calls = self._calls
        replica.in_flight += 1
        waited_s = now - calls.at[index]
        self._waits.append(waited_s)
        self._good += waited_s + calls.first[index] <= self._slo.ttft_s
        self._push(now + calls.takes[index], END, replica)

    # ===== replicas =====

    def _add(self, name: str, born: float, ready_at: float) -> None:
        one = self._replicas[name] = _Replica(name, born, ready_at)
        if ready_at <= born:
            self._usable.append(one)
        else:
            self._push(ready_at, READY, one)

    def _drain(self, replica: _Replica, drain: bool) -> None:
        replica.drains = drain
        if drain and replica in self._usable:
            self._usable.remove(replica)

    def _remove(self, replica: _Replica, now: float) -> None:
        self._drain(replica, True)
        self._failed += replica.in_flight
        self._hours_s += now - replica.born
        del self._replicas[replica.name]

    def _look(self, now: float) -> None:
        self._prune(now)
        token_s = self._group.modelled().cost.step_s(0, self._group.seats, 0, 0) / self._group.speed
        seen = []
        for one in self._replicas.values():
            up = one.ready_at <= now
            one.busy.append(cpu_share(one.in_flight > 0, one.in_flight / token_s))
            seen.append(
                ReplicaSeen(
                    id=one.name, well=up and not one.drains, loading=not up, in_flight=one.in_flight, served=one.served,
                    seats=self._group.seats, waiting=0, gpu=sum(one.busy) / len(one.busy) if self._cpu else None,
                )
            )  # fmt: skip
        units = tuple(Unit(id=name, state="running", url=f"http://{name}") for name in self._replicas)
        window = Window(queued=len(self._line), replicas=tuple(seen))
        for order in self.governor.on(Seen(POOL, window, units), now):
            self._obey(order, now)
        self._push(now + self._look_s, LOOK, None)

    def _obey(self, order: Order, now: float) -> None:
        if isinstance(order, Start):
            self._add(order.unit, now, now + self._group.startup_s)
        elif isinstance(order, Drain):
            replica = self._replicas[order.unit]
            self._drain(replica, order.drain)
            if not order.drain and replica.ready_at <= now:
                self._usable.append(replica)
        elif isinstance(order, Stop):
            if (found := self._replicas.get(order.unit)) is not None:
                self._remove(found, now)
        elif isinstance(order, Remember):
            assert isinstance(order.part, Past)  # nothing here has a budget
            self._kept = order.part

    # ===== the end =====

    def _found(self, end: float) -> Found:
        hours = (self._hours_s + sum(end - one.born for one in self._replicas.values())) / 3600
        view = next(iter(self.governor.views(end)), None)
        return Found(
            requests=len(self._calls.at), good=self._good, failed=self._failed + len(self._line), hours=hours,
            ups=0 if view is None else view.ups, downs=0 if view is None else view.downs,
            waits=self._waits, kept=self._kept, governor=self.governor,
        )  # fmt: skip


def _in_flight(replica: _Replica) -> int:
    return replica.in_flight
