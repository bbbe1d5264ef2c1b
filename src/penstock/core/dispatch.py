"""Dispatch: a call goes to a replica, waits in a line, or goes on to its next target. A part of the Gate.

Which seat is best, and who is next in a line, the pool says; here it is done. What a failed attempt leads to is
`chances`' business, which comes back here with calls that are to have another one.
"""

from penstock.base.errors import Label
from penstock.core.books import Books
from penstock.core.effects import Effect
from penstock.core.exits import Exits
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight
from penstock.core.pool import Pool
from penstock.core.timers import Timers


class Dispatch:
    """Sends calls on their way."""

    __slots__ = ("_books", "_exits", "_fleet", "_timers")

    def __init__(self, books: Books, fleet: Fleet, timers: Timers[Alarm], exits: Exits) -> None:
        self._books = books
        self._fleet = fleet
        self._timers = timers
        self._exits = exits

    # ===== a new call =====

    def go(self, flight: Flight, out: list[Effect], now: float) -> None:
        """Send a new call, or let it wait; the first target that can do either now has it."""
        targets = flight.targets
        for index, (name, model) in enumerate(targets):
            pool = self._fleet.pools[name]
            if pool.may_pass(flight.call, model, now):
                seat = pool.take(flight, model, now)
                if seat is not None:
                    flight.target = index
                    self._books.send(flight, pool, seat, out, now)
                    return
            if pool.usable(model) and self._wait(flight, index, pool, now) is None:
                if pool.fair.kept:  # whoever was kept from a free seat may have it by now
                    self.serve(name, out, now)
                return
        refusal = self._wait(flight, 0, self._fleet.pools[targets[0].pool], now)
        if refusal is not None:
            self._exits.refuse(flight, refusal, out, now)

    def _wait(self, flight: Flight, target: int, pool: Pool, now: float) -> Label | None:
        """Join the line of a target; why not, if it is full."""
        books = self._books
        model = flight.targets[target].model
        refusal: Label | None = "queue_full" if books.waiting >= books.max_waiting else None
        refusal = refusal or pool.refusal(flight, model, now)
        if refusal is None and pool.refuses(flight.call, now):
            refusal = "saturated"
        if refusal is not None:
            if books.trails is not None:
                books.trails.refused(flight, pool, model, refusal, books.waiting, now)
            return refusal
        flight.target = target
        books.enqueue(flight, pool, model, now)
        return None

    # ===== those that wait =====

    def serve(self, name: str, out: list[Effect], now: float) -> None:
        """Seats may have come free: send who waits for them."""
        books, pool = self._books, self._fleet.pools.get(name)
        while pool is not None and pool.counts.calls:
            found = pool.next(now)
            if found is None:
                if pool.shaken:
                    self._look_for_stranded(pool, out, now)
                if pool.fair.kept:
                    books.watch_held(name, now)
                return
            flight, seat = found
            if now >= flight.deadline:  # this fact overtook the alarm
                self._exits.refuse(flight, flight.last or "queue_timeout", out, now)
                continue
            books.unqueue(flight, now)
            if seat is None:
                flight.move("new")
                books.enqueue(flight, pool, flight.targets[flight.target].model, now)
            else:
                books.send(flight, pool, seat, out, now)

    def _look_for_stranded(self, pool: Pool, out: list[Effect], now: float) -> None:
        """Who waits for a model that no replica can serve any more goes on to a fallback, as a call that comes now
        would; where there is none, it waits no longer than such a call."""
        pool.shaken = False
        books = self._books
        reached: dict[str, None] = {}
        for model, line in list(pool.lines.items()):
            before, line.stranded = line.stranded, not pool.usable(model)
            for flight in list(line) if line.stranded else ():
                index = self._next_usable(flight)
                if index is None:
                    if not before:
                        books.hurry(flight, pool, now)
                    continue
                books.unqueue(flight, now)
                flight.move("new")
                self._turn_to(flight, index, now)
                name, other = flight.targets[index]
                books.enqueue(flight, self._fleet.pools[name], other, now)
                reached[name] = None
        for name in reached:
            self.serve(name, out, now)

    def serve_all(self, out: list[Effect], now: float) -> None:
        """Room may have appeared anywhere."""
        for name, pool in self._fleet.pools.items():
            pool.shaken = True
            self.serve(name, out, now)

    def look_again(self, name: str, out: list[Effect], now: float) -> None:
        """Engines' numbers may be better by now."""
        self.serve(name, out, now)
        self._books.watch_held(name, now)

    def waited(self, call_id: str, out: list[Effect], now: float) -> None:
        """A waiting call's time is over, unless a replica has become usable meanwhile and its deadline is ahead."""
        flight = self._books.flights[call_id]
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
            self._books.unqueue(flight, now)
            flight.move("new")
            self.next_target(flight, out, now)
            return
        late: Label = "queue_timeout" if usable else "no_replica"
        self._exits.refuse(flight, flight.last or late, out, now)

    # ===== another attempt, another target =====

    def rejoin(self, flight: Flight, pool: Pool, out: list[Effect], now: float) -> None:
        """Back for another attempt: at once where a seat is free, else beside the line. It was admitted before, so no
        bound refuses it."""
        model = flight.targets[flight.target].model
        seat = pool.choose(flight.call, model, flight.tried, now)
        if seat is not None:
            self._books.send(flight, pool, seat, out, now)
        elif pool.usable(model) or not self.next_target(flight, out, now):
            self._books.enqueue(flight, pool, model, now)

    def _next_usable(self, flight: Flight) -> int | None:
        """The next fallback that has a usable replica."""
        for index in range(flight.target + 1, len(flight.targets)):
            pool = self._fleet.pools.get(flight.targets[index].pool)
            if pool is not None and pool.usable(flight.targets[index].model):
                return index
        return None

    def next_target(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """Go on to the next fallback that has a usable replica; whether there was one."""
        index = self._next_usable(flight)
        if index is None:
            return False
        self._turn_to(flight, index, now)
        self.rejoin(flight, self._fleet.pools[flight.targets[index].pool], out, now)
        return True

    def _turn_to(self, flight: Flight, index: int, now: float) -> None:
        flight.target, flight.target_attempts, flight.spared = index, 0, 0
        if self._books.trails is not None:
            self._books.trails.moved(flight, "fallback", now)
