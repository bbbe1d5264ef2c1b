"""A worker: one of several processes that serve, each with its own event loop, Gate and data plane, under one parent.

It looks at no replica, scales nothing and has no admin API: what it must know of these it is told, as facts and as
settings with the fleet as it should be. Of each replica's seats it has the share that it was given; it tells what it
has in flight, so that shares can follow demand. It ends when its parent does.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop
from msgspec.structs import replace

from penstock.adapters.dialects.registry import dialect_of
from penstock.adapters.stores.lease_sheet import LeaseSheet
from penstock.base.nouns import Replica
from penstock.config.schema import LimitSpec, Settings
from penstock.core.events import FleetSeen, Reconfigured
from penstock.core.split import part, pins, split
from penstock.gateway.build import Gateway, known_secrets
from penstock.gateway.cache.beside import Beside
from penstock.gateway.files import raise_open_files
from penstock.gateway.processes.booking import Booking
from penstock.gateway.processes.channel import Channel
from penstock.gateway.processes.lessor import beside_of, sheet_of, tidy_up
from penstock.gateway.processes.words import (
    Answer,
    Ask,
    Begin,
    Down,
    Explained,
    Halt,
    Ready,
    Report,
    Settle,
    Shared,
    Snapshot,
    Told,
    Trouble,
)
from penstock.gateway.server import DataPlane
from penstock.telemetry.logs import set_up
from penstock.telemetry.totals import totals_of

log = logging.getLogger("penstock.gateway")

TICK_S = 0.025
"""How often it looks whether it lacks seats."""
CALM_S = 0.1
"""How often it reports while it lacks none; and looks, while it has room: to wake is what a look costs most."""
ROOM = 16
"""It has room where so many more calls could be in flight at every replica."""
_EARLY_S = 0.01
"""An alarm may ring a little early."""
ALONE_S = 5
"""How long it may take to end once its parent is gone."""


def own_part(settings: Settings, worker: int, workers: int) -> Settings:
    """The settings of one worker: bounds that hold for all of them together are divided."""
    server = settings.server
    limits: LimitSpec = server.limits
    limits = replace(
        limits, connections=part(limits.connections, worker - 1, workers),
        buffered_bytes=max(limits.body_bytes, limits.buffered_bytes // workers),
    )  # fmt: skip
    journal = None if server.journal is None else f"{server.journal}.worker{worker}"
    server = replace(server, admin=None, metrics=None, journal=journal, limits=limits)
    return replace(settings, server=server, gate=split(settings.gate, worker - 1, workers), sources=(), scaled=())


class Worker(Gateway):
    """A gateway without what its parent does."""

    def __init__(self, begin: Begin, channel: Channel[Down]) -> None:
        self.worker = begin.worker
        self._number = begin.worker
        self._of = begin.workers
        self._booking: Booking | None = None
        self._channel = channel
        self._seats: dict[str, int] = {}
        """Shares."""
        self._settled = self._shared = 0
        self._scaled: tuple[str, ...] = ()
        self._last: Report | None = None
        self._loop = asyncio.get_running_loop()
        self._reported_at = self._seen_at = 0.0
        """When it reported last, and when it looked at windows last."""
        self._ticker: asyncio.TimerHandle | None = None
        self.halted: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """How long answers may take to finish, once it is told to end."""
        super().__init__(own_part(begin.settings, begin.worker, begin.workers), seed=begin.seed)
        self.plane.lease_name = begin.peer
        self._sheet: LeaseSheet | None = None
        self._settings = self.reloader.settings

    def _plane(self, settings: Settings) -> DataPlane:
        name = f"w{self.worker}"
        return DataPlane(settings, dialect_of, self.gate.models, self.gate.ready, looks=False, name=name)

    # ===== life =====

    async def start(self) -> None:
        """Listen and serve. Raises OSError where that cannot be had."""
        try:
            self._open()
            if self.server.ledger is not None:
                self._booking = await Booking.opened(self.server.ledger, self._number, self._of, self.plane.outbox)
                self._booking.fleet(self._settings.replicas)
            self._open_sheet()
            await self._open_beside()
            await self.plane.start(reuse_port=True)
        except OSError:
            await self.stop()
            raise
        self._place()
        self._read_journal()
        self._tick()

    def _open_sheet(self) -> None:
        url, peer = self.server.lease_store, self.plane.lease_name
        if url is not None and peer:
            self._sheet = LeaseSheet(sheet_of(url, peer))
            self.gate.note_on(self._sheet)

    async def _open_beside(self) -> None:
        url = self.server.lease_store
        if url is not None and self._of > 1:
            self.caching.beside = self.plane.keeper.beside = Beside(
                self._number, self._of, lambda worker: beside_of(url, worker), self.plane
            )
            await self.caching.beside.start()

    async def _drain(self, within_s: float) -> None:
        await self.plane.drain(self.halted.result() if self.halted.done() else within_s)

    def halt(self, within_s: float) -> None:
        """Let it end: answers may take so long to finish."""
        if not self.halted.done():
            self.halted.set_result(within_s)

    async def stop(self) -> None:
        """See `Gateway.stop`."""
        try:
            await super().stop()
        finally:
            if self._ticker is not None:
                self._ticker.cancel()
                self._ticker = None

    # ===== what it is told =====

    def heard(self, message: Down) -> None:
        """A word of the parent."""
        match message:
            case Told():
                for fact in message.facts:
                    self.pump.tell(fact)
            case Shared():
                self._seats |= message.seats
                self._shared = message.number
                self._place()
                self._report(True)
            case Settle():
                self._settle(message)
                self._report(True)
            case Ask():
                self._channel.tell(Answer(message.number, self._answer(message)))
            case Halt():
                self.halt(message.within_s)
            case Begin():
                log.error("told to begin a second time")

    def _settle(self, word: Settle) -> None:
        settings = own_part(word.settings, self._number, self._of)
        if settings.gate != self._settings.gate:
            self.pump.tell(Reconfigured(settings.gate))
        self._settings = settings
        self.reloader.settings = settings
        known = {replica.id for replica in settings.replicas}
        self._seats = {name: seats for name, seats in self._seats.items() if name in known}
        self._scaled, self._settled = word.scaled, word.number
        self.flow.watch(word.flows)
        self._announce(settings)
        self._read_journal()

    def _announce(self, effective: Settings) -> None:
        super()._announce(self._with_shares(effective))
        if self._booking is not None:
            self._booking.fleet(effective.replicas)

    def _open_ledger(self) -> None:
        """Its parent has the ledger; its own journal is opened where it starts."""

    def _keepers(self) -> list[Any]:
        return [keeper for keeper in (self._sink, self._booking) if keeper is not None]

    def _place(self) -> None:
        """The fleet with the seats that are its own."""
        self.pump.tell(FleetSeen(self._with_shares(self._settings).replicas))

    def _with_shares(self, settings: Settings) -> Settings:
        pinned = {pool.name for pool in settings.gate.pools if pins(pool)}
        return replace(settings, replicas=tuple(self._own(one, one.pool in pinned) for one in settings.replicas))

    def _own(self, replica: Replica, pinned: bool) -> Replica:
        queue = replica.max_queue_size
        if pinned:  # else only the engine's own queue counts against it, and that is everybody's
            queue = part(queue, self._number - 1, self._of)
        return replace(replica, max_concurrent_requests=self._seats.get(replica.id, 0), max_queue_size=queue)

    # ===== what it tells =====

    def _tick(self) -> None:
        self._report(False)
        self._ticker = self._loop.call_later(self.pause_s(), self._tick)

    def pause_s(self) -> float:
        """How long until it looks next."""
        busy, seats = self.gate.busy(), self._seats
        roomy = (
            seats and not self.gate.waiting() and all(most - busy.get(one, 0) >= ROOM for one, most in seats.items())
        )
        return CALM_S if roomy else TICK_S

    def _report(self, at_once: bool) -> None:
        """How things stand: at once where seats are lacking or something was applied, else now and then."""
        busy, waiting, now = self.gate.busy(), self.gate.waiting(), self._loop.time()
        calm = not waiting and all(count < self._seats.get(name, 0) for name, count in busy.items())
        if not at_once and calm and now < self._reported_at + CALM_S - _EARLY_S:
            return
        self._reported_at = now
        leaving = tuple(sorted(self.plane.outbound.pools.keys() - {one.id for one in self._settings.replicas}))
        report = Report(self._settled, self._shared, busy, waiting, leaving, self._windows())
        if report != self._last:
            self._channel.tell(report)
            self._last = report

    def _windows(self) -> dict[str, Any]:
        if not self._scaled or self._loop.time() < self._seen_at + CALM_S - _EARLY_S:
            return {} if self._last is None else self._last.windows
        now, self._seen_at = self.pump.now(), self._loop.time()
        seen = {name: self.gate.window(name, now) for name in self._scaled}
        return {name: self.flow.fill(name, one, now) for name, one in seen.items() if one is not None}

    def _answer(self, asked: Ask) -> bytes:
        """The answer to a question, as JSON."""
        if asked.what == "snapshot":
            return msgspec.json.encode(self.snapshot())
        if asked.what == "explain":
            found = self.explained(asked.id)
            told = Explained(why=found) if isinstance(found, str) else Explained(found=found)
            return msgspec.json.encode(told)
        if asked.what == "explain_last":
            return msgspec.json.encode(self.explained_last(asked.last, asked.wanted))
        return b"[" + b",".join(self.tail(asked.last)) + b"]"

    def snapshot(self) -> Snapshot:
        """All that it shows."""
        return Snapshot(
            replicas=self.replica_views(), pools=self.pool_views(), accounts=self.account_views(),
            counters=self._counted(), totals=totals_of(self.meter), cpu_s=cpu_s(),
            ledger={} if self._booking is None else self._booking.numbers(),
            leases={} if self.plane.lessee is None else self.plane.lessee.metrics(),
            cache=self.caching.view(), store=self.caching.metrics(),
        )  # fmt: skip


def cpu_s() -> float:
    """CPU time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ===== the process =====


class _Ear:
    """Hears the parent: before there is a worker, words wait."""

    def __init__(self) -> None:
        self.begin: asyncio.Future[Begin | None] = asyncio.get_running_loop().create_future()
        self.worker: Worker | None = None
        self.alone = False
        """The parent is gone."""
        self._words: list[Down] = []

    def heard(self, message: Down) -> None:
        if not self.begin.done() and isinstance(message, Begin):
            self.begin.set_result(message)
        elif self.worker is None:
            self._words.append(message)
        else:
            self.worker.heard(message)

    def closed(self) -> None:
        self.alone = True
        signal.alarm(ALONE_S)  # whatever hangs: nobody is left to end it
        if not self.begin.done():
            self.begin.set_result(None)
        if self.worker is not None:
            self.worker.halt(0.0)

    def serve(self, worker: Worker) -> None:
        """It is there; what was told meanwhile is for it."""
        self.worker = worker
        for word in self._words:
            worker.heard(word)
        self._words.clear()
        if self.alone:
            worker.halt(0.0)


async def _serve(sock: socket.socket) -> int:
    ear = _Ear()
    channel: Channel[Down] = await Channel.over(sock, Down, ear.heard, ear.closed)
    begin = await ear.begin
    if begin is None:
        return 1
    server = begin.settings.server
    set_up(server.log, secrets=known_secrets(begin.settings), worker=begin.worker)
    raise_open_files(server.limits.connections)
    worker = Worker(begin, channel)
    try:
        await worker.start()
    except OSError as wrong:
        channel.tell(Trouble(str(wrong)))
        channel.close()
        return 1
    end: Callable[[], None] = lambda: worker.halt(server.timeouts.drain_s)  # noqa: E731
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    channel.tell(Ready(os.getpid()))
    ear.serve(worker)
    await worker.halted
    if ear.alone:
        log.warning("the parent is gone: ending")
    await worker.stop()
    if ear.alone:
        tidy_up(server.lease_store)
    channel.close()
    return 0


def main(arguments: list[str]) -> int:
    """Serve as the worker at the other end of this inherited socket."""
    # both come from a terminal to all its processes: the parent says what they mean
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sock = socket.socket(fileno=int(arguments[0]))
    return uvloop.run(_serve(sock))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
