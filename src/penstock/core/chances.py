"""Second chances: what becomes of a call whose attempt failed: another attempt, another target, or the end.

Whether a failure may be followed by another attempt, and within which budget, is `attempts`' arithmetic.
"""

from penstock.base.errors import REFUSALS, Refusal
from penstock.base.rand import Rand
from penstock.core.attempts import MAX_PAUSE_S, may_repeat, pause_s, told
from penstock.core.books import Books
from penstock.core.effects import Effect
from penstock.core.events import Failed
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.timers import Timers


class Chances(Books):
    """The books, and what happens to calls whose attempt failed."""

    __slots__ = ("_jitter",)

    def __init__(self, fleet: Fleet, timers: Timers[Alarm], rand: Rand) -> None:
        super().__init__(fleet, timers)
        self._jitter = rand.stream("backoff")

    def _learn(self, flight: Flight, seat: Seat, row: Refusal, event: Failed, now: float) -> None:
        """What a failed attempt says of its replica, to all calls and to this one."""
        if row.blames_replica:
            self._fleet.failed(seat, now)
        if row.says_retry_after and row.retryable:
            wanted = 1.0 if event.retry_after_s is None else event.retry_after_s
            if event.retry_after_s is not None or not row.blames_replica:
                self._fleet.set_aside(seat, min(max(wanted, 0.0), MAX_PAUSE_S), now)
        if row.blames_replica or row.says_retry_after or flight.target_attempts > 1:  # else it is well: once again
            flight.tried = (flight.tried or frozenset()) | {seat.id}
        flight.last = event.label
        if self.trails is not None:
            self.trails.lost(flight, seat.id, event, now)

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
                    self._rejoin(flight, pool, out, now)  # to wait, or to a fallback, where nobody is usable
                else:
                    flight.move("pausing")
                    wait_s = max(pause_s(spec, flight.target_attempts, self._jitter), event.retry_after_s or 0.0)
                    until = min(now + wait_s, flight.deadline)
                    self._timers.set(("pause", flight.call.id), until)
                    if self.trails is not None:
                        self.trails.paused(flight, until, now)
                return
            if self._next_target(flight, out, now):
                return
        if self.trails is not None:
            self.trails.gave_up(flight, pool, row, now)
        label = told(event.label, pool is not None and pool.panic)
        self._refuse(flight, label, out, now, status=event.status, retry_after_s=event.retry_after_s, replica=seat.id)

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

    def _afford(self, flight: Flight, pool: Pool, free: bool, now: float) -> bool:
        if free and not flight.free_used:
            flight.free_used = True
            return True
        return pool.budget.withdraw(pool.spec.retries, now)

    def _rejoin(self, flight: Flight, pool: Pool, out: list[Effect], now: float) -> None:
        """Back for another attempt: at once where a seat is free, else beside the line. It was admitted before, so no
        bound refuses it."""
        model = flight.targets[flight.target].model
        seat = pool.choose(flight.call, model, flight.tried, now)
        if seat is not None:
            self._send(flight, pool, seat, out, now)
        elif pool.usable(model) or not self._next_target(flight, out, now):
            self._enqueue(flight, pool, model, now)

    def _next_usable(self, flight: Flight) -> int | None:
        """The next fallback that has a usable replica."""
        for index in range(flight.target + 1, len(flight.targets)):
            pool = self._fleet.pools.get(flight.targets[index].pool)
            if pool is not None and pool.usable(flight.targets[index].model):
                return index
        return None

    def _next_target(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """Go on to the next fallback that has a usable replica; whether there was one."""
        index = self._next_usable(flight)
        if index is None:
            return False
        flight.target, flight.target_attempts, flight.spared = index, 0, 0
        if self.trails is not None:
            self.trails.moved(flight, "fallback", now)
        self._rejoin(flight, self._fleet.pools[flight.targets[index].pool], out, now)
        return True

    def paused(self, call_id: str, out: list[Effect], now: float) -> None:
        """The pause before another attempt at a tried replica is over."""
        flight = self._flights[call_id]
        if now >= flight.deadline:
            self._refuse(flight, flight.last or "queue_timeout", out, now)
            return
        self._rejoin(flight, self._fleet.pools[flight.targets[flight.target].pool], out, now)
