"""Calls: the life of every call from its arrival to its one record. A part of the Gate.

Says what each fact about a call means. What calls hold stands in `books`, what follows a failure in `chances`, two
attempts at once in `rivals`, who may enter in `doors`. Replicas' health and membership are `fleet`'s business; which
seat is best is the pool's.
"""

from penstock.base.errors import REFUSALS, Label
from penstock.core.effects import Effect
from penstock.core.events import Arrived, Began, ClientGone, Ended, Failed
from penstock.core.flight import Flight, Ride
from penstock.core.groups import Groups


class Calls(Groups):
    """The calls in flight and what happens to them. Every method that takes `out` appends its orders there."""

    __slots__ = ()

    # ===== a call arrives =====

    def arrived(self, event: Arrived, out: list[Effect], now: float) -> None:
        call = event.call
        flight = Flight(call, self.catalog.targets(call), now)
        if event.alike:
            flight.ride = Ride(event.alike)
        if call.id in self._flights:
            self._refuse_unheld(flight, "duplicate_request_id", "", out, now)
            return
        refusal = self._limits.enter(call)
        if refusal is not None:
            self._refuse_unheld(flight, refusal, "", out, now)
        elif self._limits.on and self._too_fast(flight, event.client, out, now):
            pass
        elif self.cache is not None and self._limits.on and self._given_at_once(flight, out, now):
            flight.ride = None
        elif not self._limits.on or self._admit(flight, out, now):
            self._flights[call.id] = flight
            self._enter(flight, out, now)

    def _enter(self, flight: Flight, out: list[Effect], now: float) -> None:
        call = flight.call
        if not flight.targets:
            named = (
                f"The model {call.model[:200]!r} does not exist here." if call.model else "The request names no model."
            )
            self._refuse(flight, "model_not_found" if call.model else "bad_request", out, now, named)
            return
        if self.cache is not None:
            given = self._given(flight, out, now)
            if given or flight.sharing is not None:
                flight.ride = None  # an answer that others may have is asked for alone
            if given:
                return
        flight.deadline = now + self._fleet.pools[flight.targets[0].pool].patience_s(call)
        if flight.ride is not None and self._gather(flight, flight.ride, out, now):
            return
        self._dispatch(flight, out, now)

    # ===== an attempt goes on =====

    def _current(self, call_id: str, attempt: int) -> Flight | None:
        """The flight of which this attempt runs; a fact about any other comes too late and means nothing."""
        flight = self._flights.get(call_id)
        if flight is None or flight.seat is None:
            return None
        if flight.number == attempt or (flight.rival is not None and flight.rival.number == attempt):
            return flight
        return None

    def began(self, event: Began, out: list[Effect], now: float) -> None:
        flight = self._current(event.id, event.attempt)
        if flight is not None and flight.state == "sent":
            beaten = self._decide(flight, event.attempt, out, now) if flight.hedge else None
            self._begin(flight, now)
            if beaten is not None:
                self.serve(beaten.pool, out, now)
        elif not event.attempt:
            self._given_began(event, now)

    def _begin(self, flight: Flight, now: float) -> None:
        seat, stream, took_s = flight.seat, flight.call.stream, now - flight.sent_at
        assert seat is not None
        flight.move("begun")
        flight.began = now
        pool = self._fleet.pools.get(seat.pool)
        seat.began(took_s, stream, pool.decay_s if pool else 10.0, now)
        if pool is not None and pool.hedging is not None and flight.number != flight.hedged:
            pool.hedging.took(stream, took_s)

    def ended(self, event: Ended, out: list[Effect], now: float) -> None:
        flight = self._current(event.id, event.attempt)
        if flight is None:
            if event.attempt:
                self._arrived_together(event, out, now)
            else:
                self._given_ended(event, out, now)
            return
        if flight.state == "sent":
            if flight.hedge:
                self._decide(flight, event.attempt, out, now)
            self._begin(flight, now)
        seat = flight.seat
        assert seat is not None
        if seat.times_whole:
            seat.ended(now - flight.sent_at, now)
        self._release(flight, out)
        self._fleet.succeeded(seat, now)
        usage = event.usage
        if usage is not None and (pool := self._fleet.pools.get(seat.pool)) is not None:
            pool.fair.served(flight.call.tenant, usage.prompt_tokens, usage.completion_tokens, now)
            if flight.call.prefix:
                pool.cached(flight, usage, seat)
        if flight.sharing is not None:
            self._kept(flight, flight.sharing, event, out, now)
        self._over(flight, "ok", event.status, event.usage, event.relayed_tokens, out, now, seat.id)
        self.serve(seat.pool, out, now)

    def failed(self, event: Failed, out: list[Effect], now: float) -> None:
        flight = self._current(event.id, event.attempt)
        if flight is None or flight.seat is None:
            if not event.attempt:
                self._given_failed(event, out, now)
            return
        if flight.rival is not None:
            self._one_of_two_failed(flight, flight.rival, event, out, now)
            return
        seat = flight.seat
        self._release(flight, out)
        self._learn(flight, seat, REFUSALS[event.label], event, now)
        if flight.ride is not None and self._each_alone(flight, event, out, now):
            pass
        elif flight.began is None:
            self._again(flight, seat, event, out, now)
        else:
            self._refuse(flight, event.label, out, now, tokens=event.relayed_tokens, replica=seat.id)
        self.serve(seat.pool, out, now)

    def client_gone(self, event: ClientGone, out: list[Effect], now: float) -> None:
        flight = self._flights.get(event.id)
        if flight is None or (flight.sharing is not None and self._left(flight, flight.sharing, event, out, now)):
            return
        seat = flight.seat
        if flight.state == "aboard":
            seat = self._get_off(flight, out, now)
        self._stop_all(flight, out, now)
        replica = seat.id if seat is not None else ""
        self._let_go(flight, out, now)
        self._over(flight, "client_gone", 499, None, event.relayed_tokens, out, now, replica)
        if seat is not None:
            self.serve(seat.pool, out, now)

    # ===== time and settings =====

    def lift_waiting(self, now: float) -> list[Flight]:
        """Take all waiting calls out of their lines, in the order of their arrival, to `readmit` them elsewhere."""
        waiting = [flight for flight in self._flights.values() if flight.state in ("queued", "pausing", "gathering")]
        for flight in waiting:
            if flight.state == "queued":
                self._unqueue(flight, now)
            elif flight.state == "gathering":
                self._scratch(flight)
            else:
                self._timers.cancel(("pause", flight.call.id))
            flight.move("new")
        return waiting

    def readmit(self, flight: Flight, out: list[Effect], now: float) -> None:
        flight.targets = self.catalog.targets(flight.call)
        flight.target_attempts = flight.spared = 0
        if not flight.targets:
            self._refuse(flight, "model_not_found", out, now)
            return
        pools = self._fleet.pools
        usable = (index for index, (name, model) in enumerate(flight.targets) if pools[name].usable(model))
        flight.target = next(usable, 0)
        name, model = flight.targets[flight.target]
        if self.trails is not None:
            self.trails.moved(flight, "configuration", now)
        self._enqueue(flight, pools[name], model, now)

    def waited(self, call_id: str, out: list[Effect], now: float) -> None:
        """A waiting call's time is over, unless a replica has become usable meanwhile and its deadline is ahead."""
        flight = self._flights[call_id]
        name, model = flight.targets[flight.target]
        pool = self._fleet.pools[name]
        usable = pool.usable(model)
        if usable and now < flight.deadline:
            self._timers.set(("wait", call_id), flight.deadline)
            if flight.pin is not None:
                pool.unpin(flight, model, now)
                self.serve(name, out, now)
            return
        if not usable and now < flight.deadline and self._next_usable(flight) is not None:
            self._unqueue(flight, now)
            flight.move("new")
            self._next_target(flight, out, now)
            return
        late: Label = "queue_timeout" if usable else "no_replica"
        self._refuse(flight, flight.last or late, out, now)
