"""The gateway put together and run: Gate, pump, data plane, journal with its readers, admin API, signals.

The one place that knows all parts. It decides nothing: what arrives at one part is handed to another.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock import __version__
from penstock.adapters.dialects.registry import dialect_of
from penstock.base.nouns import AccountView, PoolView, Replica, ReplicaView, SourceView
from penstock.base.rand import Rand
from penstock.config.assemble import parse_replica
from penstock.config.schema import Access, Settings
from penstock.core.effects import Effect
from penstock.core.events import ClientGone, Event, FleetSeen, Metered, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.scale.flow import Flow
from penstock.core.scale.view import ScaleStory, ScaleView
from penstock.core.scale.window import Window
from penstock.drive.journal import FileSink, Header, Journal, header
from penstock.drive.pump import Pump, log_bug, monotonic_clock
from penstock.gateway.admin.admin import build_admin, build_metrics
from penstock.gateway.admin.side import SideDoor
from penstock.gateway.cache.caching import Caching
from penstock.gateway.fleet.discovery import Discovery
from penstock.gateway.fleet.gpus import GpuWatch, parse_pushed
from penstock.gateway.fleet.identify import Identifier
from penstock.gateway.fleet.roster import Roster
from penstock.gateway.held import settled
from penstock.gateway.key_ring import KeyRing
from penstock.gateway.ledger import Ledger, open_ledger
from penstock.gateway.processes.lessee import give_back
from penstock.gateway.reload import Reloader
from penstock.gateway.scaling import Scaling
from penstock.gateway.server import DataPlane
from penstock.telemetry.explain import explain, newest
from penstock.telemetry.explained import Explanation, Short, Unexplained
from penstock.telemetry.logs import AccessLog, set_up
from penstock.telemetry.meter import Meter
from penstock.telemetry.prometheus import render

log = logging.getLogger("penstock.gateway")


class Gateway:
    """One gateway process. Made, started and stopped inside a running event loop."""

    worker: int | None = None
    """Which of several processes that share the work it is; None: it is the only one, or their parent."""
    flow_of: type[Flow] = Flow

    def __init__(
        self, settings: Settings, read: Callable[[], Settings] | None = None, file: Path | None = None,
        seed: int | None = None,
    ) -> None:  # fmt: skip
        loop = asyncio.get_running_loop()
        self.seed = secrets.randbits(63) if seed is None else seed
        clock, call_at = monotonic_clock(loop)
        self.gate = Gate(settings.gate, Rand(self.seed))
        self.journal: Journal[Event, Effect] = Journal(on_bug=log_bug)
        self.meter = Meter()
        self.access_log = AccessLog(settings.server.log)
        self.flow = self.flow_of()
        self._sink: FileSink | None = None
        self.ledger: Ledger | None = None
        self._read_journal()
        self.plane = self._plane(settings)
        self.pump: Pump[Event, Effect] = Pump(
            self.gate, self.plane.perform, clock, call_at, self.journal.observe, Woke(), self._bug
        )
        self.plane.attach(self.pump)
        self.caching = Caching(self.gate.cached, self.pump.tell, self.plane, self.fresh)
        self.gpus = GpuWatch(lambda: self.roster.effective().access, self.pump.tell)
        self.roster = Roster(settings, self._announce)
        self.discovery = Discovery(self.roster.found, loop.time)
        self.discovery.apply(settings.sources)
        self.scaling = Scaling(self, clock, call_at, self.flow)
        outbound = self.plane.outbound
        self.identifier = Identifier(outbound.pools, outbound.fetch, self.roster.learnt, loop.time)
        self.reloader = Reloader(settings, read, self._apply, file)
        self.key_ring = KeyRing(self.reloader, self.take_keys)
        self._started = settings
        self.server = settings.server
        """As it was started: addresses and TLS hold until a restart."""
        self._admin: SideDoor | None = None
        self._metrics: SideDoor | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._given_up = ""
        """The call whose end met a bug last."""
        self._logged = (settings.server.log, known_secrets(settings))

    def _plane(self, settings: Settings) -> DataPlane:
        return DataPlane(settings, dialect_of, self.gate.models, self.gate.ready)

    # ===== life =====

    async def start(self) -> None:
        """Bind every address, then serve. Raises OSError that names what cannot be had, and then nothing is held."""
        try:
            self._open()
            if self.ledger is not None:
                await self.ledger.begin(self.reloader.settings, self.pump.tell)
            await self._listen()
        except OSError:
            await self.stop()
            raise
        for door in self._doors():
            door.start()
        self.pump.tell(FleetSeen(self.reloader.settings.replicas))
        self.discovery.start()
        self.scaling.start(self.reloader.settings.scaled)
        self._read_journal()
        self._watches = [asyncio.create_task(one.watch()) for one in (self.reloader, self.gpus, self.identifier)]

    async def _listen(self) -> None:
        await self.plane.start()

    async def _drain(self, within_s: float) -> None:
        await self.plane.drain(within_s)

    def _open(self) -> None:
        server = self.server
        if server.journal is not None:
            self._sink = FileSink(Path(server.journal), self._head(self.reloader.settings))
        self._open_ledger()
        self.caching.open(server.shared_cache)
        self._read_journal()
        if server.admin is not None:
            self._admin = SideDoor(build_admin(self), server.admin)
        if server.metrics is not None:
            self._metrics = SideDoor(build_metrics(self), server.metrics)
        journal = None if server.journal is None else Path(f"{server.journal}.scaling")
        self.scaling.open(self.reloader.settings.scaled, journal)

    def _open_ledger(self) -> None:
        spec = self.server.ledger
        if spec is not None:
            self.ledger = open_ledger(spec, self.plane.outbox, self.pump.now, self.server.workers)

    def _doors(self) -> list[SideDoor]:
        return [door for door in (self._admin, self._metrics) if door is not None]

    def bound(self) -> Settings:
        """The settings with the addresses that are served: where a port was 0, the one that the system chose."""
        server = self.server
        changed: dict[str, tuple[str, int]] = {}
        if self.plane.addresses:
            changed["listen"] = (server.listen[0], self.plane.addresses[0][1])
        if server.admin is not None and self._admin is not None:
            changed["admin"] = (server.admin[0], self._admin.port)
        if server.metrics is not None and self._metrics is not None:
            changed["metrics"] = (server.metrics[0], self._metrics.port)
        settings = self.reloader.settings
        return replace(settings, server=replace(settings.server, **changed))

    async def stop(self) -> None:
        """Refuse new work, let answers finish within the drain time, then end everything."""
        self.discovery.close()
        for watch in self._watches:
            watch.cancel()
        try:
            await self._drain(self.reloader.settings.server.timeouts.drain_s)
            await give_back(self.plane.lessee, self.reloader.settings.gate, self.pump.tell)
            for door in self._doors():
                await door.stop()
            await self.caching.close()
            await self.scaling.stop()
        finally:  # an impatient user cancels this; what was decided until then is still written
            self.scaling.close()
            self.pump.close()
            for keeper in self._keepers():
                keeper.close()

    # ===== changes =====

    def _apply(self, settings: Settings) -> None:
        """New settings from the file. The fleet follows through the roster, which adds what the admin API did.

        Raises ConfigError, before anything has changed, where they do not fit the doors that stay open meanwhile.
        """
        settings = settled(self._started, settings)
        self.pump.tell(Reconfigured(settings.gate))
        if self._sink is not None:
            self._sink.head = self._head(settings)
        self.roster.configured(settings)
        self.discovery.apply(settings.sources)
        self.scaling.apply(settings.scaled)
        self._read_journal()

    def _head(self, settings: Settings) -> Header:
        """What stands at the top of the journal's next file."""
        return header(__version__, self.seed, settings.gate, settings.replicas)

    def _read_journal(self) -> None:
        """Who reads the journal: those that have something to do, because each costs every call a little."""
        readers = [self.meter.observe]
        if self.access_log.settings.access or self.access_log.settings.slow_s:
            readers.append(self.access_log.observe)
        if self.flow.watching:
            readers.append(self.flow.observe)
        self.journal.observers[:] = readers + [keeper.observe for keeper in self._keepers()]

    def _keepers(self) -> list[FileSink | Ledger]:
        return [keeper for keeper in (self._sink, self.ledger) if keeper is not None]

    def _announce(self, effective: Settings) -> None:
        log_spec = effective.server.log
        if self._logged != (log_spec, known_secrets(effective)):
            self._logged = (log_spec, known_secrets(effective))
            set_up(log_spec, secrets=known_secrets(effective), worker=self.worker)
            self.access_log.settings = log_spec
            self._read_journal()
        self.plane.apply(effective)
        if self._sink is not None:
            self._sink.head = self._head(effective)
        if self.ledger is not None:
            self.ledger.fleet(effective.replicas)
        self.pump.tell(FleetSeen(effective.replicas))

    # ===== for scaling =====

    def window(self, pool: str) -> Window | None:
        """What the Gate knows of a pool; None: it has no such pool."""
        return self.gate.window(pool, self.pump.now())

    def busy(self, replica: str) -> bool:
        """Whether a replica that left the fleet still has calls."""
        return replica in self.plane.outbound.pools

    def scaled(self, replicas: tuple[tuple[Replica, Access], ...]) -> None:
        """These are the replicas that scaled pools run now."""
        self.roster.scaled(replicas)

    def _bug(self, what: object, error: Exception) -> None:
        """A bug cost one fact. The call that it was about is ended, so that neither its client nor its seat hangs."""
        log_bug(what, error)
        about = getattr(what, "call", None) or getattr(what, "row", None) or what
        call_id = getattr(about, "id", None)
        if isinstance(call_id, str) and call_id != self._given_up:
            if isinstance(what, ClientGone):
                self._given_up = call_id  # told once more, and not for ever
            self.plane.fail(call_id)
            self.pump.tell(ClientGone(call_id))

    # ===== for the admin API =====

    def replica_views(self) -> list[ReplicaView]:
        """Every replica as it stands."""
        return self.gate.replicas(self.pump.now())

    def pool_views(self) -> list[PoolView]:
        """Every pool as it stands."""
        return self.gate.pools(self.pump.now())

    def account_views(self) -> list[AccountView]:
        """What tenants, keys and everybody may use and have used."""
        return self.gate.accounts(self.pump.now())

    def source_views(self) -> list[SourceView]:
        """Every source of replicas as it stands."""
        return self.discovery.views()

    def scale_views(self) -> list[ScaleView]:
        """Every pool that scales itself, as it stands."""
        return self.scaling.views()

    def scale_story(self, pool: str, last: int) -> ScaleStory | None:
        """Why a pool has as many replicas as it has; None: it does not scale itself."""
        return self.scaling.story(pool, last)

    def noticed(self, pool: str, unit: str, within_s: float | None) -> int:
        """A provider takes replicas that a pool runs back; how many."""
        return self.scaling.noticed(pool, unit, within_s)

    def counters(self) -> dict[str, int]:
        """What is held: all zero (but for totals and open connections) when nothing goes on."""
        return {**self.gate.counts(), **self.plane.counters()}

    def metrics(self) -> bytes:
        """The Prometheus page."""
        views = (self.replica_views, self.pool_views, self._counted, self.source_views)
        told = self.caching.view()
        return render(self.meter, *views, self.scale_views, self.account_views, self._kept, cache=told)

    def _kept(self) -> dict[str, float]:
        stores = [store for store in (self.ledger, self.plane.lessee, self.caching) if store is not None]
        return {name: value for store in stores for name, value in store.metrics().items()}

    def _counted(self) -> dict[str, int]:
        # requests that were refused at the door never reach the Gate, so the meter does not see them
        refused = {f"refused_{label}_total": count for label, count in self.plane.refused.items()}
        return {**self.counters(), **refused}

    def gpus_read(self, replica: str, raw: Any) -> int:
        """An agent read a replica's GPUs: decoded JSON; how many. Raises ConfigError."""
        readings = parse_pushed(raw)
        self.pump.tell(Metered(replica, readings))
        return len(readings)

    async def fresh(self) -> None:
        """What is shown is as of now."""

    async def journal_tail(self, last: int) -> Iterable[bytes]:
        """The last turns, each as JSON, oldest first."""
        return self.tail(last)

    def tail(self, last: int) -> Iterable[bytes]:
        """The same of this process alone."""
        return map(msgspec.json.encode, self.journal.turns()[-last:])

    def scaling_tail(self, last: int) -> Iterable[bytes]:
        """The same of pools that scale themselves."""
        return map(msgspec.json.encode, self.scaling.journal.turns()[-last:])

    async def explain(self, id: str) -> Explanation | Unexplained:
        """Why the call of this id, ours or its client's, went where it went; or why nobody knows."""
        return self.explained(id)

    def explained(self, id: str) -> Explanation | Unexplained:
        """The same, as far as this process knows."""
        trail = self.gate.trail(id, self.pump.now())
        if trail is not None:
            return explain(trail)
        if not self.gate.spec.explain.calls:
            return "off"
        return "forgotten" if self.plane.gave(id) else "unknown"

    async def explain_last(self, last: int, wanted: dict[str, str]) -> list[Short]:
        """The last calls that can be explained, the last first."""
        return self.explained_last(last, wanted)

    def explained_last(self, last: int, wanted: dict[str, str]) -> list[Short]:
        """The same, as far as this process knows."""
        return newest(self.gate.trails(), last, **wanted)

    def parse_replica(self, raw: Any) -> tuple[Replica, Access]:
        """A replica from the admin API, checked like one from the file. Raises ConfigError."""
        return parse_replica(raw)

    def admin_key_hash(self) -> str | None:
        """The SHA-256, hex, of the key that the admin API asks for now."""
        return self.plane.server.admin_key_hash

    async def reload(self) -> list[str]:
        """Read the file again; what changed."""
        return await self.reloader.reload()

    async def take_keys(self) -> tuple[bool, bool]:
        """The keys file was changed here: take it; whether that went well, and whether all workers have it."""
        return await self.reloader.take_keys(), True


def known_secrets(settings: Settings) -> list[str]:
    """What may never stand in a log: keys and header values that replicas are shown."""
    shown = [access.api_key for access in settings.access.values()]
    shown += [value for access in settings.access.values() for _, value in access.headers]
    return [secret for secret in shown if secret]
