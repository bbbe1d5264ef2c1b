"""The gateway put together and run: Gate, pump, data plane, journal with its readers, admin API, signals.

The one place that knows all parts. It decides nothing: what arrives at one part is handed to another.
"""

import asyncio
import logging
import secrets
import signal
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from penstock import __version__
from penstock.adapters.dialects.registry import dialect_of
from penstock.base.nouns import PoolView, Replica, ReplicaView
from penstock.base.rand import Rand
from penstock.config.assemble import parse_replica
from penstock.config.schema import Access, Settings
from penstock.core.effects import Effect
from penstock.core.events import ClientGone, Event, FleetSeen, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.drive.journal import FileSink, Journal, header
from penstock.drive.pump import Pump, log_bug, monotonic_clock
from penstock.gateway.admin import build_admin, build_metrics
from penstock.gateway.reload import Reloader
from penstock.gateway.roster import Roster
from penstock.gateway.server import DataPlane
from penstock.gateway.side import SideDoor
from penstock.telemetry.logs import AccessLog, set_up
from penstock.telemetry.meter import Meter
from penstock.telemetry.prometheus import render

log = logging.getLogger("penstock.gateway")


class Gateway:
    """One gateway process. Made, started and stopped inside a running event loop."""

    def __init__(
        self, settings: Settings, read: Callable[[], Settings] | None = None, file: Path | None = None,
        seed: int | None = None,
    ) -> None:  # fmt: skip
        loop = asyncio.get_running_loop()
        self.seed = secrets.randbits(63) if seed is None else seed
        clock, call_at = monotonic_clock(loop)
        self.gate = Gate(settings.gate, Rand(self.seed))
        self.journal: Journal[Event, Effect] = Journal()
        self.meter = Meter()
        self.access_log = AccessLog(settings.server.log)
        self.journal.observers += [self.meter.observe, self.access_log.observe]
        self.plane = DataPlane(settings, dialect_of, self.gate.models, self.gate.ready)
        self.pump: Pump[Event, Effect] = Pump(
            self.gate, self.plane.perform, clock, call_at, self.journal.observe, Woke(), self._bug
        )
        self.plane.attach(self.pump)
        self.roster = Roster(settings, self._announce)
        self.reloader = Reloader(settings, read, self._apply, file)
        self._sink: FileSink | None = None
        self._doors: list[SideDoor] = []
        self._watch: asyncio.Task[None] | None = None

    # ===== life =====

    async def start(self) -> None:
        """Bind every address, then serve. Raises OSError that names the address that cannot be had."""
        settings = self.reloader.settings
        server = settings.server
        if server.journal is not None:
            self._sink = FileSink(Path(server.journal), header(__version__, self.seed, settings.gate))
            self.journal.observers.append(self._sink.observe)
        if server.admin is not None:
            self._doors.append(SideDoor(build_admin(self, server.admin_key_hash), server.admin))
        if server.metrics is not None:
            self._doors.append(SideDoor(build_metrics(self), server.metrics))
        await self.plane.start()
        for door in self._doors:
            door.start()
        self.pump.tell(FleetSeen(settings.replicas))
        self._watch = asyncio.get_running_loop().create_task(self.reloader.watch())

    async def stop(self) -> None:
        """Refuse new work, let answers finish within the drain time, then end everything."""
        if self._watch is not None:
            self._watch.cancel()
        await self.plane.drain(self.reloader.settings.server.timeouts.drain_s)
        for door in self._doors:
            await door.stop()
        self.pump.close()
        if self._sink is not None:
            self._sink.close()

    # ===== changes =====

    def _apply(self, settings: Settings) -> None:
        """New settings from the file. The fleet follows through the roster, which adds what the admin API did."""
        if settings.server.log != self.access_log.settings:
            set_up(settings.server.log, secrets=_secrets(settings))
            self.access_log.settings = settings.server.log
        self.pump.tell(Reconfigured(settings.gate))
        if self._sink is not None:
            self._sink.head = header(__version__, self.seed, settings.gate)
        self.roster.configured(settings)

    def _announce(self, effective: Settings) -> None:
        self.plane.apply(effective)
        self.pump.tell(FleetSeen(effective.replicas))

    def _bug(self, what: object, error: Exception) -> None:
        """A bug cost one fact. The call that it was about is ended, so that neither its client nor its seat hangs."""
        log_bug(what, error)
        call_id = getattr(what, "id", None) or getattr(getattr(what, "call", None), "id", None)
        if isinstance(call_id, str) and not isinstance(what, ClientGone):
            self.plane.fail(call_id)
            self.pump.tell(ClientGone(call_id))

    # ===== for the admin API =====

    def replica_views(self) -> list[ReplicaView]:
        """Every replica as it stands."""
        return self.gate.replicas(self.pump.now())

    def pool_views(self) -> list[PoolView]:
        """Every pool as it stands."""
        return self.gate.pools(self.pump.now())

    def counters(self) -> dict[str, int]:
        """What is held: all zero (but for totals and open connections) when nothing goes on."""
        return {**self.gate.counts(), **self.plane.counters()}

    def metrics(self) -> bytes:
        """The Prometheus page."""
        return render(self.meter, self.replica_views, self.pool_views, self.counters)

    def journal_tail(self, last: int) -> Iterable[bytes]:
        """The last turns, each as JSON, oldest first."""
        turns = self.journal.turns()
        return (msgspec.json.encode(turn) for turn in islice(turns, max(0, len(turns) - last), None))

    def parse_replica(self, raw: Any) -> tuple[Replica, Access]:
        """A replica from the admin API, checked like one from the file. Raises ConfigError."""
        return parse_replica(raw)

    async def reload(self) -> list[str]:
        """Read the file again; what changed."""
        return await self.reloader.reload()


def _secrets(settings: Settings) -> list[str]:
    """What may never stand in a log: keys and header values that replicas are shown."""
    shown = [access.api_key for access in settings.access.values()]
    shown += [value for access in settings.access.values() for _, value in access.headers]
    return [secret for secret in shown if secret]


def serve_forever(
    settings: Settings, read: Callable[[], Settings] | None, file: Path | None, started: Callable[[], None]
) -> None:
    """Run a gateway until SIGTERM or SIGINT. Raises OSError where an address cannot be had."""
    set_up(settings.server.log, secrets=_secrets(settings))
    uvloop.run(_serve(settings, read, file, started))


async def _serve(
    settings: Settings, read: Callable[[], Settings] | None, file: Path | None, started: Callable[[], None]
) -> None:
    gateway = Gateway(settings, read, file)
    await gateway.start()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    impatient = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def stop() -> None:
        (impatient if stopping.is_set() else stopping).set()

    def hang_up() -> None:
        task = loop.create_task(gateway.reloader.try_reload("SIGHUP"))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    started()
    await stopping.wait()
    log.info("stopping: new requests are refused, answers under way may finish")
    ending = loop.create_task(gateway.stop())
    hurry = loop.create_task(impatient.wait())
    await asyncio.wait({ending, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not ending.done():
        log.warning("a second signal: ending at once")
        ending.cancel()
    elif ending.exception() is not None:
        raise ending.exception() or RuntimeError
