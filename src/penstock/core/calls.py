"""Calls: the life of every call from its arrival to its one record. A part of the Gate.

It holds the one table of calls in flight. Whatever a call holds (a seat, a place in a queue, an id) is given back on
every way out. Replicas' health and membership are `fleet`'s business; which seat is best is the pool's.
"""

from penstock.base.errors import REFUSALS, Label
from penstock.base.nouns import Call, Usage
from penstock.base.rand import Rand
from penstock.core.attempts import MAX_PAUSE_S, may_repeat, pause_s, told
from penstock.core.catalog import Catalog
from penstock.core.effects import Cancel, Effect, Record, Refuse, Send
from penstock.core.events import Arrived, Began, ClientGone, Ended, Failed
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight
from penstock.core.limits import Limits
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.shed import AGAIN_S
from penstock.core.timers import Timers

RETRY_AFTER_S = (1.0, 60.0)
"""Bounds of the Retry-After that we work out ourselves."""


class Calls:
    """The calls in flight and what happens to them. Every method that takes `out` appends its orders there."""

    __slots__ = ("_fleet", "_flights", "_jitter", "_limits", "_timers", "_waiting", "catalog", "max_waiting")

    def __init__(self, fleet: Fleet, timers: Timers[Alarm], catalog: Catalog, rand: Rand) -> None:
        self._fleet = fleet
        self._timers = timers
        self._jitter = rand.stream("backoff")
        self._flights: dict[str, Flight] = fleet.flights
        self._limits = Limits()
        self._waiting = 0
        self.catalog = catalog
        self.max_waiting = 0
        """In all pools together."""

    def counts(self) -> dict[str, int]:
        """What is held right now; all zero when nothing is going on."""
        return {
            "flights": len(self._flights),
            "waiting": self._waiting,
            "held_ids": len(self._limits),
            "seats_taken": sum(seat.in_flight for seat in self._fleet.seats.values()),
        }

    # ===== a call arrives =====

    def arrived(self, event: Arrived, out: list[Effect], now: float) -> None:
        call = event.call
        flight = Flight(call, self.catalog.targets(call), now)
        if call.id in self._flights:
            self._refuse_unheld(flight, "duplicate_request_id", "", out, now)
            return
        refusal = self._limits.hold(call)
        if refusal is not None:
            self._refuse_unheld(flight, refusal, "", out, now)
            return
        self._flights[call.id] = flight
        if not flight.targets:
            named = (
                f"The model {call.model[:200]!r} does not exist here." if call.model else "The request names no model."
            )
            self._refuse(flight, "model_not_found" if call.model else "bad_request", out, now, named)
            return
        flight.deadline = now + self._patience_s(call, self._fleet.pools[flight.targets[0].pool])
        self._dispatch(flight, out, now)

    def _patience_s(self, call: Call, pool: Pool) -> float:
        """How long the call may wait: as its pool says, longer where a first replica must be started, and never longer
        than its client can wait for the whole answer."""
        queue = pool.spec.queue
        longest_s = queue.timeout_s if pool.seats else max(queue.timeout_s, queue.waiting_room_s)
        return longest_s if call.latency_s is None else min(longest_s, call.latency_s)

    def _dispatch(self, flight: Flight, out: list[Effect], now: float) -> None:
        """Send a new call, or let it wait; the first target that can do either now has it."""
        targets = flight.targets
        for index, (name, model) in enumerate(targets):
            pool = self._fleet.pools[name]
            if pool.may_pass(flight.call, model, now):
                seat = pool.choose(flight.call, model, flight.tried, now)
                if seat is not None:
                    flight.target = index
                    self._send(flight, pool, seat, out, now)
                    return
            if pool.usable(model) and self._wait(flight, index, pool, now) is None:
                return
        refusal = self._wait(flight, 0, self._fleet.pools[targets[0].pool], now)
        if refusal is not None:
            self._refuse(flight, refusal, out, now)

    def _wait(self, flight: Flight, target: int, pool: Pool, now: float) -> Label | None:
        """Join the line of a target; why not, if it is full."""
        model = flight.targets[target].model
        refusal: Label | None = "queue_full" if self._waiting >= self.max_waiting else None
        refusal = refusal or pool.counts.refusal(pool.spec.queue, flight)
        if refusal is None and pool.refuses(flight.call, now):
            refusal = "saturated"
        if refusal is not None:
            return refusal
        flight.target = target
        self._enqueue(flight, pool, model, now)
        return None

    def _enqueue(self, flight: Flight, pool: Pool, model: str, now: float) -> None:
        flight.move("queued")
        flight.queued_at = now
        self._waiting += 1
        pool.push(flight, model, now)
        until = flight.deadline
        if not pool.usable(model):
            queue = pool.spec.queue
            until = min(until, now + (queue.unavailable_wait_s if pool.seats else queue.waiting_room_s))
        self._timers.set(("wait", flight.call.id), until)
        self.watch_held(pool.spec.name, now)

    def _unqueue(self, flight: Flight, now: float) -> None:
        name, model = flight.targets[flight.target]
        self._fleet.pools[name].drop(flight, model)
        self._timers.cancel(("wait", flight.call.id))
        self._waiting -= 1
        flight.queue_s += now - flight.queued_at

    def _send(self, flight: Flight, pool: Pool, seat: Seat, out: list[Effect], now: float) -> None:
        model = flight.targets[flight.target].model
        flight.move("sent")
        flight.seat = seat
        flight.attempt += 1
        flight.target_attempts += 1
        flight.sent_at = now
        seat.in_flight += 1
        if flight.attempt == 1:
            pool.budget.deposit(now)
            pool.fair.charge(flight.call, now)
        timeouts = pool.spec.timeouts
        out.append(
            Send(
                flight.call.id, flight.attempt, seat.id, seat.replica.models.get(model, model),
                timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s, flight.queue_s,
            )
        )  # fmt: skip

    def serve(self, name: str, out: list[Effect], now: float) -> None:
        """Seats may have come free: send who waits for them."""
        pool = self._fleet.pools.get(name)
        while pool is not None and pool.counts.calls:
            found = pool.next(now)
            if found is None:
                return
            flight, seat = found
            if now >= flight.deadline:  # this fact overtook the alarm
                self._refuse(flight, flight.last or "queue_timeout", out, now)
                continue
            self._unqueue(flight, now)
            self._send(flight, pool, seat, out, now)

    def watch_held(self, name: str, now: float) -> None:
        """Calls that wait may be held back by engines' numbers, and no fact about calls tells of better ones."""
        pool = self._fleet.pools.get(name)
        if pool is not None and pool.shed.active and pool.counts.calls and ("held", name) not in self._timers:
            self._timers.set(("held", name), now + AGAIN_S)

    # ===== an attempt goes on =====

    def _current(self, call_id: str, attempt: int) -> Flight | None:
        """The flight whose running attempt this is; a fact about any other comes too late and means nothing."""
        flight = self._flights.get(call_id)
        if flight is None or flight.attempt != attempt or flight.seat is None:
            return None
        return flight

    def began(self, event: Began, out: list[Effect], now: float) -> None:
        flight = self._current(event.id, event.attempt)
        if flight is not None and flight.state == "sent" and flight.seat is not None:
            self._begin(flight, flight.seat, now)

    def _begin(self, flight: Flight, seat: Seat, now: float) -> None:
        flight.move("begun")
        flight.began = now
        pool = self._fleet.pools.get(seat.pool)
        seat.began(now - flight.sent_at, flight.call.stream, pool.decay_s if pool else 10.0, now)

    def ended(self, event: Ended, out: list[Effect], now: float) -> None:
        flight = self._current(event.id, event.attempt)
        if flight is None or flight.seat is None:
            return
        seat = flight.seat
        if flight.state == "sent":
            self._begin(flight, seat, now)
        if seat.times_whole:
            seat.ended(now - flight.sent_at, now)
        self._release(flight, out)
        self._fleet.succeeded(seat, now)
        usage = event.usage
        if usage is not None and (pool := self._fleet.pools.get(seat.pool)) is not None:
            pool.fair.served(flight.call.tenant, usage.prompt_tokens, usage.completion_tokens, now)
        self._over(flight, "ok", event.status, event.usage, event.relayed_tokens, out, now, seat.id)
        self.serve(seat.pool, out, now)

    def _release(self, flight: Flight, out: list[Effect]) -> None:
        if (seat := flight.seat) is not None:
            flight.seat = None
            seat.in_flight -= 1
            if seat.in_flight == 0:
                self._fleet.emptied(seat, out)

    def failed(self, event: Failed, out: list[Effect], now: float) -> None:
        flight = self._current(event.id, event.attempt)
        if flight is None or flight.seat is None:
            return
        seat, row = flight.seat, REFUSALS[event.label]
        self._release(flight, out)
        if row.blames_replica:
            self._fleet.failed(seat, now)
        if row.says_retry_after and row.retryable:
            wanted = 1.0 if event.retry_after_s is None else event.retry_after_s
            if event.retry_after_s is not None or not row.blames_replica:
                self._fleet.set_aside(seat, min(max(wanted, 0.0), MAX_PAUSE_S), now)
        flight.last = event.label
        if flight.began is None:
            self._again(flight, seat, event, out, now)
        else:
            self._refuse(flight, event.label, out, now, tokens=event.relayed_tokens, replica=seat.id)
        self.serve(seat.pool, out, now)

    def _again(self, flight: Flight, seat: Seat, event: Failed, out: list[Effect], now: float) -> None:
        """An attempt failed before its first byte: another attempt, another target, or the end."""
        row = REFUSALS[event.label]
        pool = self._fleet.pools.get(flight.targets[flight.target].pool)
        flight.deadline += now - flight.sent_at  # it bounds waiting; the time at a replica was none
        if row.blames_replica or row.says_retry_after or flight.target_attempts > 1:  # else well: once again
            flight.tried = (flight.tried or frozenset()) | {seat.id}
        if pool is not None and may_repeat(row, flight.call.repeatable):
            spec = pool.spec.retries
            if flight.target_attempts < spec.attempts and self._afford(flight, pool, row.free_failover, now):
                if pool.untried(flight) or not pool.usable(flight.targets[flight.target].model):
                    self._rejoin(flight, pool, out, now)  # to wait, or to a fallback, where nobody is usable
                else:
                    flight.move("pausing")
                    wait_s = max(pause_s(spec, flight.target_attempts, self._jitter), event.retry_after_s or 0.0)
                    self._timers.set(("pause", flight.call.id), min(now + wait_s, flight.deadline))
                return
            if self._next_target(flight, out, now):
                return
        label = told(event.label, pool is not None and pool.panic)
        self._refuse(flight, label, out, now, status=event.status, retry_after_s=event.retry_after_s, replica=seat.id)

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
        flight.target, flight.target_attempts = index, 0
        self._rejoin(flight, self._fleet.pools[flight.targets[index].pool], out, now)
        return True

    def client_gone(self, event: ClientGone, out: list[Effect], now: float) -> None:
        flight = self._flights.get(event.id)
        if flight is None:
            return
        seat = flight.seat
        if seat is not None:
            out.append(Cancel(event.id, flight.attempt))
            if flight.began is None:
                seat.in_vain(now - flight.sent_at, flight.call.stream, now)
        replica = seat.id if seat is not None else ""
        self._let_go(flight, out, now)
        self._over(flight, "client_gone", 499, None, event.relayed_tokens, out, now, replica)
        if seat is not None:
            self.serve(seat.pool, out, now)

    # ===== a call is over =====

    def _let_go(self, flight: Flight, out: list[Effect], now: float) -> None:
        """Give back whatever the state says that it holds."""
        if flight.state == "queued":
            self._unqueue(flight, now)
        elif flight.state == "pausing":
            self._timers.cancel(("pause", flight.call.id))
        self._release(flight, out)

    def _refuse(
        self, flight: Flight, label: Label, out: list[Effect], now: float, detail: str = "", *, status: int = 0,
        retry_after_s: float | None = None, tokens: int = 0, replica: str = "",
    ) -> None:  # fmt: skip
        row = REFUSALS[label]
        if row.says_retry_after and retry_after_s is None:
            retry_after_s = self._retry_after_s(flight, now)
        status = status if status >= 500 or status == 429 else row.http
        self._let_go(flight, out, now)
        out.append(Refuse(flight.call.id, label, status, detail, retry_after_s))
        self._over(flight, label, status, None, tokens, out, now, replica)

    def _refuse_unheld(self, flight: Flight, label: Label, detail: str, out: list[Effect], now: float) -> None:
        """Refuse a call that never entered: it holds nothing, and another with its id may be in flight."""
        status = REFUSALS[label].http
        out.append(Refuse(flight.call.id, label, status, detail))
        out.append(Record(flight.row(label, status, None, 0, "", now)))

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
        flight.move("over")
        del self._flights[flight.call.id]
        self._limits.settle(flight.call)
        out.append(Record(flight.row(outcome, status, usage, tokens, replica, now)))

    # ===== time and settings =====

    def serve_all(self, out: list[Effect], now: float) -> None:
        """Room may have appeared anywhere."""
        for name in self._fleet.pools:
            self.serve(name, out, now)

    def lift_waiting(self, now: float) -> list[Flight]:
        """Take all waiting calls out of their lines, in the order of their arrival, to `readmit` them elsewhere."""
        waiting = [flight for flight in self._flights.values() if flight.state in ("queued", "pausing")]
        for flight in waiting:
            if flight.state == "queued":
                self._unqueue(flight, now)
            else:
                self._timers.cancel(("pause", flight.call.id))
            flight.move("new")
        return waiting

    def readmit(self, flight: Flight, out: list[Effect], now: float) -> None:
        flight.targets = self.catalog.targets(flight.call)
        flight.target_attempts = 0
        if not flight.targets:
            self._refuse(flight, "model_not_found", out, now)
            return
        pools = self._fleet.pools
        usable = (index for index, (name, model) in enumerate(flight.targets) if pools[name].usable(model))
        flight.target = next(usable, 0)
        name, model = flight.targets[flight.target]
        self._enqueue(flight, pools[name], model, now)

    def waited(self, call_id: str, out: list[Effect], now: float) -> None:
        """A waiting call's time is over, unless a replica has become usable meanwhile and its deadline is ahead."""
        flight = self._flights[call_id]
        name, model = flight.targets[flight.target]
        usable = self._fleet.pools[name].usable(model)
        if usable and now < flight.deadline:
            self._timers.set(("wait", call_id), flight.deadline)
            return
        if not usable and now < flight.deadline and self._next_usable(flight) is not None:
            self._unqueue(flight, now)
            flight.move("new")
            self._next_target(flight, out, now)
            return
        late: Label = "queue_timeout" if usable else "no_replica"
        self._refuse(flight, flight.last or late, out, now)

    def paused(self, call_id: str, out: list[Effect], now: float) -> None:
        """The pause before another attempt at a tried replica is over."""
        flight = self._flights[call_id]
        if now >= flight.deadline:
            self._refuse(flight, flight.last or "queue_timeout", out, now)
            return
        self._rejoin(flight, self._fleet.pools[flight.targets[flight.target].pool], out, now)
