"""Books: the one table of calls in flight, and all that a call can hold: a seat, a place in a line, an id.

Whatever is taken is written down here and given back here, on every way out, and here a call gets its one record. When
something is taken, and for whom, is decided above: by `chances` after a failure, by `calls` otherwise.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import UNSET

from penstock.base.entries import Used
from penstock.base.errors import REFUSALS, Label
from penstock.base.nouns import Usage
from penstock.base.ports import Sheet
from penstock.core.effects import Effect, Record, Refuse, Send
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight, Sharing
from penstock.core.hedge import Hedging
from penstock.core.limits.limits import Limits
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.shed import AGAIN_S
from penstock.core.timers import Timers
from penstock.core.trails import Trails

RETRY_AFTER_S = (1.0, 60.0)
"""Bounds of the Retry-After that we work out ourselves."""


class Books(ABC):
    """The calls in flight and what they hold. Every method that takes `out` appends its orders there."""

    __slots__ = ("_fleet", "_flights", "_limits", "_timers", "_waiting", "max_waiting", "trails")

    def __init__(self, fleet: Fleet, timers: Timers[Alarm]) -> None:
        self._fleet = fleet
        self._timers = timers
        self._flights: dict[str, Flight] = fleet.flights
        self._limits = Limits()
        self._waiting = 0
        self.max_waiting = 0
        """In all pools together."""
        self.trails: Trails | None = None
        """Where the ways of calls are remembered; None: nowhere."""

    def find(self, id: str) -> Flight | None:
        """A call in flight, by its id or its client's."""
        found = self._flights.get(id)
        return found or next((flight for flight in self._flights.values() if flight.call.client_id == id), None)

    def counts(self) -> dict[str, int]:
        """What is held right now; all zero when nothing is going on."""
        return {
            "flights": len(self._flights),
            "waiting": self._waiting,
            "held_ids": len(self._limits),
            "limit_holds": self._limits.holds,
            "seats_taken": sum(seat.in_flight for seat in self._fleet.seats.values()),
        }

    def recall(self, used: Iterable[Used], served: Callable[[str], str]) -> None:
        """So much of limits had been used before this process began."""
        self._limits.recollection.take(used, served)
        self._limits.recall()

    def note_on(self, sheet: Sheet) -> None:
        """See `Limits.note_on`."""
        self._limits.note_on(sheet)

    # ===== a place in a line =====

    def _enqueue(self, flight: Flight, pool: Pool, model: str, now: float) -> None:
        flight.move("queued")
        flight.queued_at = now
        self._waiting += 1
        pin_wait_s = pool.push(flight, model, now)
        if self.trails is not None:
            self.trails.queued(flight, pool, model, now)
        until = flight.deadline if pin_wait_s is None else min(flight.deadline, now + pin_wait_s)
        if not pool.usable(model):
            queue = pool.spec.queue
            until = min(until, now + (queue.unavailable_wait_s if pool.seats else queue.waiting_room_s))
        self._timers.set(("wait", flight.call.id), until)
        self.watch_held(pool.spec.name, now)
        if self._fleet.benches.running:
            self._fleet.benches.make_way(pool.spec.name, now)

    def _unqueue(self, flight: Flight, now: float) -> None:
        name, model = flight.targets[flight.target]
        self._fleet.pools[name].drop(flight, model)
        if self.trails is not None:
            self.trails.unqueued(flight, self._fleet.pools[name], now)
        self._timers.cancel(("wait", flight.call.id))
        self._waiting -= 1
        flight.queue_s += now - flight.queued_at

    # ===== a place before a limit =====

    def _unbar(self, flight: Flight, now: float) -> None:
        """It waits for its limits no more."""
        self._limits.room.drop(flight)
        self._timers.cancel(("barred", flight.call.id))
        self._waiting -= 1
        flight.queue_s += now - flight.queued_at

    # ===== a seat =====

    def _send(self, flight: Flight, pool: Pool, seat: Seat, out: list[Effect], now: float) -> None:
        model = flight.targets[flight.target].model
        flight.move("sent")
        if flight.ride is not None:
            self._load(flight, out, now)
        flight.seat = seat
        flight.attempt += 1
        flight.number = flight.attempt
        flight.target_attempts += 1
        flight.sent_at = now
        if self.trails is not None:
            self.trails.sent(flight, pool, seat, now)
        seat.in_flight += 1
        flow = flight.flow
        if flow is None:  # a hedge is not counted: it is made only where nobody waits
            flow = flight.flow = pool.fair.takes(flight.call.tenant, flight.arrived, now)
        if flight.attempt == 1:
            pool.budget.deposit(now)
            flight.expected = pool.fair.charge(flight.call, flow)
        if flight.call.prefix and pool.pipeline.prefix is not None:
            flight.cached = pool.pipeline.prefix.sent(flight.call, model, seat)
        if pool.hedging is not None:
            self._watch(flight, pool.hedging, now)
        timeouts = pool.spec.timeouts
        out.append(
            Send(
                flight.call.id, flight.attempt, seat.id, seat.replica.models.get(model, model),
                timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s, flight.queue_s,
                None if flight.hold is None else self._limits.goes(flight, now),
                flight.cache if flight.cache is UNSET else _told(flight),
            )
        )  # fmt: skip

    def _watch(self, flight: Flight, hedging: Hedging, now: float) -> None:
        """Have another attempt thought about when this one has been silent for long."""
        if flight.attempt == 1:
            hedging.deposit(now)
        if flight.call.repeatable and not flight.hedged:
            delay_s = hedging.delay_s(flight.call.stream)
            if delay_s is not None:
                flight.hedge = "due"
                self._timers.set(("hedge", flight.call.id), now + delay_s)

    def _unwatch(self, flight: Flight) -> None:
        self._timers.cancel(("hedge", flight.call.id))
        flight.hedge = ""

    def _release(self, flight: Flight, out: list[Effect]) -> None:
        """Give back all seats, and take back the alarm that goes with having one."""
        if (seat := flight.seat) is None:
            return
        flight.seat = None
        if flight.flow is not None:
            flight.flow.returned()
            flight.flow = None
        self._free(seat, out)
        if flight.hedge == "due":
            self._unwatch(flight)
        elif flight.hedge and (rival := flight.rival) is not None:
            flight.rival = None
            self._free(rival.seat, out)

    def _free(self, seat: Seat, out: list[Effect]) -> None:
        seat.in_flight -= 1
        if seat.in_flight == 0:
            self._fleet.emptied(seat, out)

    def serve(self, name: str, out: list[Effect], now: float) -> None:
        """Seats may have come free: send who waits for them."""
        pool = self._fleet.pools.get(name)
        while pool is not None and pool.counts.calls:
            found = pool.next(now)
            if found is None:
                if pool.fair.kept:
                    self.watch_held(name, now)
                return
            flight, seat = found
            if now >= flight.deadline:  # this fact overtook the alarm
                self._refuse(flight, flight.last or "queue_timeout", out, now)
                continue
            self._unqueue(flight, now)
            if seat is None:
                flight.move("new")
                self._enqueue(flight, pool, flight.targets[flight.target].model, now)
            else:
                self._send(flight, pool, seat, out, now)

    def serve_all(self, out: list[Effect], now: float) -> None:
        """Room may have appeared anywhere."""
        for name in self._fleet.pools:
            self.serve(name, out, now)

    def watch_held(self, name: str, now: float) -> None:
        """Calls that wait may be held back by engines' numbers, and no fact about calls tells of better ones."""
        pool = self._fleet.pools.get(name)
        if pool is not None and pool.holds_back and pool.counts.calls and ("held", name) not in self._timers:
            self._timers.set(("held", name), now + AGAIN_S)

    # ===== a call is over =====

    def _let_go(self, flight: Flight, out: list[Effect], now: float) -> None:
        """Give back whatever the state says that it holds."""
        if flight.state == "queued":
            self._unqueue(flight, now)
        elif flight.state == "pausing":
            self._timers.cancel(("pause", flight.call.id))
        elif flight.state == "barred":
            self._unbar(flight, now)
            self._limits.free(flight.call.tenant)  # who stood behind it may need less
        elif flight.state == "gathering":
            self._scratch(flight)
        self._release(flight, out)

    def _refuse(
        self, flight: Flight, label: Label, out: list[Effect], now: float, detail: str = "", *, status: int = 0,
        retry_after_s: float | None = None, tokens: int = 0, replica: str = "",
    ) -> None:  # fmt: skip
        row = REFUSALS[label]
        if row.says_retry_after and retry_after_s is None:
            retry_after_s = self._retry_after_s(flight, now)
        if flight.ride is not None and flight.ride.riders is not None:
            for rider in self._unload(flight, out, now):
                self._refuse(
                    rider, label, out, now, detail, status=status, retry_after_s=retry_after_s, replica=replica
                )
            return
        status = status if status >= 500 or status == 429 else row.http
        self._let_go(flight, out, now)
        rates = self._limits.rates(flight, now)
        out.append(Refuse(flight.call.id, label, status, detail, retry_after_s, rates))
        self._over(flight, label, status, None, tokens, out, now, replica)

    def _refuse_unheld(
        self, flight: Flight, label: Label, detail: str, out: list[Effect], now: float,
        retry_after_s: float | None = None,
    ) -> None:  # fmt: skip
        """Refuse a call that never entered: it holds nothing, and another with its id may be in flight."""
        status = REFUSALS[label].http
        out.append(Refuse(flight.call.id, label, status, detail, retry_after_s, self._limits.rates(flight, now)))
        row = flight.row(label, status, None, 0, "", now)
        if self.trails is not None:
            self.trails.over(flight, row)
        out.append(Record(row))

    def _retry_after_s(self, flight: Flight, now: float) -> float:
        """When it may be worth trying again: after the line has moved on, by the pace of the last seconds."""
        pool = self._fleet.pools.get(flight.targets[0].pool) if flight.targets else None
        least_s, most_s = RETRY_AFTER_S
        if pool is None or not pool.counts.calls:
            return least_s
        pace = pool.budget.calls / 10
        return min(most_s, max(least_s, pool.counts.calls / pace if pace else most_s))

    def _over(
        self, flight: Flight, outcome: str, status: int, usage: Usage | None, tokens: int, out: list[Effect],
        now: float, replica: str = "",
    ) -> None:  # fmt: skip
        if flight.ride is not None and self._leave(flight, out, now):
            return
        given = flight.state == "given"
        flight.move("over")
        del self._flights[flight.call.id]
        limits = self._limits
        limits.leave(flight.call)
        billed = None
        if given and limits.given_free:
            usage = None
            limits.settle_free(flight, outcome)
        elif limits.on or flight.hold is not None or usage is None:
            billed = limits.settle(flight, outcome, status, usage, tokens, replica != "")
        row = flight.row(outcome, status, usage, tokens, replica, now, billed)
        if self.trails is not None:
            self.trails.over(flight, row)
        out.append(Record(row))
        if flight.sharing is not None:
            self._unshare(flight, flight.sharing, outcome, status, out)

    @abstractmethod
    def _unshare(self, flight: Flight, sharing: Sharing, outcome: str, status: int, out: list[Effect]) -> None:
        """It is over: what becomes of those that have one answer with it."""

    # ===== calls that go together: `groups` =====

    @abstractmethod
    def _load(self, flight: Flight, out: list[Effect], now: float) -> None:
        """It is about to be sent: where it is a group, say who is aboard."""

    @abstractmethod
    def _scratch(self, flight: Flight) -> None:
        """It waits for others no more."""

    @abstractmethod
    def _unload(self, carrier: Flight, out: list[Effect], now: float) -> list[Flight]:
        """The group is over; those that were aboard, each with what it has been through."""

    @abstractmethod
    def _leave(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """It is over: those who wait for it need not any more. Whether it was a group, which has no row."""


def _told(flight: Flight) -> Literal["bypass", "miss", "lead"]:
    if flight.sharing is not None:
        return "lead"
    return "bypass" if flight.cache == "bypass" else "miss"
