"""Groups: small requests that differ only in their input and go to an engine as one [Q7]. A part of the Gate.

A request that comes while none of its kind is out goes at once: waiting could only cost it time. While one is out,
those that come meanwhile gather, as in the group commit of databases, and leave when they are enough, when they have
waited for long enough, or when none of their kind is out any more. So a lone client never waits, and many wait a round
trip at most.

A group is a flight itself: with the earliest deadline of its calls, the sum of their sizes, one seat, and no row. Kinds
are of one tenant and one priority, so fairness and priorities are not touched. Where an engine does not answer a group
well, each of its calls is tried alone: one bad input does not cost its neighbours anything but time.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from penstock.base.nouns import Call
from penstock.core.books import Books
from penstock.core.effects import Carry, Effect
from penstock.core.events import Ended
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight, Kind, Ride
from penstock.core.load import Seat
from penstock.core.spec import BatchingSpec
from penstock.core.timers import Timers

PREFIX: Final = "group/"
"""Of a group's id; the id of its first call follows."""


class Groups:
    """Who waits for whom, and who goes with whom."""

    __slots__ = ("_books", "_fleet", "_go", "_kinds", "_timers")

    def __init__(
        self, books: Books, fleet: Fleet, timers: Timers[Alarm], go: Callable[[Flight, list[Effect], float], None]
    ) -> None:
        """`go` sends a call or a group on its way. (It is handed in, because a call that cannot go ends, and of each
        end these have to hear.)"""
        self._books = books
        self._fleet = fleet
        self._timers = timers
        self._go = go
        self._kinds: dict[tuple[object, ...], Kind] = {}
        """Those of which a call is here."""

    # ===== a call comes =====

    def gather(self, flight: Flight, ride: Ride, out: list[Effect], now: float) -> bool:
        """Let the call wait for others of its kind; False: it goes at once, alone."""
        pool, model = flight.targets[0]
        spec = self._fleet.pools[pool].spec.batching
        if spec is None or not _suits(flight.call, model, spec):
            flight.ride = None
            return False
        call = flight.call
        key = (ride.alike, call.tenant, call.priority, call.latency_s, call.region, flight.targets)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = Kind(key)
        ride.kind = kind
        if not kind.out:
            kind.out = 1
            return False
        flight.move("gathering")
        flight.queued_at = now
        kind.forming.append(flight)
        if len(kind.forming) >= spec.size:
            self._depart(kind, out, now)
        elif len(kind.forming) == 1:
            self._timers.set(("gather", call.id), now + spec.wait_s)
        return True

    def gathered(self, call_id: str, out: list[Effect], now: float) -> None:
        """The first of a kind has waited long enough for others."""
        ride = self._books.flights[call_id].ride
        if ride is not None and ride.kind is not None:
            self._depart(ride.kind, out, now)

    def scratch(self, flight: Flight) -> None:
        """It waits for others no more."""
        ride = flight.ride
        assert ride is not None
        kind = ride.kind
        assert kind is not None
        flight.ride = None
        first = kind.forming[0]
        kind.forming.remove(flight)
        if flight is first and (at := self._timers.cancel_at(("gather", flight.call.id))) is not None and kind.forming:
            self._timers.set(("gather", kind.forming[0].call.id), at)

    def _depart(self, kind: Kind, out: list[Effect], now: float) -> None:
        """Those that have gathered go, together if there are several."""
        flights, kind.forming = kind.forming, []
        self._timers.cancel(("gather", flights[0].call.id))
        kind.out += 1
        for flight in flights:
            flight.queue_s += now - flight.queued_at
        if len(flights) == 1:
            flights[0].move("new")
            self._go(flights[0], out, now)
            return
        books = self._books
        carrier = _group(flights, kind, now)
        books.flights[carrier.call.id] = carrier
        for flight in flights:
            assert flight.ride is not None
            flight.move("aboard")
            flight.ride.kind, flight.ride.carrier = None, carrier
            if books.trails is not None:
                books.trails.joined(flight, carrier.call.id, len(flights), now)
        self._go(carrier, out, now)

    # ===== who gets off =====

    def arrived(self, event: Ended) -> Seat | None:
        """An answer was split, and this call has its part: it has got off. Where it was worked on; None: it is on no
        such way, so the fact comes too late and means nothing."""
        flight = self._books.flights.get(event.id)
        carrier = None if flight is None or flight.ride is None else flight.ride.carrier
        if flight is None or carrier is None or carrier.seat is None or carrier.number != event.attempt:
            return None
        self._take_off(flight, carrier)
        return carrier.seat

    def get_off(self, flight: Flight) -> tuple[Flight, bool]:
        """Its client has left: its part is not wanted. The group that it went with, and whether that is empty now."""
        carrier = flight.ride.carrier if flight.ride is not None else None
        assert carrier is not None
        self._take_off(flight, carrier)
        return carrier, not _aboard(carrier)

    def disband(self, carrier: Flight, out: list[Effect], now: float) -> list[Flight]:
        """The group is over and holds nothing any more; those that were aboard, each with what it has been through."""
        riders = list(_aboard(carrier))
        for rider in riders:
            self._take_off(rider, carrier)
        self.leave(carrier, out, now)
        return riders

    def _take_off(self, rider: Flight, carrier: Flight) -> None:
        """It goes with the group no more, and has been through what the group has."""
        _aboard(carrier).remove(rider)
        rider.ride = None
        rider.attempt = rider.number = carrier.attempt
        rider.targets, rider.target = carrier.targets, carrier.target
        rider.target_attempts, rider.spared = carrier.target_attempts, carrier.spared
        rider.tried, rider.free_used = carrier.tried, carrier.free_used
        rider.queue_s += carrier.queue_s
        rider.sent_at = carrier.sent_at
        if self._books.trails is not None:
            self._books.trails.shared(rider, carrier)

    # ===== a group, or a call of a kind, is over =====

    def leave(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """It is over: those who wait for it need not any more. Whether it was a group, which has no row."""
        ride = flight.ride
        assert ride is not None
        flight.ride = None
        riders, kind = ride.riders, ride.kind
        if riders is not None:
            flight.move("over")
            del self._books.flights[flight.call.id]
            out.append(Carry(flight.call.id))
        if kind is not None:
            kind.out -= 1
            if not kind.out:
                if kind.forming:
                    self._depart(kind, out, now)
                else:
                    del self._kinds[kind.key]
        return riders is not None


def _aboard(carrier: Flight) -> list[Flight]:
    """Those that go with this group."""
    assert carrier.ride is not None
    assert carrier.ride.riders is not None
    return carrier.ride.riders


def _suits(call: Call, model: str, spec: BatchingSpec) -> bool:
    """Whether the call may go with others, by the pool's settings."""
    if call.body_bytes > spec.max_bytes or call.stream or call.session or call.choices > 1:
        return False
    if spec.models and model not in spec.models:
        return False
    return spec.completions or not call.path.endswith("/completions")


def _group(flights: list[Flight], kind: Kind, now: float) -> Flight:
    """A flight for all of these."""
    calls = [flight.call for flight in flights]
    first = calls[0]
    most = [call.max_tokens for call in calls if call.max_tokens is not None]
    carrier = Flight(
        replace(
            first, id=PREFIX + first.id, client_id="", key="", user="", prefix=(), prompt_bytes=0,
            prompt_tokens=sum(call.prompt_tokens for call in calls), body_bytes=sum(call.body_bytes for call in calls),
            max_tokens=sum(most) if len(most) == len(calls) else None,
        ),
        flights[0].targets,
        now,
    )  # fmt: skip
    carrier.arrived = flights[0].arrived
    carrier.deadline = min(flight.deadline for flight in flights)
    carrier.hedged = -1  # nobody hedges it: its calls have waited for each other already
    ride = carrier.ride = Ride("")
    ride.kind, ride.riders = kind, flights
    return carrier
