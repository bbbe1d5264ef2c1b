"""Groups: small requests that differ only in their input and go to an engine as one [Q7]. A part of the Gate.

A request that comes while none of its kind is out goes at once: waiting could only cost it time. While one is out,
those that come meanwhile gather, as in the group commit of databases, and leave when they are enough, when they have
waited for long enough, or when none of their kind is out any more. So a lone client never waits, and many wait a round
trip at most.

A group is a flight itself: with the earliest deadline of its calls, the sum of their sizes, one seat, and no row. Kinds
are of one tenant and one priority, so fairness and priorities are not touched. Where an engine does not answer a group
well, each of its calls is tried alone: one bad input does not cost its neighbours anything but time.
"""

from msgspec.structs import replace

from penstock.base.errors import REFUSALS
from penstock.base.nouns import Call
from penstock.base.rand import Rand
from penstock.core.catalog import Catalog
from penstock.core.effects import Aboard, Carry, Effect
from penstock.core.events import Ended, Failed
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight, Kind, Ride
from penstock.core.heirs import Heirs
from penstock.core.load import Seat
from penstock.core.spec import BatchingSpec
from penstock.core.timers import Timers

PREFIX = "group/"
"""Of a group's id; the id of its first call follows."""


class Groups(Heirs):
    """The books, second chances, doors, answers of others, and calls that go together."""

    __slots__ = ("_kinds",)

    def __init__(self, fleet: Fleet, timers: Timers[Alarm], catalog: Catalog, rand: Rand) -> None:
        super().__init__(fleet, timers, catalog, rand)
        self._kinds: dict[tuple[object, ...], Kind] = {}
        """Those of which a call is here."""

    # ===== a call comes =====

    def _gather(self, flight: Flight, ride: Ride, out: list[Effect], now: float) -> bool:
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
        ride = self._flights[call_id].ride
        if ride is not None and ride.kind is not None:
            self._depart(ride.kind, out, now)

    def _depart(self, kind: Kind, out: list[Effect], now: float) -> None:
        """Those that have gathered go, together if there are several."""
        flights, kind.forming = kind.forming, []
        self._timers.cancel(("gather", flights[0].call.id))
        kind.out += 1
        for flight in flights:
            flight.queue_s += now - flight.queued_at
        if len(flights) == 1:
            flights[0].move("new")
            self._dispatch(flights[0], out, now)
            return
        carrier = _group(flights, kind, now)
        self._flights[carrier.call.id] = carrier
        for flight in flights:
            assert flight.ride is not None
            flight.move("aboard")
            flight.ride.kind, flight.ride.carrier = None, carrier
            if self.trails is not None:
                self.trails.joined(flight, carrier.call.id, len(flights), now)
        self._dispatch(carrier, out, now)

    # ===== a group on its way =====

    def _load(self, flight: Flight, out: list[Effect], now: float) -> None:
        ride = flight.ride
        if ride is not None and ride.riders is not None:
            rates = self._limits.goes
            aboard = [
                Aboard(rider.call.id, rider.queue_s + flight.queue_s, None if rider.hold is None else rates(rider, now))
                for rider in ride.riders
            ]
            out.append(Carry(flight.call.id, tuple(aboard)))

    def _arrived_together(self, event: Ended, out: list[Effect], now: float) -> None:
        """An answer was split, and this call has its part. (Any other fact about a call that has no seat comes too late
        and means nothing.)"""
        flight = self._flights.get(event.id)
        carrier = None if flight is None or flight.ride is None else flight.ride.carrier
        if flight is None or carrier is None or carrier.seat is None or carrier.number != event.attempt:
            return
        seat = carrier.seat
        self._take_off(flight, carrier)
        flight.began = now
        self._over(flight, "ok", event.status, event.usage, event.relayed_tokens, out, now, seat.id)

    def _get_off(self, flight: Flight, out: list[Effect], now: float) -> Seat | None:
        """Its client has left: its part is not wanted, and nothing of the group where it was the last. The seat where
        it was worked on."""
        carrier = flight.ride.carrier if flight.ride is not None else None
        assert carrier is not None
        seat = carrier.seat
        self._take_off(flight, carrier)
        assert carrier.ride is not None
        if not carrier.ride.riders:
            self._stop_all(carrier, out, now)
            self._unload(carrier, out, now)
        return seat

    def _each_alone(self, carrier: Flight, event: Failed, out: list[Effect], now: float) -> bool:
        """A group's attempt has failed: each of its calls goes alone, at once, unless no engine has seen it: then it is
        tried again like a call. Whether that is settled here."""
        ride, row = carrier.ride, REFUSALS[event.label]
        if ride is None or ride.riders is None or (row.unsent and carrier.began is None):
            return False
        pool = self._fleet.pools.get(carrier.targets[carrier.target].pool)
        at_replica_s = now - carrier.sent_at
        for rider in self._unload(carrier, out, now):
            rider.deadline += at_replica_s
            if row.blames_replica:
                rider.last = event.label
            if pool is None:
                self._refuse(rider, event.label, out, now)
            else:
                self._rejoin(rider, pool, out, now)
        return True

    # ===== a group, or a call of a kind, is over =====

    def _take_off(self, rider: Flight, carrier: Flight) -> None:
        """It goes with the group no more, and has been through what the group has."""
        assert rider.ride is not None
        assert carrier.ride is not None
        assert carrier.ride.riders is not None
        carrier.ride.riders.remove(rider)
        rider.ride = None
        rider.attempt = rider.number = carrier.attempt
        rider.targets, rider.target = carrier.targets, carrier.target
        rider.target_attempts, rider.spared = carrier.target_attempts, carrier.spared
        rider.tried, rider.free_used = carrier.tried, carrier.free_used
        rider.queue_s += carrier.queue_s
        rider.sent_at = carrier.sent_at
        if self.trails is not None:
            self.trails.shared(rider, carrier)

    def _unload(self, carrier: Flight, out: list[Effect], now: float) -> list[Flight]:
        self._let_go(carrier, out, now)
        ride = carrier.ride
        assert ride is not None
        assert ride.riders is not None
        riders = list(ride.riders)
        for rider in riders:
            self._take_off(rider, carrier)
        self._leave(carrier, out, now)
        return riders

    def _leave(self, flight: Flight, out: list[Effect], now: float) -> bool:
        ride = flight.ride
        assert ride is not None
        flight.ride = None
        riders, kind = ride.riders, ride.kind
        if riders is not None:
            flight.move("over")
            del self._flights[flight.call.id]
            out.append(Carry(flight.call.id))
        if kind is not None:
            kind.out -= 1
            if not kind.out:
                if kind.forming:
                    self._depart(kind, out, now)
                else:
                    del self._kinds[kind.key]
        return riders is not None

    def _scratch(self, flight: Flight) -> None:
        ride = flight.ride
        assert ride is not None
        kind = ride.kind
        assert kind is not None
        flight.ride = None
        first = kind.forming[0]
        kind.forming.remove(flight)
        if flight is first and (at := self._timers.cancel_at(("gather", flight.call.id))) is not None and kind.forming:
            self._timers.set(("gather", kind.forming[0].call.id), at)


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
