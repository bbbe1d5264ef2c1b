"""Shares: a replica's seats divided among several workers, each with a Gate of its own, so that their sum holds [H3].

What a worker may have in flight at a replica is its share. Shares follow demand: first somebody's is made smaller, then
the worker says how many calls it really has there, and only what is certainly free makes another's larger. So all
workers together never have more calls at a replica than it has seats, whoever is slow, and however messages cross.
"""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final

from penstock.base.nouns import Replica

SPARE: Final = 4
"""From so many seats a worker on, every worker keeps one at least, so that its next call need not wait for a share."""
MOST_GONE: Final = 1000
"""Of so many replicas that left, the last, it is remembered who may still have calls there."""
TURN_S: Final = 1.0
"""Where seats cannot be divided evenly and all workers have calls waiting, the odd ones go round this often."""


class _Worker:
    """What one worker was given and has told."""

    __slots__ = ("answered", "busy", "falling", "order", "sent", "waiting")

    def __init__(self, order: int) -> None:
        self.order = order
        self.sent = self.answered = 0
        """Numbers of the last shares that were sent to it, and that it has told to hold."""
        self.busy: Mapping[str, int] = {}
        self.waiting: Mapping[str, int] = {}
        """Calls in flight by replica, calls that wait by pool; none where there are none."""
        self.falling: set[str] = set()
        """Replicas where it may still have more calls than its share."""


class _Seats:
    """One replica's."""

    __slots__ = ("bound", "given", "order", "pool", "stale", "total", "unsure")

    def __init__(self, order: int) -> None:
        self.order = order
        self.pool = ""
        self.total = 0
        self.given: dict[str, int] = {}
        """Worker -> its share."""
        self.bound: dict[str, int] = {}
        """Worker -> what it can have in flight at most, as far as it has told."""
        self.unsure: frozenset[str] = frozenset()
        """Workers that may have calls here from before it left, and were not told since that it is back."""
        self.stale = True
        """Seats or workers have changed: it is divided anew."""


class Shares:
    """All replicas' seats, and all workers. A worker is any name."""

    __slots__ = ("_gone", "_replicas", "_workers")

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}
        self._replicas: dict[str, _Seats] = {}
        self._gone: dict[str, _Seats] = {}
        """Replicas that left: workers do not tell what goes on there, until they are back."""

    # ===== who there is =====

    def join(self, worker: str) -> None:
        """One more worker; it has nothing yet."""
        taken = {one.order for one in self._workers.values()}
        self._workers[worker] = _Worker(min(set(range(len(taken) + 1)) - taken))
        for seats in self._replicas.values():
            seats.stale = True

    def leave(self, worker: str) -> None:
        """A worker is gone for certain, and so are its calls: what it had is free."""
        if self._workers.pop(worker, None) is None:
            return
        for seats in self._replicas.values():
            seats.given.pop(worker, None)
            seats.bound.pop(worker, None)
            seats.stale = True

    def fleet(self, replicas: Iterable[Replica]) -> None:
        """The fleet, as a whole."""
        known, self._replicas = self._replicas, {}
        for order, replica in enumerate(replicas):
            seats = known.pop(replica.id, None) or self._back(replica.id) or _Seats(order)
            self._replicas[replica.id] = seats
            if seats.total != replica.max_concurrent_requests:
                seats.total, seats.stale = replica.max_concurrent_requests, True
            seats.order, seats.pool = order, replica.pool
        self._gone |= known
        for name in list(self._gone)[:-MOST_GONE]:
            del self._gone[name]

    def _back(self, replica: str) -> _Seats | None:
        """The seats of a replica that left, without shares, for workers forgot theirs. What they may still have in
        flight there holds its seats until they have told it, after a share that they get once it is back."""
        seats = self._gone.pop(replica, None)
        if seats is not None:
            seats.given, seats.stale = {}, True
            seats.bound = {worker: most for worker, most in seats.bound.items() if most and worker in self._workers}
            seats.unsure = frozenset(seats.bound)
            for one in self._workers.values():
                one.falling.discard(replica)  # what they answer now was sent before it left
        return seats

    # ===== what is told =====

    def told(self, worker: str, answered: int, busy: Mapping[str, int], waiting: Mapping[str, int]) -> None:
        """A worker's shares of this number hold, and then so many of its calls were in flight (by replica) and waited
        (by pool)."""
        one = self._workers.get(worker)
        if one is None:
            return
        one.answered, one.busy, one.waiting = answered, busy, waiting
        if answered < one.sent:
            return  # it told this before it had the last ones: it may have sent more calls since
        for name in sorted(one.falling):
            seats = self._replicas.get(name)
            given = 0 if seats is None else seats.given.get(worker, 0)
            now_busy = busy.get(name, 0)
            if seats is not None:
                seats.bound[worker] = max(given, now_busy)
            if seats is None or now_busy <= given:
                one.falling.discard(name)

    def moves(self, now: float) -> dict[str, tuple[int, dict[str, int]]]:
        """New shares to be sent: worker -> their number, and replica -> seats, of those that change."""
        free = {name: one for name, one in self._workers.items() if one.answered == one.sent}
        changes: dict[str, dict[str, int]] = {}
        crowds: dict[str, int] = {}
        for seats in self._replicas.values():
            crowds[seats.pool] = crowds.get(seats.pool, 0) + 1
        for name, seats in self._replicas.items():
            if seats.stale or self._pressed(name, seats):
                for worker, share in self._divide(name, seats, crowds[seats.pool], free, now).items():
                    changes.setdefault(worker, {})[name] = share
        sent: dict[str, tuple[int, dict[str, int]]] = {}
        for worker, shares in changes.items():
            one = self._workers[worker]
            one.sent += 1
            sent[worker] = (one.sent, shares)
        return sent

    def share(self, worker: str, replica: str) -> int:
        """What a worker was given last."""
        seats = self._replicas.get(replica)
        return 0 if seats is None else seats.given.get(worker, 0)

    def most(self, replica: str) -> int:
        """Calls that all workers together can have in flight at a replica, as far as is known here."""
        seats = self._replicas.get(replica)
        return 0 if seats is None else sum(seats.bound.values())

    # ===== dividing =====

    def _pressed(self, name: str, seats: _Seats) -> bool:
        """Whether somebody is at the end of his share."""
        return any(
            seats.pool in one.waiting or one.busy.get(name, 0) >= seats.given.get(worker, 0)
            for worker, one in self._workers.items()
            if seats.given.get(worker, 0) < seats.total
        )

    def _divide(self, name: str, seats: _Seats, crowd: int, free: Mapping[str, _Worker], now: float) -> dict[str, int]:
        """The shares of one replica's seats that change now."""
        workers = sorted(self._workers, key=lambda worker: self._workers[worker].order)
        given = [seats.given.get(worker, 0) for worker in workers]
        demands = [
            one.busy.get(name, 0) + ceil(one.waiting.get(seats.pool, 0) / crowd)
            for one in (self._workers[worker] for worker in workers)
        ]
        wanted = divided(seats.total, demands, given, seats.order + int(now / TURN_S))
        changes: dict[str, int] = {}
        for worker, share, had in zip(workers, wanted, given, strict=True):
            if share < had and worker in free:
                changes[worker] = seats.given[worker] = share
                free[worker].falling.add(name)
        room = seats.total - sum(seats.bound.values())
        lacking = sorted(zip(wanted, given, workers, strict=True), key=lambda it: it[1] - it[0])
        for share, had, worker in lacking:
            if share <= had or worker not in free:
                continue
            bound = seats.bound.get(worker, 0)
            share = min(share, max(bound, had) + max(0, room))
            if share > had:
                room -= max(0, share - bound)
                changes[worker] = seats.given[worker] = share
                seats.bound[worker] = max(bound, share)
        for worker in workers:
            if worker in seats.unsure and worker in free:
                changes.setdefault(worker, seats.given.get(worker, 0))
                free[worker].falling.add(name)
                seats.unsure -= {worker}
        seats.stale = bool(seats.unsure) or [seats.given.get(worker, 0) for worker in workers] != wanted
        return changes


def divided(total: int, demands: list[int], given: list[int], first: int) -> list[int]:
    """So many seats by demand: nobody gets more than he asks for while another lacks some, and who lacks some has as
    many as any (max-min fairness); what nobody asks for is spread evenly on top. Where that leaves odd ones, whoever
    has them keeps them, unless there are too few: then they go by turns, from the one with the number `first`."""
    count = len(demands)
    least = 1 if total >= SPARE * count else 0
    wants = [max(least, demand) for demand in demands]
    turns = sorted(range(count), key=lambda at: (at - first) % count)
    if sum(wants) > total:
        return _levelled(total, wants, turns)
    each, odd = divmod(total - sum(wants), count) if count else (0, 0)
    shares = [want + each for want in wants]
    for at in sorted(turns, key=lambda at: shares[at] - given[at])[:odd]:
        shares[at] += 1
    return shares


def _levelled(total: int, wants: list[int], turns: list[int]) -> list[int]:
    """Max-min fair, in whole seats."""
    shares = [0] * len(wants)
    left, rest = total, sorted(turns, key=lambda at: wants[at])
    while rest:
        level = left // len(rest)
        at = rest[0]
        if wants[at] > level:
            break
        shares[at] = wants[at]
        left -= wants[at]
        rest.pop(0)
    if rest:
        level, odd = divmod(left, len(rest))
        for at in rest:
            shares[at] = level
        for at in [at for at in turns if at in rest][:odd]:
            shares[at] += 1
    return shares
