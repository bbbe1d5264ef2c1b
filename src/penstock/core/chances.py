"""Second chances: what becomes of a call whose attempt failed: another attempt, another target, or the end. A part of
the Gate.

Whether a failure may be followed by another attempt, and within which budget, is `attempts`' arithmetic.
"""

from penstock.base.errors import REFUSALS, Refusal
from penstock.base.rand import Rand
from penstock.core.attempts import MAX_PAUSE_S, may_repeat, pause_s, told
from penstock.core.books import Books
from penstock.core.dispatch import Dispatch
from penstock.core.effects import Effect
from penstock.core.events import Failed
from penstock.core.exits import Exits
from penstock.core.fleet import Fleet
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.pool import Pool


class Chances:
    """What follows a failure."""

    __slots__ = ("_books", "_dispatch", "_exits", "_fleet", "_jitter")

    def __init__(self, books: Books, fleet: Fleet, exits: Exits, dispatch: Dispatch, rand: Rand) -> None:
        self._books = books
        self._fleet = fleet
        self._exits = exits
        self._dispatch = dispatch
        self._jitter = rand.stream("backoff")

    def learn(self, flight: Flight, seat: Seat, event: Failed, now: float) -> None:
        """What a failed attempt says of its replica, to all calls and to this one."""
        row = REFUSALS[event.label]
        if event.label == "upstream_5xx":
            self._answered_with_an_error(flight, seat, now)
        elif row.blames_replica:
            self._fleet.failed(seat, now)
        if row.says_retry_after and row.retryable:
            wanted = 1.0 if event.retry_after_s is None else event.retry_after_s
            if event.retry_after_s is not None or not row.blames_replica:
                self._fleet.set_aside(seat, min(max(wanted, 0.0), MAX_PAUSE_S), now)
        if row.blames_replica or row.says_retry_after or flight.target_attempts > 1:  # else it is well: once again
            flight.tried = (flight.tried or frozenset()) | {seat.id}
        flight.last = event.label
        if self._books.trails is not None:
            self._books.trails.lost(flight, seat.id, event, now)

    def _answered_with_an_error(self, flight: Flight, seat: Seat, now: float) -> None:
        """Whose fault is it? Engines answer some mistakes of clients with a 500, and their own bugs as well: such a
        call, sent again and again, must not take every replica out of traffic. Where a second replica that answers
        others well cannot serve it either, it is the call's, and the first one is cleared. What it meets twice at one
        replica says no more of it than once."""
        blamed = flight.blamed
        if blamed is seat or blamed == "itself":
            return
        if blamed is None or seat.health.failures:
            flight.blamed = seat
            self._fleet.failed(seat, now)
        else:
            flight.blamed = "itself"
            self._fleet.cleared(blamed, now)

    def failed(self, flight: Flight, seat: Seat, event: Failed, out: list[Effect], now: float) -> None:
        """Its attempt has failed, and holds its seat no more: another one, or the end."""
        self.learn(flight, seat, event, now)
        ride = flight.ride
        if ride is not None and ride.riders is not None and not (REFUSALS[event.label].unsent and flight.began is None):
            self._each_alone(flight, event, out, now)
        elif flight.began is None:
            self._again(flight, seat, event, out, now)
        else:
            self._exits.refuse(flight, event.label, out, now, tokens=event.relayed_tokens, replica=seat.id)

    def _each_alone(self, carrier: Flight, event: Failed, out: list[Effect], now: float) -> None:
        """A group's attempt has failed, and an engine has seen it: each of its calls goes alone, at once."""
        pool = self._fleet.pools.get(carrier.targets[carrier.target].pool)
        at_replica_s = now - carrier.sent_at
        for rider in self._exits.disband(carrier, out, now):
            rider.deadline += at_replica_s
            if REFUSALS[event.label].blames_replica:
                rider.last = event.label
            if pool is None:
                self._exits.refuse(rider, event.label, out, now)
            else:
                self._dispatch.rejoin(rider, pool, out, now)

    def _again(self, flight: Flight, seat: Seat, event: Failed, out: list[Effect], now: float) -> None:
        """An attempt failed before its first byte: another attempt, another target, or the end."""
        row = REFUSALS[event.label]
        pool = self._fleet.pools.get(flight.targets[flight.target].pool)
        flight.deadline += now - flight.sent_at  # it bounds waiting; the time at a replica was none
        if pool is not None and may_repeat(row, flight.call.repeatable):
            spec = pool.spec.retries
            flight.spared += self._counts_as_none(flight, pool, row)
            left = flight.target_attempts < spec.attempts + flight.spared
            if left and self._afford(flight, pool, row.free_failover, now):
                if pool.untried(flight) or not pool.usable(flight.targets[flight.target].model):
                    self._dispatch.rejoin(flight, pool, out, now)  # to wait, or to a fallback, where nobody is usable
                else:
                    wait_s = max(pause_s(spec, flight.target_attempts, self._jitter), event.retry_after_s or 0.0)
                    self._books.pause(flight, min(now + wait_s, flight.deadline), now)
                return
            if self._dispatch.next_target(flight, out, now):
                return
        if self._books.trails is not None:
            self._books.trails.gave_up(flight, pool, row, now)
        label = told(event.label, pool is not None and pool.panic)
        self._exits.refuse(
            flight, label, out, now, status=event.status, retry_after_s=event.retry_after_s, replica=seat.id
        )

    @staticmethod
    def _counts_as_none(flight: Flight, pool: Pool, row: Refusal) -> bool:
        """Whether the failed attempt used none up, as it reached no engine: the first connection that had gone stale,
        and each that could not be had while another replica is left to try. Else a call that meets as many dead
        replicas as it has attempts would fail beside those that live. At most as many as there may be repetitions."""
        if flight.spared >= pool.spec.retries.attempts - 1:
            return False
        if row.unsent:
            return pool.untried(flight)
        return row.free_failover and not row.blames_replica and not flight.free_used

    @staticmethod
    def _afford(flight: Flight, pool: Pool, free: bool, now: float) -> bool:
        if free and not flight.free_used:
            flight.free_used = True
            return True
        return pool.budget.withdraw(pool.spec.retries, now)

    def paused(self, call_id: str, out: list[Effect], now: float) -> None:
        """The pause before another attempt at a tried replica is over."""
        flight = self._books.flights[call_id]
        if now >= flight.deadline:
            self._exits.refuse(flight, flight.last or "queue_timeout", out, now)
            return
        self._dispatch.rejoin(flight, self._fleet.pools[flight.targets[flight.target].pool], out, now)
