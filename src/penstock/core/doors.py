"""Doors: calls that their limits let in, keep waiting, or send away. A part of the Gate.

Whether a call may pass, and what it holds then, is `limits`' arithmetic. What becomes of a call that is in is nobody's
business here.
"""

from collections.abc import Callable, Iterable
from typing import Final

from penstock.base.entries import Used
from penstock.base.nouns import AccountView
from penstock.base.ports import Sheet
from penstock.core.books import Books
from penstock.core.catalog import Catalog
from penstock.core.effects import Effect
from penstock.core.events import Leased, LeaseLost
from penstock.core.exits import Exits
from penstock.core.fleet import Alarm
from penstock.core.flight import Flight
from penstock.core.limits.bars import Bar
from penstock.core.limits.lease_bars import TICK_S
from penstock.core.limits.limits import Limits
from penstock.core.limits.spec import LimitsSpec
from penstock.core.timers import Timers

_LEASES: Final[Alarm] = ("leases", "")


class Doors:
    """Calls at the door, and those that may not enter yet."""

    __slots__ = ("_books", "_catalog", "_enter", "_exits", "_idly", "_limits", "_timers", "asking", "freed")

    def __init__(
        self, books: Books, timers: Timers[Alarm], limits: Limits, catalog: Catalog, exits: Exits,
        enter: Callable[[Flight, list[Effect], float], None],
    ) -> None:  # fmt: skip
        """`enter`: what becomes of a call that has waited here and is in now."""
        self._books = books
        self._timers = timers
        self._limits = limits
        self._catalog = catalog
        self._exits = exits
        self._enter = enter
        self._idly = False
        """Leases are looked at seldom now: there are none."""
        self.freed = self._limits.freed
        """Tenants whose waiting calls may pass now: `let_in` asks, when a turn is over."""
        self.asking = self._limits.asking
        """What the store of shared limits is to hear: `lease` tells it, when a turn is over."""

    def limit(self, spec: LimitsSpec | None, now: float) -> None:
        """These limits hold from now on."""
        self._limits.respec(spec, now)

    def recall(self, used: Iterable[Used], served: Callable[[str], str]) -> None:
        """So much of limits had been used before this process began."""
        self._limits.recollection.take(used, served)
        self._limits.recall()

    def note_on(self, sheet: Sheet) -> None:
        """See `Limits.note_on`."""
        self._limits.note_on(sheet)

    # ===== limits that are shared with other processes =====

    def lease(self, out: list[Effect], now: float) -> None:
        """Ask for leases, and have all of them looked at soon."""
        leases = self._limits.leases
        if leases is not None:
            leases.order(out, now)
            if leases.busy() and (self._idly or _LEASES not in self._timers):
                self._idly = False
                self._timers.set(_LEASES, now + TICK_S)

    def watch_store(self, now: float) -> None:
        """Where it matters whether the store is there, find out before calls come."""
        leases = self._limits.leases
        if leases is not None and leases.busy() and _LEASES not in self._timers:
            self._timers.set(_LEASES, now)

    def look_at_leases(self, out: list[Effect], now: float) -> None:
        """Time passes: some go back, some are asked for again."""
        leases = self._limits.leases
        if leases is not None:
            leases.tick(now)
            if leases.silent(now) and not leases.asking:
                leases.order(out, now)
            if leases.busy():
                pause_s = leases.pause_s(now)
                self._idly = pause_s > TICK_S
                self._timers.set(_LEASES, now + pause_s)

    def leased(self, event: Leased, out: list[Effect], now: float) -> None:
        """The store has answered."""
        if self._limits.leases is not None:
            self.freed.extend(self._limits.leases.heard(event, now))

    def lease_lost(self, event: LeaseLost, out: list[Effect], now: float) -> None:
        """It has not."""
        if self._limits.leases is not None:
            self.freed.extend(self._limits.leases.lost(event, now))

    def give_leases_back(self, out: list[Effect], now: float) -> None:
        """Limits may have ceased to be shared."""
        ended, self._limits.ended = self._limits.ended, None
        if ended is not None:
            ended.give_back(out, now)
            self._timers.cancel(_LEASES)

    def accounts(self, now: float) -> list[AccountView]:
        """What everybody may use and has used."""
        return self._limits.views(now)

    # ===== a call comes =====

    def too_fast(self, flight: Flight, client: str, out: list[Effect], now: float) -> bool:
        """Count the call, whatever will answer it; whether its client sends too many, and is told so."""
        bar = self._limits.too_fast(flight.call, client, now)
        if bar is None:
            return False
        if self._books.trails is not None:
            self._books.trails.barred(flight, bar, False, now)
        self._turn_away(flight, bar, out, now)
        return True

    def _turn_away(self, flight: Flight, bar: Bar, out: list[Effect], now: float) -> None:
        self._limits.leave(flight.call)
        self._exits.turn_away(flight, bar.label, bar.detail(now), out, now, bar.retry_after_s(now))

    def admit(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """Let the call in, or let it wait, or refuse it; whether it is in."""
        limits = self._limits
        if len(limits.room) and flight.targets and limits.room.busy(lane := limits.lane(flight)):
            bar: Bar | None = limits.room.first(lane).bar
        else:
            bar = limits.hold(flight, now)
        if bar is None:
            return True
        wait_s = self._patience_s(flight, bar)
        waits = wait_s > 0 and self._books.waiting < self._books.max_waiting
        if self._books.trails is not None:
            self._books.trails.barred(flight, bar, waits, now)
        if waits:
            self._books.bar(flight, bar, wait_s, now)
            self._watch_room(flight.call.tenant, now)
        else:
            self._turn_away(flight, bar, out, now)
        return False

    @staticmethod
    def _patience_s(flight: Flight, bar: Bar) -> float:
        return bar.wait_s if flight.call.latency_s is None else min(bar.wait_s, flight.call.latency_s)

    def _watch_room(self, tenant: str, now: float) -> None:
        """Ask again when a window may let the first of its lanes pass, though no fact about calls tells of it."""
        times = [flight.bar.at for flight in self._limits.room.heads(tenant) if flight.bar is not None]
        at = min((at for at in times if at > now), default=None)
        if at is None:
            self._timers.cancel(("room", tenant))
        else:
            self._timers.set(("room", tenant), at)

    # ===== time, and what others give back =====

    def let_in(self, out: list[Effect], now: float) -> None:
        """Something may have come free for these tenants: whoever may pass now does. Those who end by that (the queue
        may be full) free something again."""
        freed = self.freed
        while freed:
            tenants = list(dict.fromkeys(freed))
            freed.clear()
            if len(tenants) > 1:
                tenants.sort(key=self._limits.room.oldest)
            for tenant in tenants:
                self._let_in(tenant, out, now)

    def _let_in(self, tenant: str, out: list[Effect], now: float) -> None:
        room = self._limits.room
        for head in room.heads(tenant):
            flight: Flight | None = head
            lane = head.lane
            assert lane is not None
            while flight is not None and self._try(flight, out, now):
                flight = room.first(lane) if room.busy(lane) else None
        self._watch_room(tenant, now)

    def _try(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """Ask once more for a call that waits; whether its place is free now."""
        flight.targets = self._catalog.targets(flight.call)
        bar = self._limits.hold(flight, now)
        if bar is None:
            self._books.unbar(flight, now)
            flight.move("new")
            flight.bar = None
            if self._books.trails is not None:
                self._books.trails.let_in(flight, now)
            self._enter(flight, out, now)
            return True
        if bar.wait_s > 0:
            if flight.bar is not None and flight.bar.label == "limits_away":  # until now it has waited for the store
                self._timers.set(("barred", flight.call.id), flight.queued_at + self._patience_s(flight, bar))
            flight.bar = bar
            return False
        self._send_away(flight, bar, out, now)
        return True

    def rang(self, tenant: str) -> None:
        """A window may let calls of this tenant pass now."""
        self._limits.free(tenant)

    def barred_for_long(self, call_id: str, out: list[Effect], now: float) -> None:
        """It has waited as long as it may."""
        flight = self._books.flights[call_id]
        lane, bar = flight.lane, flight.bar
        assert lane is not None
        assert bar is not None
        first = self._limits.room.first(lane)
        if first is not flight or not self._try(flight, out, now):
            bars = [one for one in (flight.bar, bar, first.bar) if one is not None]
            known = (one for one in bars if one.label != "limits_away")  # the store may have said more since it came
            self._send_away(flight, next(known, bar), out, now)

    def _send_away(self, flight: Flight, bar: Bar, out: list[Effect], now: float) -> None:
        self._exits.refuse(flight, bar.label, out, now, bar.detail(now), retry_after_s=bar.retry_after_s(now))
