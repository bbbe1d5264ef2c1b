"""The Gate: every fact enters here and goes through the parts in a fixed order; it owns them.

catalog → limits → cache → groups → route, else queue → (an attempt) → health → limits. What happens to a call stands in
`calls`, what is known of replicas in `fleet`; this file says which of them hears what, and keeps the one clockwork of
alarms.
"""

from collections.abc import Callable, Iterable
from typing import Any

from penstock.base.contents import CacheView
from penstock.base.nouns import AccountView, Call, PoolView, ReplicaView
from penstock.base.ports import Sheet
from penstock.base.rand import Rand
from penstock.core.calls import Calls
from penstock.core.catalog import Catalog
from penstock.core.effects import Effect
from penstock.core.events import (
    Arrived,
    Began,
    Benched,
    ClientGone,
    Compared,
    Ended,
    Event,
    Failed,
    FleetSeen,
    Invalidated,
    Leased,
    LeaseLost,
    Listed,
    LookedUp,
    Metered,
    Observed,
    Probed,
    Recalled,
    Reconfigured,
    Unwanted,
    Wanted,
    Woke,
)
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight
from penstock.core.pool import Pool
from penstock.core.scale.window import Window, window_of
from penstock.core.spec import ExplainSpec, GateSpec
from penstock.core.steps import Trail
from penstock.core.timers import Timers
from penstock.core.trails import Trails
from penstock.core.view import pool_view


class Gate:
    """Facts about calls and replicas in, orders out."""

    def __init__(self, spec: GateSpec, rand: Rand) -> None:
        self._rand = rand
        self._timers: Timers[Alarm] = Timers()
        flights: dict[str, Flight] = {}
        self._fleet = Fleet(self._timers, flights, rand)
        self.spec = spec
        self.catalog = Catalog(spec, {})
        calls = self._calls = Calls(flights, self._fleet, self._timers, self.catalog, rand)
        self._books = calls.books
        self._doors = calls.doors
        self._respec(spec, 0.0)
        self._handlers: dict[type, Callable[[Any, list[Effect], float], None]] = {
            Arrived: calls.arrived,
            Began: calls.began,
            Ended: calls.ended,
            Failed: calls.failed,
            ClientGone: calls.client_gone,
            LookedUp: calls.looked_up,
            Wanted: calls.answers.wanted,
            Unwanted: calls.unwanted,
            Compared: calls.compared,
            Invalidated: calls.answers.invalidated,
            FleetSeen: self._fleet_seen,
            Probed: self._probed,
            Observed: self._observed,
            Metered: self._metered,
            Listed: self._listed,
            Benched: self._benched,
            Leased: self._doors.leased,
            LeaseLost: self._doors.lease_lost,
            Recalled: self._recalled,
            Reconfigured: self._reconfigured,
            Woke: self._woke,
        }

    # ===== the machine =====

    def on(self, event: Event, now: float) -> list[Effect]:
        """See `base.machine.Machine`."""
        out: list[Effect] = []
        self._handlers[type(event)](event, out, now)
        if self._doors.freed:
            self._calls.let_in(out, now)
        if self._doors.asking:
            self._doors.lease(out, now)
        return out

    def next_wake(self) -> float | None:
        """See `base.machine.Machine`."""
        return self._timers.next()

    def note_on(self, sheet: Sheet) -> None:
        """Note there what calls spend of shared limits, from before the first call on: others can read it should this
        process die."""
        self._doors.note_on(sheet)

    # ===== for people =====

    def replicas(self, now: float) -> list[ReplicaView]:
        """Every replica as it stands."""
        return self._fleet.views(now)

    def pools(self, now: float) -> list[PoolView]:
        """Every pool as it stands."""
        return [pool_view(pool, now) for pool in self._fleet.pools.values()]

    def window(self, pool: str, now: float) -> Window | None:
        """A pool's load and its replicas', for the Governor; None: there is no such pool."""
        found = self._fleet.pools.get(pool)
        return None if found is None else window_of(found, now)

    def busy(self) -> dict[str, int]:
        """Calls in flight by replica, where there are any."""
        return {seat.id: seat.in_flight for seat in self._fleet.seats.values() if seat.in_flight}

    def waiting(self) -> dict[str, int]:
        """Calls that wait by pool, where there are any."""
        return {name: pool.counts.calls for name, pool in self._fleet.pools.items() if pool.counts.calls}

    def accounts(self, now: float) -> list[AccountView]:
        """What everybody may use and has used, where there are limits."""
        return self._doors.accounts(now)

    def cached(self) -> CacheView | None:
        """The cache as it stands; None: there is none."""
        return self._calls.answers.view()

    def pool(self, name: str) -> Pool:
        """A pool itself, for who wants to try another strategy than there is a name for. Raises KeyError."""
        return self._fleet.pools[name]

    def trails(self) -> Iterable[Trail]:
        """The ways of the last calls that are over, the last first."""
        return () if self._books.trails is None else self._books.trails.newest()

    def trail(self, id: str, now: float) -> Trail | None:
        """The way of a call, by its id or its client's, whether it goes on or is over; None: not remembered."""
        flight, trails = self._books.find(id), self._books.trails
        if trails is None:
            return None
        return trails.find(id) if flight is None else trails.live(flight, now)

    def models(self) -> list[str]:
        """Every name that a client may use."""
        return self.catalog.models()

    def counts(self) -> dict[str, int]:
        """What calls hold right now; all zero when none is in flight."""
        return self._books.counts()

    def ready(self) -> bool:
        """Whether at least one replica could serve a call now."""
        return any(seat.health.trusted for seat in self._fleet.seats.values())

    # ===== replicas =====

    def _fleet_seen(self, event: FleetSeen, out: list[Effect], now: float) -> None:
        self._fleet.seen(event.replicas, out, now)
        self._doors.watch_store(now)
        self._recatalog()
        self._calls.dispatch.serve_all(out, now)

    def _probed(self, event: Probed, out: list[Effect], now: float) -> None:
        if self._fleet.probed(event.replica, event.ok, now):
            self._calls.dispatch.serve_all(out, now)

    def _observed(self, event: Observed, out: list[Effect], now: float) -> None:
        if self._fleet.observed(event.replica, event.stats, now):
            self._calls.dispatch.serve_all(out, now)

    def _metered(self, event: Metered, out: list[Effect], now: float) -> None:
        self._fleet.metered(event.replica, event.gpus, now)

    def _listed(self, event: Listed, out: list[Effect], now: float) -> None:
        if self._fleet.listed(event.replica, event.models, now):
            self._recatalog()
            self._calls.dispatch.serve_all(out, now)

    def _benched(self, event: Benched, out: list[Effect], now: float) -> None:
        pool = self._fleet.benched(event, now)
        if pool is not None:
            self._calls.dispatch.serve(pool, out, now)

    def _recatalog(self) -> None:
        pools = self._fleet.pools
        listed = {name: pool.models() for name, pool in pools.items()}
        settled = [name for name, pool in pools.items() if pool.settled()]
        self.catalog.respec(self.spec, listed, settled)

    # ===== settings and time =====

    def _recalled(self, event: Recalled, out: list[Effect], now: float) -> None:
        self._doors.recall(event.used, self.served)

    def served(self, name: str) -> str:
        """The name by which limits know a model that a client may name otherwise."""
        targets = self.catalog.targets(Call(id="", model=name))
        return targets[0].model if targets else name

    def _respec(self, spec: GateSpec, now: float) -> None:
        pools = self._fleet.pools
        for pool in spec.pools:
            if pool.name in pools:
                pools[pool.name].respec(pool)
            else:
                pools[pool.name] = Pool(pool, self._rand.child(pool.name))
        self.spec = spec
        self._books.max_waiting = spec.max_waiting
        self._doors.limit(spec.limits, now)
        self._calls.answers.respec(spec.cache, spec.shared_cache, spec.beside)
        self._remember(spec.explain)

    def _remember(self, spec: ExplainSpec) -> None:
        """Keep the ways of so many calls from now on."""
        trails = self._books.trails
        if not spec.calls:
            trails = None
        elif trails is None:
            trails = Trails(spec)
        else:
            trails.spec = spec
        self._books.trails = trails
        for pool in self._fleet.pools.values():
            pool.take_notes(trails.notes if trails is not None else None)

    def _reconfigured(self, event: Reconfigured, out: list[Effect], now: float) -> None:
        waiting = self._calls.lift_waiting(out, now)
        self._respec(event.spec, now)
        self._calls.answers.drop(out)
        self._doors.give_leases_back(out, now)
        self._doors.watch_store(now)
        self._fleet.keep_pools({pool.name for pool in event.spec.pools}, out, now)
        self._recatalog()
        for flight in waiting:
            self._calls.readmit(flight, out, now)
        self._calls.dispatch.serve_all(out, now)

    def _woke(self, event: Woke, out: list[Effect], now: float) -> None:
        room = False
        for at, (what, whom) in self._timers.due(now):
            if not self._calls.rang(what, whom, out, now):
                room = self._fleet.rang(what, whom, out, at, now) or room
        if room:
            self._calls.dispatch.serve_all(out, now)
