"""Doors: calls that their limits let in, keep waiting, or send away; and the way on. A part of the Gate.

Whether a call may pass, and what it holds then, is `limits`' arithmetic. Once it is in, it goes to a replica or into
a line.
"""

from abc import abstractmethod

from penstock.base.errors import Label
from penstock.base.nouns import AccountView
from penstock.base.rand import Rand
from penstock.core.catalog import Catalog
from penstock.core.effects import Effect
from penstock.core.events import Leased, LeaseLost
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight
from penstock.core.limits.bars import Bar
from penstock.core.limits.leases import TICK_S
from penstock.core.limits.spec import LimitsSpec
from penstock.core.pool import Pool
from penstock.core.rivals import Rivals
from penstock.core.timers import Timers


class Doors(Rivals):
    """The books, second chances, calls of which two attempts run, and calls that may not enter yet."""

    __slots__ = ("asking", "catalog", "freed")

    def __init__(self, fleet: Fleet, timers: Timers[Alarm], catalog: Catalog, rand: Rand) -> None:
        super().__init__(fleet, timers, rand)
        self.catalog = catalog
        self.freed = self._limits.freed
        """Tenants whose waiting calls may pass now: `let_in` asks, when a turn is over."""
        self.asking = self._limits.asking
        """What the store of shared limits is to hear: `lease` tells it, when a turn is over."""

    def limit(self, spec: LimitsSpec | None) -> None:
        """These limits hold from now on."""
        self._limits.respec(spec)

    # ===== limits that are shared with other processes =====

    def lease(self, out: list[Effect], now: float) -> None:
        """Ask for leases, and have all of them looked at soon."""
        leases = self._limits.leases
        if leases is not None:
            leases.order(out, now)
            if ("leases", "") not in self._timers and leases.busy():
                self._timers.set(("leases", ""), now + TICK_S)

    def look_at_leases(self, now: float) -> None:
        """Time passes: some go back, some are asked for again."""
        leases = self._limits.leases
        if leases is not None:
            leases.tick(now)
            if leases.busy():
                self._timers.set(("leases", ""), now + TICK_S)

    def leased(self, event: Leased, out: list[Effect], now: float) -> None:
        """The store has answered."""
        if self._limits.leases is not None:
            self.freed += self._limits.leases.heard(event, now)

    def lease_lost(self, event: LeaseLost, out: list[Effect], now: float) -> None:
        """It has not."""
        if self._limits.leases is not None:
            self.freed += self._limits.leases.lost(event, now)

    def give_leases_back(self, out: list[Effect], now: float) -> None:
        """Limits may have ceased to be shared."""
        ended, self._limits.ended = self._limits.ended, None
        if ended is not None:
            ended.give_back(out, now)
            self._timers.cancel(("leases", ""))

    def accounts(self, now: float) -> list[AccountView]:
        """What everybody may use and has used."""
        return self._limits.views(now)

    # ===== a call comes =====

    def _too_fast(self, flight: Flight, client: str, out: list[Effect], now: float) -> bool:
        """Count the call, whatever will answer it; whether its client sends too many, and is told so."""
        bar = self._limits.too_fast(flight.call, client, now)
        if bar is None:
            return False
        if self.trails is not None:
            self.trails.barred(flight, bar, False, now)
        self._turn_away(flight, bar, out, now)
        return True

    def _turn_away(self, flight: Flight, bar: Bar, out: list[Effect], now: float) -> None:
        self._limits.leave(flight.call)
        self._refuse_unheld(flight, bar.label, bar.detail(now), out, now, bar.retry_after_s(now))

    def _admit(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """Let the call in, or let it wait, or refuse it; whether it is in."""
        limits = self._limits
        if len(limits.room) and flight.targets and limits.room.busy(lane := limits.lane(flight)):
            bar: Bar | None = limits.room.first(lane).bar
        else:
            bar = limits.hold(flight, now)
        if bar is None:
            return True
        wait_s = self._patience_s(flight, bar)
        waits = wait_s > 0 and self._waiting < self.max_waiting
        if self.trails is not None:
            self.trails.barred(flight, bar, waits, now)
        if waits:
            self._bar(flight, bar, wait_s, now)
        else:
            self._turn_away(flight, bar, out, now)
        return False

    @staticmethod
    def _patience_s(flight: Flight, bar: Bar) -> float:
        return bar.wait_s if flight.call.latency_s is None else min(bar.wait_s, flight.call.latency_s)

    def _bar(self, flight: Flight, bar: Bar, wait_s: float, now: float) -> None:
        flight.move("barred")
        flight.bar = bar
        flight.queued_at = now
        self._flights[flight.call.id] = flight
        self._waiting += 1
        self._limits.room.push(flight, self._limits.lane(flight))
        self._timers.set(("barred", flight.call.id), now + wait_s)
        self._watch_room(flight.call.tenant, now)

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
        flight.targets = self.catalog.targets(flight.call)
        bar = self._limits.hold(flight, now)
        if bar is None:
            self._unbar(flight, now)
            flight.move("new")
            flight.bar = None
            if self.trails is not None:
                self.trails.let_in(flight, now)
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
        flight = self._flights[call_id]
        lane, bar = flight.lane, flight.bar
        assert lane is not None
        assert bar is not None
        first = self._limits.room.first(lane)
        if first is not flight or not self._try(flight, out, now):
            bars = [one for one in (flight.bar, bar, first.bar) if one is not None]
            known = (one for one in bars if one.label != "limits_away")  # the store may have said more since it came
            self._send_away(flight, next(known, bar), out, now)

    def _send_away(self, flight: Flight, bar: Bar, out: list[Effect], now: float) -> None:
        self._refuse(flight, bar.label, out, now, bar.detail(now), retry_after_s=bar.retry_after_s(now))

    # ===== on to a replica, or into a line =====

    @abstractmethod
    def _enter(self, flight: Flight, out: list[Effect], now: float) -> None:
        """It is in: who answers it?"""

    def _dispatch(self, flight: Flight, out: list[Effect], now: float) -> None:
        """Send a new call, or let it wait; the first target that can do either now has it."""
        targets = flight.targets
        for index, (name, model) in enumerate(targets):
            pool = self._fleet.pools[name]
            if pool.may_pass(flight.call, model, now):
                seat = pool.take(flight, model, now)
                if seat is not None:
                    flight.target = index
                    self._send(flight, pool, seat, out, now)
                    return
            if pool.usable(model) and self._wait(flight, index, pool, now) is None:
                if pool.fair.kept:  # whoever was kept from a free seat may have it by now
                    self.serve(name, out, now)
                return
        refusal = self._wait(flight, 0, self._fleet.pools[targets[0].pool], now)
        if refusal is not None:
            self._refuse(flight, refusal, out, now)

    def _wait(self, flight: Flight, target: int, pool: Pool, now: float) -> Label | None:
        """Join the line of a target; why not, if it is full."""
        model = flight.targets[target].model
        refusal: Label | None = "queue_full" if self._waiting >= self.max_waiting else None
        refusal = refusal or pool.refusal(flight, model, now)
        if refusal is None and pool.refuses(flight.call, now):
            refusal = "saturated"
        if refusal is not None:
            if self.trails is not None:
                self.trails.refused(flight, pool, model, refusal, self._waiting, now)
            return refusal
        flight.target = target
        self._enqueue(flight, pool, model, now)
        return None
