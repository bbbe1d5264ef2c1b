"""Performs the Gate's orders: a table from each kind of order to what is done on sockets."""

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from penstock.base.nouns import Replica
from penstock.base.ports import Dialect
from penstock.config.schema import Access
from penstock.core.effects import BENCHMARK, Cancel, Carry, Effect, Forget, Lease, Probe, Record, Refuse, Return, Send
from penstock.core.events import Event, Listed, Observed, Probed
from penstock.core.spec import ProbeSpec, ScrapeSpec
from penstock.gateway.cache.comparing import Comparer
from penstock.gateway.cache.keeper import Keeper
from penstock.gateway.cache.shelf import Shelf
from penstock.gateway.call.benchmark import Benchmarks
from penstock.gateway.call.carriage import Carriage
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.fleet.outbound import Outbound
from penstock.gateway.fleet.probe_log import ProbeLog
from penstock.gateway.plane import Plane
from penstock.gateway.processes.lessee import Lessee

log = logging.getLogger("penstock.gateway")

MAX_PAGE_BYTES: Final = 8 << 20
"""A metrics or models page; a busy engine's metrics are some 200 KB."""
_MAX_HEALTH_BYTES: Final = 1 << 20


class Stage(Plane, Protocol):
    """The data plane, as the performer sees it."""

    exchanges: dict[str, Exchange]
    carriages: dict[str, Carriage]
    """Groups of calls whose requests go as one, by id."""
    outbound: Outbound
    shelf: Shelf
    similar: Comparer | None
    lessee: Lessee | None
    """The way to the store of shared limits; None: they are not shared."""

    def forget(self, call_id: str) -> None:
        """The call is over."""
        ...

    def probe_spec(self, pool: str) -> ProbeSpec:
        """How the replicas of a pool are probed."""
        ...

    def scrape_spec(self, pool: str) -> ScrapeSpec:
        """How the metrics of a pool's replicas are read."""
        ...


class Performer:
    """Does what the Gate orders."""

    def __init__(self, plane: Stage, dialect_of: Callable[[str], Dialect], looks: bool = True) -> None:
        """`looks`: replicas are looked at; else somebody else does, and tells the Gate."""
        self._plane = plane
        self._dialect_of = dialect_of
        self._benchmarks = Benchmarks(plane)
        self._probe_log = ProbeLog()
        self.keeper = Keeper(plane)
        self._table: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            Carry: self._carry,
            Cancel: self._cancel,
            Refuse: self._refuse,
            Record: self._record,
            Probe: self._probe if looks else _leave,
            Lease: self._lease,
            Return: self._lease,
            Forget: self._forget,
            **self.keeper.table(),
        }

    def perform(self, effect: Effect) -> None:
        """Do one order, without blocking; what comes of it is told to the Gate later."""
        self._table[type(effect)](effect)

    def _send(self, order: Send) -> None:
        plane = self._plane
        exchange = plane.exchanges.get(order.id)
        if exchange is not None:
            exchange.send(order, plane.outbound.pools.get(order.replica))
        elif (carriage := plane.carriages.get(order.id)) is not None:
            carriage.send(order, plane.outbound.pools.get(order.replica))

    def _carry(self, order: Carry) -> None:
        carriages = self._plane.carriages
        former = carriages.pop(order.id, None)
        if former is not None:
            former.drop()
        if order.aboard:
            carriages[order.id] = Carriage(self._plane, order)

    def _cancel(self, order: Cancel) -> None:
        exchange = self._plane.exchanges.get(order.id)
        if exchange is not None:
            exchange.cancel(order.attempt)
        elif (carriage := self._plane.carriages.get(order.id)) is not None:
            carriage.drop()
        elif order.id.startswith(BENCHMARK):
            self._benchmarks.cancel(order.attempt)

    def _refuse(self, order: Refuse) -> None:
        exchange = self._plane.exchanges.get(order.id)
        if exchange is not None:
            exchange.refuse(order)

    def _record(self, order: Record) -> None:
        """The call is over: nothing of it may stay. (Readers of rows watch the journal.)"""
        self._plane.forget(order.row.id)

    def _lease(self, order: Lease | Return) -> None:
        if self._plane.lessee is not None:
            self._plane.lessee.perform(order)

    def _forget(self, order: Forget) -> None:
        self._plane.outbound.forget(order.replica)
        self._probe_log.forget(order.replica)

    def _probe(self, order: Probe) -> None:
        if order.bench is not None:
            self._benchmarks.begin(order, order.bench)
        else:
            self._plane.outbound.spawn(self._look(order))

    async def _look(self, order: Probe) -> None:
        """Look at a replica and tell what was seen."""
        pool = self._plane.outbound.pools.get(order.replica)
        event: Event | None
        if pool is None:
            event = Probed(order.replica, ok=False, detail="unknown replica") if order.look == "health" else None
        elif order.look == "health":
            event = await self._look_at_health(order, pool.replica)
        elif order.look == "stats":
            event = await self._look_at_stats(order, pool.replica, pool.access)
        else:
            event = await self._look_at_models(order, pool.replica)
        if event is not None:
            self._plane.tell(event)

    async def _fetch(self, order: Probe, path: str, port: int | None, max_bytes: int) -> tuple[int, bytes]:
        return await self._plane.outbound.fetch(order.replica, path, port, order.timeout_s, max_bytes)

    async def _look_at_health(self, order: Probe, replica: Replica) -> Event:
        dialect = self._dialect_of(replica.engine)
        spec = self._plane.probe_spec(replica.pool)
        try:
            status, body = await self._fetch(order, spec.path or dialect.health_path, spec.port, _MAX_HEALTH_BYTES)
        except (OSError, ValueError, KeyError) as error:  # a TimeoutError is an OSError
            event = Probed(order.replica, ok=False, detail=type(error).__name__)
        else:
            event = Probed(order.replica, *_judge_health(spec, dialect, status, body))
        if order.replica in self._plane.outbound.pools:  # else it has left meanwhile, and nothing of it may stay
            self._probe_log.heard(event, replica.url)
        return event

    async def _look_at_stats(self, order: Probe, replica: Replica, access: Access) -> Event | None:
        dialect = self._dialect_of(replica.engine)
        if dialect.stats_path is None:
            return None
        spec = self._plane.scrape_spec(replica.pool)
        path, port = access.metrics_path or spec.path or dialect.stats_path, access.metrics_port or spec.port
        try:
            status, body = await self._fetch(order, path, port, MAX_PAGE_BYTES)
            return Observed(order.replica, dialect.stats(body) if status == 200 else None)
        except (OSError, ValueError, KeyError):
            return Observed(order.replica, None)

    async def _look_at_models(self, order: Probe, replica: Replica) -> Event | None:
        dialect = self._dialect_of(replica.engine)
        try:
            status, body = await self._fetch(order, dialect.models_path, None, MAX_PAGE_BYTES)
            return Listed(order.replica, dialect.models(body)) if status == 200 else None
        except (OSError, ValueError, KeyError):
            return None


def _judge_health(spec: ProbeSpec, dialect: Dialect, status: int, body: bytes) -> tuple[bool, str]:
    if spec.status is not None:
        low, high = spec.status
        good = low <= status <= high
    else:
        good = dialect.alive(status)
    if not good:
        return False, f"status {status}"
    if spec.body is not None and spec.body.encode() not in body:
        return False, "the answer lacks the text"
    return True, ""


def _leave(order: Probe) -> None:
    """Somebody else looks."""
