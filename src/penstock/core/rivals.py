"""Rivals: two attempts of one call at once. Where the first is slow to begin, another is sent to another replica; the
first to begin wins, and the loser is stopped in the same turn [H5]. A part of the Gate.

While two run there is no retry: if one fails, the other goes on alone. Delays and budget are `hedge`'s arithmetic.
"""

from penstock.core.books import Books
from penstock.core.chances import Chances
from penstock.core.dispatch import Dispatch
from penstock.core.effects import Cancel, Effect
from penstock.core.events import Failed
from penstock.core.fleet import Fleet
from penstock.core.flight import Flight, Running
from penstock.core.load import Seat


class Rivals:
    """Calls of which two attempts run, or might."""

    __slots__ = ("_books", "_chances", "_dispatch", "_fleet")

    def __init__(self, books: Books, fleet: Fleet, dispatch: Dispatch, chances: Chances) -> None:
        self._books = books
        self._fleet = fleet
        self._dispatch = dispatch
        self._chances = chances

    def hedge(self, call_id: str, out: list[Effect], now: float) -> None:
        """A call's first attempt is slow to begin: make another one, if that takes nothing from anybody."""
        flight = self._books.flights[call_id]
        flight.hedge = ""
        assert flight.seat is not None
        pool = self._fleet.pools.get(flight.seat.pool)
        if pool is None or pool.hedging is None:  # other settings hold by now
            return
        if not pool.hedging.affords(now):  # asked first: when all replicas are slow, this is what every call hears
            flight.hedge = "no_budget"
            self._note(flight, flight.hedge, now)
            return
        seat = pool.second(flight, flight.seat, now)
        if seat is None:
            flight.hedge = "no_room"
            self._note(flight, flight.hedge, now)
            return
        pool.hedging.pay()
        flight.hedge = "neither"
        flight.hedged = flight.attempt + 1
        flight.rival = Running(flight.number, flight.seat, flight.sent_at)
        self._note(flight, "sent", now)
        self._books.send(flight, pool, seat, out, now)
        flight.target_attempts -= 1  # a hedge is no retry

    def _note(self, flight: Flight, what: str, now: float) -> None:
        if self._books.trails is not None:
            self._books.trails.hedged(flight, what, now)

    def decide(self, flight: Flight, number: int, out: list[Effect], now: float) -> Seat | None:
        """The answer of this attempt is here: no other attempt is wanted. Whose seat that frees."""
        if flight.hedge == "due":
            self._books.unwatch(flight)
        if flight.hedge != "neither":
            return None
        if number == flight.hedged:
            flight.hedge = "won"
        elif number == flight.hedged - 1:
            flight.hedge = "lost"
        loser = flight.rival
        if loser is None:
            return None
        if number == loser.number:
            loser = flight.go_on_with(loser)
        else:
            pool = self._fleet.pools.get(loser.seat.pool)
            if pool is not None and pool.hedging is not None:
                pool.hedging.took(flight.call.stream, now - loser.sent_at)
        flight.rival = None
        out.append(Cancel(flight.call.id, loser.number))
        if self._books.trails is not None:
            self._books.trails.stopped(flight, loser.number, loser.seat, now)
        loser.seat.in_vain(now - loser.sent_at, flight.call.stream, now)
        self._books.free(loser.seat, out)
        return loser.seat

    def failed(self, flight: Flight, rival: Running, event: Failed, out: list[Effect], now: float) -> None:
        """Nothing of either has been seen: the other goes on alone."""
        loser = rival
        if event.attempt == rival.number:
            flight.deadline += flight.sent_at - rival.sent_at  # as after any failure: its time at a replica was none
        else:
            loser = flight.go_on_with(rival)
        flight.rival = None
        self._books.free(loser.seat, out)
        self._chances.learn(flight, loser.seat, event, now)
        self._dispatch.serve(loser.seat.pool, out, now)

    def stop_all(self, flight: Flight, out: list[Effect], now: float) -> None:
        """The client has left: stop what runs. What had not begun has shown how slow it is, at least."""
        for running in flight.running():
            out.append(Cancel(flight.call.id, running.number))
            if flight.began is None:
                running.seat.in_vain(now - running.sent_at, flight.call.stream, now)
