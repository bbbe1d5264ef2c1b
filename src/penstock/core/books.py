"""Books: the one table of calls in flight, and what each of them holds: a seat, a place in a line, one before a limit.
A part of the Gate.

Whatever is taken is written down here and given back here. When something is taken, and for whom, is decided by the
parts above; that all of it is given back when a call is over is `exits`' business.
"""

from typing import Literal

from msgspec import UNSET

from penstock.core.effects import Aboard, Carry, Effect, Send
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight
from penstock.core.hedge import Hedging
from penstock.core.limits.bars import Bar
from penstock.core.limits.limits import Limits
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.shed import AGAIN_S
from penstock.core.timers import Timers
from penstock.core.trails import Trails


class Books:
    """The calls in flight and what they hold. Every method that takes `out` appends its orders there."""

    __slots__ = ("_fleet", "_limits", "_timers", "flights", "max_waiting", "trails", "waiting")

    def __init__(self, flights: dict[str, Flight], fleet: Fleet, timers: Timers[Alarm], limits: Limits) -> None:
        self._fleet = fleet
        self._timers = timers
        self._limits = limits
        self.flights = flights
        """Every call between its arrival and its end, and every group of calls, by id."""
        self.waiting = 0
        """Calls in the lines of all pools, and before limits."""
        self.max_waiting = 0
        """So many of them there may be."""
        self.trails: Trails | None = None
        """Where the ways of calls are remembered; None: nowhere."""

    def find(self, id: str) -> Flight | None:
        """A call in flight, by its id or its client's."""
        found = self.flights.get(id)
        return found or next((flight for flight in self.flights.values() if flight.call.client_id == id), None)

    def counts(self) -> dict[str, int]:
        """What is held right now; all zero when nothing is going on."""
        return {
            "flights": len(self.flights),
            "waiting": self.waiting,
            "held_ids": len(self._limits),
            "limit_holds": self._limits.holds,
            "seats_taken": sum(seat.in_flight for seat in self._fleet.seats.values()),
        }

    # ===== a place in a line =====

    def enqueue(self, flight: Flight, pool: Pool, model: str, now: float) -> None:
        """The call joins the pool's line."""
        flight.move("queued")
        flight.queued_at = now
        self.waiting += 1
        pin_wait_s = pool.push(flight, model, now)
        if self.trails is not None:
            self.trails.queued(flight, pool, model, now)
        until = flight.deadline if pin_wait_s is None else min(flight.deadline, now + pin_wait_s)
        if not pool.usable(model):
            until = min(until, now + self._vain_s(pool))
            line = pool.lines[model]
            line.stranded = line.stranded or len(line) == 1
        self._timers.set(("wait", flight.call.id), until)
        self.watch_held(pool.spec.name, now)
        if self._fleet.benches.running:
            self._fleet.benches.make_way(pool.spec.name, now)

    def unqueue(self, flight: Flight, now: float) -> None:
        """It leaves the line."""
        name, model = flight.targets[flight.target]
        self._fleet.pools[name].drop(flight, model)
        if self.trails is not None:
            self.trails.unqueued(flight, self._fleet.pools[name], now)
        self._timers.cancel(("wait", flight.call.id))
        self.waiting -= 1
        flight.queue_s += now - flight.queued_at

    def hurry(self, flight: Flight, pool: Pool, now: float) -> None:
        """It waits, and nobody can serve it any more: not longer than if it came now."""
        until = now + self._vain_s(pool)
        at = self._timers.cancel_at(("wait", flight.call.id))
        self._timers.set(("wait", flight.call.id), until if at is None else min(at, until))

    @staticmethod
    def _vain_s(pool: Pool) -> float:
        queue = pool.spec.queue
        return queue.unavailable_wait_s if pool.seats else queue.waiting_room_s

    def watch_held(self, name: str, now: float) -> None:
        """Calls that wait may be held back by engines' numbers, and no fact about calls tells of better ones."""
        pool = self._fleet.pools.get(name)
        if pool is not None and pool.holds_back and pool.counts.calls and ("held", name) not in self._timers:
            self._timers.set(("held", name), now + AGAIN_S)

    # ===== a place before a limit =====

    def bar(self, flight: Flight, bar: Bar, wait_s: float, now: float) -> None:
        """It waits for a limit of its own to let it pass, for so long at most."""
        flight.move("barred")
        flight.bar = bar
        flight.queued_at = now
        self.flights[flight.call.id] = flight
        self.waiting += 1
        self._limits.room.push(flight, self._limits.lane(flight))
        self._timers.set(("barred", flight.call.id), now + wait_s)

    def unbar(self, flight: Flight, now: float) -> None:
        """It waits for its limits no more."""
        self._limits.room.drop(flight)
        self._timers.cancel(("barred", flight.call.id))
        self.waiting -= 1
        flight.queue_s += now - flight.queued_at

    # ===== a pause =====

    def pause(self, flight: Flight, until: float, now: float) -> None:
        """It waits for nobody, only for a time."""
        flight.move("pausing")
        self._timers.set(("pause", flight.call.id), until)
        if self.trails is not None:
            self.trails.paused(flight, until, now)

    def unpause(self, flight: Flight) -> None:
        """Its pause ends before that time."""
        self._timers.cancel(("pause", flight.call.id))

    # ===== a seat =====

    def send(self, flight: Flight, pool: Pool, seat: Seat, out: list[Effect], now: float) -> None:
        """Another attempt: it takes the seat, and goes there."""
        model = flight.targets[flight.target].model
        flight.move("sent")
        if flight.ride is not None and flight.ride.riders is not None:
            self._load(flight, flight.ride.riders, out, now)
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

    def _load(self, carrier: Flight, riders: list[Flight], out: list[Effect], now: float) -> None:
        """A group is about to be sent: say who is aboard."""
        rates = self._limits.goes
        aboard = [
            Aboard(rider.call.id, rider.queue_s + carrier.queue_s, None if rider.hold is None else rates(rider, now))
            for rider in riders
        ]
        out.append(Carry(carrier.call.id, tuple(aboard)))

    def _watch(self, flight: Flight, hedging: Hedging, now: float) -> None:
        """Have another attempt thought about when this one has been silent for long."""
        if flight.attempt == 1:
            hedging.deposit(now)
        if flight.call.repeatable and not flight.hedged:
            delay_s = hedging.delay_s(flight.call.stream)
            if delay_s is not None:
                flight.hedge = "due"
                self._timers.set(("hedge", flight.call.id), now + delay_s)

    def unwatch(self, flight: Flight) -> None:
        """No other attempt is to be thought about."""
        self._timers.cancel(("hedge", flight.call.id))
        flight.hedge = ""

    def release(self, flight: Flight, out: list[Effect]) -> None:
        """Give back all seats, and take back the alarm that goes with having one."""
        if (seat := flight.seat) is None:
            return
        flight.seat = None
        if flight.flow is not None:
            flight.flow.returned()
            flight.flow = None
        self.free(seat, out)
        if flight.hedge == "due":
            self.unwatch(flight)
        elif flight.hedge and (rival := flight.rival) is not None:
            flight.rival = None
            self.free(rival.seat, out)

    def free(self, seat: Seat, out: list[Effect]) -> None:
        """One of the seat's calls is off it."""
        seat.in_flight -= 1
        if seat.in_flight == 0:
            self._fleet.emptied(seat, out)


def _told(flight: Flight) -> Literal["bypass", "miss", "lead"]:
    if flight.sharing is not None:
        return "lead"
    return "bypass" if flight.cache == "bypass" else "miss"
