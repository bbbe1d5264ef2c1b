"""The parent of several workers: a gateway that serves no client itself.

It alone looks at replicas, asks sources, reads GPUs, scales, reloads and has the admin API; what it learns its workers
are told. Its own Gate knows the fleet and no calls; what calls hold and have come to, the workers tell when somebody
asks.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.adapters.stores.lease_memory import LeaseMemory
from penstock.adapters.stores.lessors import lessor_of
from penstock.base.contents import CacheView
from penstock.base.nouns import AccountView, PoolView, ReplicaView
from penstock.base.ports import LeaseStore
from penstock.config.schema import Settings
from penstock.core.effects import Effect
from penstock.core.events import Event, Invalidated, Listed, Metered, Observed, Probed, Recalled
from penstock.core.limits.book import LeaseBook
from penstock.core.scale.flow import Flow
from penstock.core.scale.window import Window
from penstock.gateway.build import Gateway
from penstock.gateway.processes.lessor import Lessor, Recall
from penstock.gateway.processes.words import Begin, Explained, Learnt, Snapshot
from penstock.gateway.processes.workers import Workers, reserved
from penstock.telemetry import joined
from penstock.telemetry.explained import Explanation, Short, Unexplained
from penstock.telemetry.prometheus import render
from penstock.telemetry.totals import Totals, added, totals_of, without_looks

log = logging.getLogger("penstock.gateway")

APPLIED_S = 2.0
"""How long an answer to a reload waits for the last worker to have it."""
_LEARNT = (Probed, Observed, Metered, Listed)
_WELL = ("healthy", "busy", "overloaded")
_AS_NOW = {"cache_store_up": 1, "cache_workers_linked": 0}
"""What of a store is no count: one that is gone says nothing of it."""
_UNEXPLAINED: tuple[Unexplained, ...] = ("forgotten", "unknown", "off")
"""Which answer of several workers says most."""


class Gathered(Flow):
    """What flows through pools is counted by the workers; here it is only remembered which are wanted."""

    __slots__ = ("pools",)

    def __init__(self) -> None:
        super().__init__()
        self.pools: tuple[str, ...] = ()

    def watch(self, pools: Iterable[str]) -> None:
        """See `Flow.watch`."""
        self.pools = tuple(pools)

    def fill(self, pool: str, window: Window, now: float) -> Window:
        """It comes filled."""
        return window


class Past:
    """What workers that are gone had counted, so that no counter ever goes back."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.counters: dict[str, int] = {}
        self.served: dict[str, tuple[int, int]] = {}
        """Replica -> answered, failed."""
        self.ejections: dict[str, dict[str, int]] = {}
        self.lost = 0
        """Records of the ledger."""
        self.leases: dict[str, float] = {}
        self.cache: CacheView | None = None
        self.store: dict[str, float] = {}

    def add(self, last: Snapshot) -> None:
        """What one of them showed last."""
        self.totals = totals_of(added([self.totals, last.totals]))
        self.lost += last.ledger.get("lost", 0)
        self.leases = joined.stores([self.leases, last.leases | {"lease_store_up": 1}]) if last.leases else self.leases
        if last.cache is not None:
            self.cache = joined.caches(self.cache, [replace(last.cache, entries=0, bytes=0, leading=0, following=0)])
        up = {name: value for name, value in _AS_NOW.items() if name in last.store}
        self.store = joined.stores([self.store, last.store | up]) if last.store else self.store
        counted = {name: count for name, count in last.counters.items() if name.endswith("_total")}
        self.counters = joined.summed([self.counters, counted])
        for replica in last.replicas:
            served, failed = self.served.get(replica.id, (0, 0))
            self.served[replica.id] = (served + replica.served, failed + replica.failed)
        for pool in last.pools:
            self.ejections[pool.name] = joined.summed([self.ejections.get(pool.name, {}), pool.ejections])

    def keep(self, replicas: Iterable[str]) -> None:
        """Others have left the fleet."""
        known = set(replicas)
        self.served = {name: counts for name, counts in self.served.items() if name in known}
        kept = [one for one in self.totals.replicas if one.replica in known]
        self.totals = replace(self.totals, replicas=kept)


class Parent(Gateway):
    """A gateway whose clients are served by workers."""

    flow_of = Gathered

    def __init__(
        self, settings: Settings, read: Callable[[], Settings] | None = None, file: Path | None = None,
        seed: int | None = None,
    ) -> None:  # fmt: skip
        self._last: dict[tuple[type, str], Learnt] = {}
        self._marks = 0
        """How often something was put out of use."""
        self._past = Past()
        self._fresh: asyncio.Task[None] | None = None
        self._held: list[socket.socket] = []
        self._book = LeaseBook()
        """Of limits that hold for all workers."""
        self._recall = Recall(self._book)
        self._lessor: Lessor | None = None
        super().__init__(settings, read, file, seed)
        self.workers = Workers(settings.server.workers, self, self.pump.now)
        self.caching.view = self._cached

    # ===== life =====

    async def _listen(self) -> None:
        self._held = reserved(self.server.listen)
        self._lessor = Lessor(self._store())
        await self._lessor.start()
        self.plane.begin()
        self._settle()
        await self.workers.start()

    def _store(self) -> LeaseStore:
        url = self.server.lease_store
        try:
            return LeaseMemory(self._book, self.pump.now) if url is None else lessor_of(url)
        except ValueError as wrong:
            raise OSError(f"shared_limits.store: {wrong}") from None

    async def start(self) -> None:
        """See `Gateway.start`."""
        await super().start()
        self._settle()

    async def _drain(self, within_s: float) -> None:
        await self.workers.stop(within_s)
        await self.plane.drain(0.0)

    async def stop(self) -> None:
        """See `Gateway.stop`."""
        try:
            await super().stop()
        finally:
            self.workers.kill()
            for sock in self._held:
                sock.close()
            if self._lessor is not None:
                await self._lessor.close()

    def bound(self) -> Settings:
        """See `Gateway.bound`."""
        settings = super().bound()
        listen = (settings.server.listen[0], self._held[0].getsockname()[1])
        return replace(settings, server=replace(settings.server, listen=listen))

    # ===== what workers are told =====

    def begin(self, worker: int) -> Begin:
        """See `workers.Home.begin`."""
        settings = self._told()
        peer = "" if self._lessor is None else self._lessor.begin(worker)
        return Begin(worker, self.workers.count, (self.seed + worker) % (1 << 63), settings, peer)

    def ended(self, worker: int, killed: bool) -> None:
        """See `workers.Home.ended`."""
        if self._lessor is not None:
            self._lessor.ended(worker, killed)

    def _told(self) -> Settings:
        """The settings as they hold, with the fleet, without what is the parent's alone."""
        settings = self.roster.effective()
        server = replace(
            self.plane.server, listen=self.bound().server.listen, admin=None, metrics=None, stored_keys=None
        )
        settings = replace(settings, server=server, sources=(), scaled=())
        return settings if self._lessor is None else self._lessor.shown(settings)

    def known(self) -> list[Learnt | Invalidated]:
        """See `workers.Home.known`."""
        well = [Probed(one.id, True) for one in self.gate.replicas(self.pump.now()) if one.state in _WELL]
        found: list[Learnt | Invalidated] = [*well]
        if self._marks:  # it has nothing yet, but must know how often
            found.append(Invalidated(mark=self._marks))
        sure = {one.replica for one in well}
        return found + [fact for fact in self._last.values() if type(fact) is not Probed or fact.replica not in sure]

    def lost(self, snapshot: Snapshot) -> None:
        """See `workers.Home.lost`."""
        self._past.add(snapshot)

    def _read_journal(self) -> None:
        super()._read_journal()
        self.journal.observers.append(self._learn)

    def _learn(self, now: float, event: Event, effects: list[Effect]) -> None:
        """A reader of the journal: what is learnt of replicas is everybody's."""
        if isinstance(event, _LEARNT):
            self._last[type(event), event.replica] = event
            self.workers.learnt(event)
        elif isinstance(event, Invalidated):
            self._marks += 1
            self.workers.learnt(replace(event, mark=self._marks))
        elif isinstance(event, Recalled):
            self._recall.tell(event.used, self.gate.served, now)

    def _announce(self, effective: Settings) -> None:
        super()._announce(effective)
        ids = {replica.id for replica in effective.replicas}
        self._last = {key: fact for key, fact in self._last.items() if key[1] in ids}
        self._past.keep(ids)
        self._settle()

    def _apply(self, settings: Settings) -> None:
        super()._apply(settings)
        self._settle()

    def _settle(self) -> None:
        if self._held:
            scaled = [pool.pool for pool in self.reloader.settings.scaled]
            flow = self.flow
            assert isinstance(flow, Gathered)
            self.workers.settle(self._told(), scaled, flow.pools)

    async def reload(self) -> list[str]:
        """Read the file again; what changed, once all workers have it."""
        said = await super().reload()
        await self.workers.settled(APPLIED_S)
        return said

    async def take_keys(self) -> tuple[bool, bool]:
        """See `Gateway.take_keys`."""
        read, _ = await super().take_keys()
        return read, await self.workers.settled(APPLIED_S)

    # ===== for scaling =====

    def window(self, pool: str) -> Window | None:
        """See `Gateway.window`."""
        own = super().window(pool)
        if own is None:
            return None
        told = [one.report.windows[pool] for one in self.workers.ready() if pool in one.report.windows]
        seen = joined.window(own, told)
        if not self.workers.lagging:
            return seen
        # somebody may not know yet that a replica drains: it counts as busy until all do
        drained = {replica.id for replica in self.roster.effective().replicas if replica.drain}
        return replace(seen, replicas=tuple(
            replace(one, in_flight=max(1, one.in_flight)) if one.id in drained else one for one in seen.replicas
        ))  # fmt: skip

    def busy(self, replica: str) -> bool:
        """See `Gateway.busy`."""
        return self.workers.lagging or any(replica in one.report.leaving for one in self.workers.ready())

    # ===== for people =====

    async def fresh(self) -> None:
        """All workers say how they stand; who does not answer in time is shown as it stood."""
        if self._fresh is None or self._fresh.done():
            self._fresh = asyncio.create_task(self._refresh())
        await asyncio.shield(self._fresh)

    async def _refresh(self) -> None:
        for one, body in await self.workers.ask("snapshot"):
            if not one.gone.is_set():
                one.snapshot = msgspec.json.decode(body, type=Snapshot)

    def _shown(self) -> list[Snapshot]:
        return [one.snapshot for one in self.workers.living.values() if one.snapshot is not None]

    def replica_views(self) -> list[ReplicaView]:
        """See `Gateway.replica_views`."""
        views = joined.replicas(super().replica_views(), [one.replicas for one in self._shown()])
        return [self._with_past(view) for view in views]

    def _with_past(self, view: ReplicaView) -> ReplicaView:
        served, failed = self._past.served.get(view.id, (0, 0))
        return replace(view, served=view.served + served, failed=view.failed + failed) if served or failed else view

    def pool_views(self) -> list[PoolView]:
        """See `Gateway.pool_views`."""
        views = joined.pools(super().pool_views(), [one.pools for one in self._shown()])
        past = self._past.ejections
        return [
            replace(view, ejections=joined.summed([view.ejections, past[view.name]])) if view.name in past else view
            for view in views
        ]

    def counters(self) -> dict[str, int]:
        """See `Gateway.counters`."""
        return {name: count for name, count in self._counted().items() if not name.startswith("refused_")}

    def _counted(self) -> dict[str, int]:
        return joined.summed([super().counters(), *(one.counters for one in self._shown()), self._past.counters])

    def metrics(self) -> bytes:
        """See `Gateway.metrics`."""
        own = totals_of(self.meter)
        fleet = {one.replica for one in own.replicas}
        parts = [without_looks(part) for part in (self._past.totals, *(one.totals for one in self._shown()))]
        meter = added([own, *parts])
        for gone in meter.replicas.keys() - fleet:
            del meter.replicas[gone]
        views = (self.replica_views, self.pool_views, self._counted, self.source_views)
        told = self.scale_views, self.account_views, self._kept, self._worker_metrics
        return render(meter, *views, *told, self.caching.view())

    def _cached(self) -> CacheView | None:
        own = self.gate.cached()
        told = [one.cache for one in self._shown() if one.cache is not None]
        return (
            None if own is None else joined.caches(own, told if self._past.cache is None else [self._past.cache, *told])
        )

    def _kept(self) -> dict[str, float]:
        leases = [one.leases for one in self._shown() if one.leases]
        stores = [self.caching.metrics(), self._past.store, *(one.store for one in self._shown())]
        return (
            super()._kept()
            | joined.stores([*leases, self._past.leases] if leases else [])
            | joined.stores([one for one in stores if one])
        )

    def _open_ledger(self) -> None:
        super()._open_ledger()
        if self.ledger is not None:
            self.ledger.elsewhere = lambda: joined.summed(
                [{"lost": self._past.lost}, *(one.ledger for one in self._shown())]
            )

    def _worker_metrics(self) -> Mapping[str, Mapping[str, float]]:
        living = {str(number): one for number, one in self.workers.living.items()}
        return {
            "worker_up": {number: int(one.ready.done() and not one.gone.is_set()) for number, one in living.items()},
            "worker_cpu_seconds": {
                number: one.snapshot.cpu_s for number, one in living.items() if one.snapshot is not None
            },
        }

    def account_views(self) -> list[AccountView]:
        """See `Gateway.account_views`."""
        return joined.accounts(super().account_views(), [one.accounts for one in self._shown()])

    async def journal_tail(self, last: int) -> Iterable[bytes]:
        """The last turns of all processes, each as JSON, by their time."""
        turns: list[Any] = [msgspec.json.decode(turn) for turn in self.tail(last)]
        for _, body in await self.workers.ask("journal", last=last):
            turns += msgspec.json.decode(body)
        turns.sort(key=lambda turn: turn[0])
        return map(msgspec.json.encode, turns[-last:])

    async def explain(self, id: str) -> Explanation | Unexplained:
        """See `Gateway.explain`."""
        answers = await self.workers.ask("explain", id=id)
        told = [msgspec.json.decode(body, type=Explained) for _, body in answers]
        found = [one.found for one in told if one.found is not None]
        if found:
            return max(found, key=lambda one: one.at)
        said = [one.why for one in told if one.why]
        return min(said, key=_UNEXPLAINED.index, default="unknown")

    async def explain_last(self, last: int, wanted: dict[str, str]) -> list[Short]:
        """See `Gateway.explain_last`."""
        answers = await self.workers.ask("explain_last", last=last, wanted=wanted)
        calls = [one for _, body in answers for one in msgspec.json.decode(body, type=list[Short])]
        return sorted(calls, key=lambda one: one.at + one.latency_s, reverse=True)[:last]
