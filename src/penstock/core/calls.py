"""Calls: what each fact about a call means. A part of the Gate; owns the parts that decide about calls.

Read here what happens to a call, in order; how it is done stands in the part that is named:

    doors      who may enter: limits, and who waits for them
    given      whose answer may be another's: kept ones, and those of calls that lead
    heirs      what becomes of calls that have one answer when one of them is over
    answers    which are kept, and which calls wait for one
    abroad     answers in common with other workers
    groups     calls that go to an engine together
    dispatch   on to a replica, into a line, to the next target; who waits is served
    rivals     two attempts at once
    chances    what follows a failure
    exits      every way out: refusals, and the one record
    books      what calls hold meanwhile

Each knows only those that it was made with. Replicas' health and membership are `fleet`'s business; which seat is best
is the pool's.
"""

from penstock.base.rand import Rand
from penstock.core.abroad import Abroad
from penstock.core.answers import Answers
from penstock.core.books import Books
from penstock.core.catalog import Catalog
from penstock.core.chances import Chances
from penstock.core.dispatch import Dispatch
from penstock.core.doors import Doors
from penstock.core.effects import Effect
from penstock.core.events import Arrived, Began, ClientGone, Compared, Ended, Failed, LookedUp, Unwanted
from penstock.core.exits import Exits
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight, Ride
from penstock.core.given import Given
from penstock.core.groups import Groups
from penstock.core.heirs import Heirs
from penstock.core.limits.limits import Limits
from penstock.core.load import Seat
from penstock.core.rivals import Rivals
from penstock.core.timers import Timers


class Calls:
    """The calls in flight and what happens to them. Every method that takes `out` appends its orders there."""

    __slots__ = (
        "_abroad", "_catalog", "_chances", "_exits", "_fleet", "_given", "_groups", "_heirs", "_limits", "_rivals",
        "answers", "books", "dispatch", "doors",
    )  # fmt: skip

    def __init__(
        self, flights: dict[str, Flight], fleet: Fleet, timers: Timers[Alarm], catalog: Catalog, rand: Rand
    ) -> None:
        """`flights`: the table of calls in flight, empty yet."""
        self._fleet = fleet
        self._catalog = catalog
        limits = self._limits = Limits()
        books = self.books = Books(flights, fleet, timers, limits)
        self._abroad = Abroad()
        self.answers = Answers(limits, self._abroad)
        self._groups = Groups(books, fleet, timers, self._go)
        exits = self._exits = Exits(books, fleet, limits, self._groups, self.answers)
        dispatch = self.dispatch = Dispatch(books, fleet, timers, exits)
        self._chances = Chances(books, fleet, exits, dispatch, rand)
        self._rivals = Rivals(books, fleet, dispatch, self._chances)
        self.doors = Doors(books, timers, limits, catalog, exits, self._enter)
        self._heirs = Heirs(books, limits, catalog, self.answers, self._abroad, exits, self.doors)
        self._given = Given(books, limits, self.answers, self._abroad, exits, self._heirs)

    # ===== a call arrives =====

    def arrived(self, event: Arrived, out: list[Effect], now: float) -> None:
        """Limits, then the cache, then others of its kind, then a replica."""
        call, limits = event.call, self._limits
        flight = Flight(call, self._catalog.targets(call), now)
        if event.alike:
            flight.ride = Ride(event.alike)
        if call.id in self.books.flights:
            self._exits.turn_away(flight, "duplicate_request_id", "", out, now)
            return
        refusal = limits.enter(call)
        if refusal is not None:
            self._exits.turn_away(flight, refusal, "", out, now)
        elif limits.on and self.doors.too_fast(flight, event.client, out, now):
            pass
        elif self.answers.cache is not None and limits.on and self._given.answered_at_once(flight, out, now):
            flight.ride = None
        elif not limits.on or self.doors.admit(flight, out, now):
            self.books.flights[call.id] = flight
            self._enter(flight, out, now)

    def _enter(self, flight: Flight, out: list[Effect], now: float) -> None:
        """It is in: who answers it?"""
        call = flight.call
        if not flight.targets:
            named = (
                f"The model {call.model[:200]!r} does not exist here. GET /v1/models lists those that do."
                if call.model
                else "The request names no model."
            )
            self._exits.refuse(flight, "model_not_found" if call.model else "bad_request", out, now, named)
            return
        if self.answers.cache is not None:
            given = self._given.answered(flight, out, now)
            if given or flight.sharing is not None:
                flight.ride = None  # an answer that others may have is asked for alone
            if given:
                return
        flight.deadline = now + self._fleet.pools[flight.targets[0].pool].patience_s(call)
        if flight.ride is not None and self._groups.gather(flight, flight.ride, out, now):
            return
        self.dispatch.go(flight, out, now)

    def _go(self, flight: Flight, out: list[Effect], now: float) -> None:
        """As `Dispatch.go`: `groups` is made before it."""
        self.dispatch.go(flight, out, now)

    def _alone(self, flight: Flight, out: list[Effect], now: float) -> None:
        """It is in, and gets an answer of its own, whatever the cache holds."""
        if not flight.targets:
            self._exits.refuse(flight, "model_not_found", out, now)
            return
        flight.deadline = now + self._fleet.pools[flight.targets[0].pool].patience_s(flight.call)
        self.dispatch.go(flight, out, now)

    def looked_up(self, event: LookedUp, out: list[Effect], now: float) -> None:
        """Other workers, and what gateways share, were asked."""
        flight = self._given.looked_up(event, out, now)
        if flight is not None:
            self._retarget(flight)
            self._enter(flight, out, now)

    def compared(self, event: Compared, out: list[Effect], now: float) -> None:
        """Kept questions in other words were looked at."""
        flight = self._given.compared(event, out, now)
        if flight is not None:
            self._retarget(flight)
            self._enter(flight, out, now)

    def unwanted(self, event: Unwanted, out: list[Effect], now: float) -> None:
        """Another worker follows one of these calls no more."""
        gone = self._abroad.unwanted(event)
        if gone is not None:
            self.client_gone(gone, out, now)

    # ===== an attempt goes on =====

    def _current(self, call_id: str, attempt: int) -> Flight | None:
        """The flight of which this attempt runs; a fact about any other comes too late and means nothing."""
        flight = self.books.flights.get(call_id)
        if flight is None or flight.seat is None:
            return None
        if flight.number == attempt or (flight.rival is not None and flight.rival.number == attempt):
            return flight
        return None

    def began(self, event: Began, out: list[Effect], now: float) -> None:
        """The first content byte of an attempt, or of an answer that is given."""
        flight = self._current(event.id, event.attempt)
        if flight is not None and flight.state == "sent":
            beaten = self._rivals.decide(flight, event.attempt, out, now) if flight.hedge else None
            self._begin(flight, now)
            if beaten is not None:
                self.dispatch.serve(beaten.pool, out, now)
        elif not event.attempt:
            self._given.began(event, now)

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
        """The whole answer: of an attempt, of a call's part of a group's, or one that is given."""
        flight = self._current(event.id, event.attempt)
        if flight is None:
            if event.attempt:
                self._arrived_together(event, out, now)
            else:
                self._given.ended(event, out, now)
            return
        if flight.state == "sent":
            if flight.hedge:
                self._rivals.decide(flight, event.attempt, out, now)
            self._begin(flight, now)
        seat = flight.seat
        assert seat is not None
        if seat.times_whole:
            seat.ended(now - flight.sent_at, now)
        self.books.release(flight, out)
        self._fleet.succeeded(seat, now)
        usage = event.usage
        if usage is not None and (pool := self._fleet.pools.get(seat.pool)) is not None:
            pool.fair.served(flight.call.tenant, usage.prompt_tokens, usage.completion_tokens, now)
            if flight.call.prefix:
                pool.cached(flight, usage, seat)
        if flight.sharing is not None:
            self.answers.keep(flight, flight.sharing, event, out, now)
        self._exits.over(flight, "ok", event.status, event.usage, event.relayed_tokens, out, now, seat.id)
        self.dispatch.serve(seat.pool, out, now)

    def _arrived_together(self, event: Ended, out: list[Effect], now: float) -> None:
        seat = self._groups.arrived(event)
        if seat is not None:
            flight = self.books.flights[event.id]
            flight.began = now
            self._exits.over(flight, "ok", event.status, event.usage, event.relayed_tokens, out, now, seat.id)

    def failed(self, event: Failed, out: list[Effect], now: float) -> None:
        """An attempt has failed, or an answer that was to be given."""
        flight = self._current(event.id, event.attempt)
        if flight is None or flight.seat is None:
            if not event.attempt and (alone := self._given.failed(event, out, now)) is not None:
                self._alone(alone, out, now)
            return
        if flight.rival is not None:
            self._rivals.failed(flight, flight.rival, event, out, now)
            return
        seat = flight.seat
        self.books.release(flight, out)
        self._chances.failed(flight, seat, event, out, now)
        self.dispatch.serve(seat.pool, out, now)

    def client_gone(self, event: ClientGone, out: list[Effect], now: float) -> None:
        """Its client has left: stop what is done for it alone, and give back what it holds."""
        flight = self.books.flights.get(event.id)
        if flight is None or (flight.sharing is not None and self._heirs.left(flight, flight.sharing, event, out, now)):
            return
        seat = flight.seat
        if flight.state == "aboard":
            seat = self._get_off(flight, out, now)
        self._rivals.stop_all(flight, out, now)
        replica = seat.id if seat is not None else ""
        self._exits.let_go(flight, out, now)
        self._exits.over(flight, "client_gone", 499, None, event.relayed_tokens, out, now, replica)
        if seat is not None:
            self.dispatch.serve(seat.pool, out, now)

    def _get_off(self, flight: Flight, out: list[Effect], now: float) -> Seat | None:
        """It leaves its group, of which nothing is wanted where it was the last. The seat where it was worked on."""
        carrier, empty = self._groups.get_off(flight)
        seat = carrier.seat
        if empty:
            self._rivals.stop_all(carrier, out, now)
            self._exits.disband(carrier, out, now)
        return seat

    # ===== a turn ends =====

    def let_in(self, out: list[Effect], now: float) -> None:
        """Something may have come free for who waits at the doors; leaders may have ended without an answer. What is
        done about either may lead to the other."""
        doors, orphans = self.doors, self.answers.orphans
        while doors.freed or orphans:
            doors.let_in(out, now)
            if orphans and (heir := self._heirs.bereave(out, now)) is not None:
                self._alone(heir, out, now)

    # ===== time and settings =====

    def rang(self, what: str, whom: str, out: list[Effect], now: float) -> bool:
        """An alarm; False: it is none about calls."""
        if what == "wait":
            self.dispatch.waited(whom, out, now)
        elif what == "pause":
            self._chances.paused(whom, out, now)
        elif what == "hedge":
            self._rivals.hedge(whom, out, now)
        elif what == "gather":
            self._groups.gathered(whom, out, now)
        elif what == "barred":
            self.doors.barred_for_long(whom, out, now)
        elif what == "room":
            self.doors.rang(whom)
        elif what == "leases":
            self.doors.look_at_leases(out, now)
        elif what == "held":
            self.dispatch.look_again(whom, out, now)
        else:
            return False
        return True

    def lift_waiting(self, out: list[Effect], now: float) -> list[Flight]:
        """Take all waiting calls out of their lines, in the order of their arrival, to `readmit` them elsewhere."""
        states = ("queued", "pausing", "gathering")
        waiting = [flight for flight in self.books.flights.values() if flight.state in states]
        for flight in waiting:
            self._exits.let_go(flight, out, now)
            flight.move("new")
        return waiting

    def readmit(self, flight: Flight, out: list[Effect], now: float) -> None:
        """Let a call that has waited before wait where it may go by the settings of now."""
        self._retarget(flight)
        flight.target_attempts = flight.spared = 0
        if not flight.targets:
            self._exits.refuse(flight, "model_not_found", out, now)
            return
        pools = self._fleet.pools
        usable = (index for index, (name, model) in enumerate(flight.targets) if pools[name].usable(model))
        flight.target = next(usable, 0)
        name, model = flight.targets[flight.target]
        if self.books.trails is not None:
            self.books.trails.moved(flight, "configuration", now)
        self.books.enqueue(flight, pools[name], model, now)

    def _retarget(self, flight: Flight) -> None:
        """Where a call may go by the settings of now, which may not be those that it came under. Whose answer others
        have as well stays with the model that they asked for by other names, while that is served."""
        kept = [target for target in flight.targets if self._catalog.offers(target)] if flight.sharing else []
        if kept and kept[0] == flight.targets[0]:
            flight.targets = tuple(kept)
        else:
            flight.targets = self._catalog.targets(flight.call)
