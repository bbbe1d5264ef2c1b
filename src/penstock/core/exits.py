"""Exits: every way out. Whatever a call holds is given back here, its client is told where it gets no answer, and it
gets its one record. A part of the Gate.
"""

from typing import Final

from msgspec import UNSET

from penstock.base.errors import REFUSALS, Label
from penstock.base.nouns import Usage
from penstock.core.answers import Answers
from penstock.core.books import Books
from penstock.core.effects import Effect, Record, Refuse
from penstock.core.fleet import Fleet
from penstock.core.flight import Flight
from penstock.core.groups import Groups
from penstock.core.limits.limits import Limits

RETRY_AFTER_S: Final[tuple[float, ...]] = (1.0, 60.0)
"""Bounds of the Retry-After that we work out ourselves."""


class Exits:
    """Ends calls. Tells `groups` and `answers` of each end, because others may have waited for it."""

    __slots__ = ("_answers", "_books", "_fleet", "_groups", "_limits")

    def __init__(self, books: Books, fleet: Fleet, limits: Limits, groups: Groups, answers: Answers) -> None:
        self._books = books
        self._fleet = fleet
        self._limits = limits
        self._groups = groups
        self._answers = answers

    def let_go(self, flight: Flight, out: list[Effect], now: float) -> None:
        """Give back whatever the state says that it holds."""
        books = self._books
        if flight.state == "queued":
            books.unqueue(flight, now)
        elif flight.state == "pausing":
            books.unpause(flight)
        elif flight.state == "barred":
            books.unbar(flight, now)
            self._limits.free(flight.call.tenant)  # who stood behind it may need less
        elif flight.state == "gathering":
            self._groups.scratch(flight)
        books.release(flight, out)

    def disband(self, carrier: Flight, out: list[Effect], now: float) -> list[Flight]:
        """The group is over; those that were aboard, each with what it has been through."""
        self.let_go(carrier, out, now)
        return self._groups.disband(carrier, out, now)

    # ===== a call is over =====

    def refuse(
        self, flight: Flight, label: Label, out: list[Effect], now: float, detail: str = "", *, status: int = 0,
        retry_after_s: float | None = None, tokens: int = 0, replica: str = "",
    ) -> None:  # fmt: skip
        """It is over without an answer, or in the middle of one; a group, for all that are aboard."""
        row = REFUSALS[label]
        if row.says_retry_after and retry_after_s is None:
            retry_after_s = self._retry_after_s(flight, now)
        if flight.ride is not None and flight.ride.riders is not None:
            for rider in self.disband(flight, out, now):
                self.refuse(rider, label, out, now, detail, status=status, retry_after_s=retry_after_s, replica=replica)
            return
        status = status if status >= 500 or status == 429 else row.http
        self.let_go(flight, out, now)
        rates = self._limits.rates(flight, now)
        out.append(Refuse(flight.call.id, label, status, detail, retry_after_s, rates))
        self.over(flight, label, status, None, tokens, out, now, replica)

    def turn_away(
        self, flight: Flight, label: Label, detail: str, out: list[Effect], now: float,
        retry_after_s: float | None = None,
    ) -> None:  # fmt: skip
        """Refuse a call that never entered: it holds nothing, and another with its id may be in flight."""
        status = REFUSALS[label].http
        out.append(Refuse(flight.call.id, label, status, detail, retry_after_s, self._limits.rates(flight, now)))
        row = flight.row(label, status, None, 0, "", now)
        if self._books.trails is not None:
            self._books.trails.over(flight, row)
        out.append(Record(row))

    def over(
        self, flight: Flight, outcome: str, status: int, usage: Usage | None, tokens: int, out: list[Effect],
        now: float, replica: str = "",
    ) -> None:  # fmt: skip
        """It is over, and holds nothing but its place in the table and what its limits have given it."""
        if flight.ride is not None and self._groups.leave(flight, out, now):
            return
        books, limits = self._books, self._limits
        given = flight.state == "given"
        flight.move("over")
        del books.flights[flight.call.id]
        limits.leave(flight.call)
        if flight.cache is not UNSET:
            self._answers.counted(flight.cache)
        billed = None
        if given and limits.given_free:
            usage = None
            limits.settle_free(flight, outcome)
        elif limits.on or flight.hold is not None or usage is None:
            billed = limits.settle(flight, outcome, status, usage, tokens, replica != "")
        row = flight.row(outcome, status, usage, tokens, replica, now, billed)
        if books.trails is not None:
            books.trails.over(flight, row)
        out.append(Record(row))
        if flight.sharing is not None:
            self._answers.unshare(flight, flight.sharing, outcome, status, out)

    def _retry_after_s(self, flight: Flight, now: float) -> float:
        """When it may be worth trying again: after the line has moved on, by the pace of the last seconds."""
        pool = self._fleet.pools.get(flight.targets[0].pool) if flight.targets else None
        least_s, most_s = RETRY_AFTER_S
        if pool is None or not pool.counts.calls:
            return least_s
        pace = pool.budget.calls / 10
        return min(most_s, max(least_s, pool.counts.calls / pace if pace else most_s))
