"""Rivals: two attempts of one call at once. Where the first is slow to begin, another is sent to another replica; the
first to begin wins, and the loser is stopped in the same turn [H5].

While two run there is no retry: if one fails, the other goes on alone. Delays and budget are `hedge`'s arithmetic.
"""

from penstock.base.errors import REFUSALS
from penstock.core.chances import Chances
from penstock.core.effects import Cancel, Effect
from penstock.core.events import Failed
from penstock.core.flight import Flight, Running
from penstock.core.load import Seat


class Rivals(Chances):
    """The books, second chances, and calls of which two attempts run."""

    __slots__ = ()

    def hedge(self, call_id: str, out: list[Effect], now: float) -> None:
        """A call's first attempt is slow to begin: make another one, if that takes nothing from anybody."""
        flight = self._flights[call_id]
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
        self._send(flight, pool, seat, out, now)
        flight.target_attempts -= 1  # a hedge is no retry

    def _note(self, flight: Flight, what: str, now: float) -> None:
        if self.trails is not None:
            self.trails.hedged(flight, what, now)

    def _decide(self, flight: Flight, number: int, out: list[Effect], now: float) -> Seat | None:
        """The answer of this attempt is here: no other attempt is wanted. Whose seat that frees."""
        if flight.hedge == "due":
            self._unwatch(flight)
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
        if self.trails is not None:
            self.trails.stopped(flight, loser.number, loser.seat, now)
        loser.seat.in_vain(now - loser.sent_at, flight.call.stream, now)
        self._free(loser.seat, out)
        return loser.seat

    def _one_of_two_failed(self, flight: Flight, rival: Running, event: Failed, out: list[Effect], now: float) -> None:
        """Nothing of either has been seen: the other goes on alone."""
        loser = rival
        if event.attempt == rival.number:
            flight.deadline += flight.sent_at - rival.sent_at  # as after any failure: its time at a replica was none
        else:
            loser = flight.go_on_with(rival)
        flight.rival = None
        self._free(loser.seat, out)
        self._learn(flight, loser.seat, REFUSALS[event.label], event, now)
        self.serve(loser.seat.pool, out, now)

    def _stop_all(self, flight: Flight, out: list[Effect], now: float) -> None:
        """The client has left: stop what runs. What had not begun has shown how slow it is, at least."""
        for running in flight.running():
            out.append(Cancel(flight.call.id, running.number))
            if flight.began is None:
                running.seat.in_vain(now - running.sent_at, flight.call.stream, now)
