"""Turns the Governor on the gateway's loop: looks at pools and their actuators, performs its orders, tells the fleet.

Nothing here decides how many replicas there are. A gateway without scaled pools has no task, timer or thread here.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from penstock import __version__
from penstock.adapters.actuators.memory import MemoryFiles
from penstock.adapters.actuators.registry import (
    actuator_of,
    directory_of,
    ends_within_s,
    has_money,
    leftovers,
    respec,
)
from penstock.base.nouns import Replica, Unit
from penstock.base.ports import Actuator
from penstock.config.schema import Access, ScaledPool
from penstock.core.scale.flow import Flow, needs_flow
from penstock.core.scale.governor import Governor
from penstock.core.scale.mix import price_of
from penstock.core.scale.record import Decision, Step
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.spot import SpotSpec
from penstock.core.scale.view import ScaleStory, ScaleView
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.core.scale.words import (
    Drain,
    Fact,
    Look,
    Noticed,
    Order,
    Reconfigured,
    Record,
    Remember,
    Remembered,
    Scaled,
    Seen,
    Start,
    Stop,
    Woke,
)
from penstock.drive.journal import FileSink, Journal, header
from penstock.drive.pump import CallAt, Clock, Pump, log_bug
from penstock.gateway.fleet.memory import Memory
from penstock.gateway.fleet.notices import NoticeWatch, about

log = logging.getLogger("penstock.scaling")

ORDER_S = 30.0
"""How long an actuator may take to obey; what comes of it later shows when it is looked at."""
LOOK_S = 10.0
"""How long an actuator may take to say what there is."""
KEPT_TURNS = 2000
"""Of the Governor's, in memory: more than an hour of a pool's looks."""
EXIT_LOOK_S = 0.05
"""Between two looks at replicas that end with the gateway."""


class Place(Protocol):
    """The gateway, as far as scaling needs it."""

    def window(self, pool: str) -> Window | None:
        """What the Gate knows of a pool; None: it has no such pool."""
        ...

    def busy(self, replica: str) -> bool:
        """Whether a replica that left the fleet still has calls."""
        ...

    def scaled(self, replicas: tuple[tuple[Replica, Access], ...]) -> None:
        """These are the replicas that scaled pools run now."""
        ...


class _Ward:
    """One pool's actuator, and what it last showed."""

    def __init__(self, pool: ScaledPool) -> None:
        """Raises OSError where what it needs cannot be had."""
        self.pool = pool
        spec = pool.spec.actuator
        self.memory = Memory(MemoryFiles(directory_of(spec), pool.pool), pool.pool, has_money(spec))
        self.actuator: Actuator = actuator_of(spec, pool.pool)
        self.units: tuple[Unit, ...] = ()
        self.drained: set[str] = set()
        self.stopped: set[str] = set()
        self.looking = False

    def replicas(self) -> list[tuple[Replica, Access]]:
        """The replicas that calls may be sent to."""
        like, access, spot = self.pool.template, self.pool.access, self.pool.spec.spot
        cheap = replace(like, purchase="spot", hourly_cost=price_of("spot", spot, like.hourly_cost))
        kinds = {"spot": like if spot is None else cheap}
        return [
            (replace(kinds.get(unit.purchase, like), id=unit.id, url=unit.url, drain=unit.id in self.drained), access)
            for unit in self.units
            if unit.state == "running" and unit.url and unit.id not in self.stopped
        ]

    def saw(self, units: tuple[Unit, ...]) -> None:
        """What its actuator shows now; wishes about who is gone are forgotten."""
        self.units = units
        there = {unit.id for unit in units}
        self.drained &= there
        self.stopped &= there


class Scaling:
    """All scaled pools of a gateway."""

    def __init__(self, place: Place, clock: Clock, call_at: CallAt, flow: Flow, wall: Clock = time.time) -> None:
        """`flow` is told which pools to watch. `wall` is the clock on the wall, for schedules and months."""
        self.governor = Governor()
        self._place = place
        self._flow = flow
        self._wall = wall
        self.journal: Journal[Fact, Order] = Journal(KEPT_TURNS, log_bug)
        """What the Governor was told and what it ordered."""
        self.journal.observers.append(_observe)
        self._sink: FileSink | None = None
        self._pump: Pump[Fact, Order] = Pump(
            self.governor, self._perform, clock, call_at, self.journal.observe, Woke(), log_bug
        )
        self._pools: dict[str, ScaledPool] = {}
        """Those that should scale themselves."""
        self._wards: dict[str, _Ward] = {}
        """Those, and the ones whose replicas are not gone yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._notices = NoticeWatch(self, clock)
        self._started = False
        self._placed: tuple[tuple[Replica, Access], ...] = ()

    # ===== life =====

    def open(self, pools: tuple[ScaledPool, ...], journal: Path | None = None) -> None:
        """Take hold of what pools need, before anything is served. `journal`: a file for every turn, where a pool
        scales itself. Raises OSError, and then nothing is held."""
        try:
            if journal is not None and pools:
                self._sink = FileSink(journal, header(__version__, 0, {pool.pool: _bare(pool) for pool in pools}))
                self.journal.observers.append(self._sink.observe)
            for pool in pools:
                self._wards[pool.pool] = _Ward(pool)
        except OSError:
            self.close()
            raise

    def start(self, pools: tuple[ScaledPool, ...]) -> None:
        """Begin to look."""
        self._started = True
        for left in leftovers([pool.spec.actuator for pool in pools], [pool.pool for pool in pools]):
            log.warning("%s", left)
        self.apply(pools)

    def apply(self, pools: tuple[ScaledPool, ...]) -> None:
        """New settings. The replicas of a pool that is not among them any more are drained and stopped."""
        self._pools = {pool.pool: pool for pool in pools if self._takes(pool)}
        self._notices.follow(self._pools.values())
        if not self._wards:
            return
        for name, ward in self._wards.items():
            ward.pool = self._pools.get(name, ward.pool)
        specs = {name: _bare(pool) for name, pool in self._pools.items()}
        costs = {name: pool.template.hourly_cost for name, pool in self._pools.items()}
        self._flow.watch([name for name, spec in specs.items() if needs_flow(spec.targets)])
        self._pump.tell(Reconfigured(specs, costs))
        for name, ward in self._wards.items():
            pool = self._pools.get(name)
            for part in ward.memory.recall(pool is not None and pool.spec.forecast is not None):
                self._pump.tell(Remembered(name, part))
        self._tell_fleet()

    def _takes(self, pool: ScaledPool) -> bool:
        """Whether the pool's actuator can be had. One that is there stays: another would not find what it runs."""
        ward = self._wards.get(pool.pool)
        if ward is None:
            try:
                self._wards[pool.pool] = _Ward(pool)
            except OSError as wrong:
                log.error("pool %s does not scale itself: %s", pool.pool, wrong)
                return False
        elif not respec(ward.actuator, pool.spec.actuator):
            log.warning("pool %s: its actuator stays what it is until a restart", pool.pool)
        return True

    async def stop(self) -> None:
        """Look and order no more. What runs goes on, but for pools that stop theirs with the gateway."""
        self._notices.close()
        self._pump.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name, ward in self._wards.items():
            if (purse := self.governor.purse(name)) is not None:
                await ward.memory.keep(purse)
        await asyncio.gather(*(self._leave(ward) for ward in self._wards.values()))
        self.close()

    def close(self) -> None:
        """Let go of everything at once, as when `stop` takes too long."""
        self._notices.close()
        self._pump.close()
        for ward in self._wards.values():
            ward.actuator.close(self._started and ends_within_s(ward.pool.spec.actuator) is not None)
        self._wards.clear()
        if self._sink is not None:
            self.journal.observers.remove(self._sink.observe)
            self._sink.close()
            self._sink = None

    async def _leave(self, ward: _Ward) -> None:
        if not self._started:
            return
        within_s = ends_within_s(ward.pool.spec.actuator)
        if within_s is None:
            running = [unit.id for unit in ward.units if unit.state == "running"]
            if running:
                log.info("pool %s: %s go on, and are found again", ward.pool.pool, ", ".join(running[:20]))
            return
        try:
            async with asyncio.timeout(within_s):
                while units := await ward.actuator.look(LOOK_S):
                    for unit in units:
                        await ward.actuator.stop(unit.id)
                    await asyncio.sleep(EXIT_LOOK_S)  # noqa: TID251 - another's children say nothing at their end
        except OSError as wrong:
            why = str(wrong) or "no time left"
            log.error("pool %s: its replicas could not all be stopped: %s", ward.pool.pool, why)

    # ===== the Governor's orders =====

    def _perform(self, order: Order) -> None:
        if isinstance(order, Record):
            return  # its readers watch what is observed
        ward = self._wards.get(order.pool)
        if ward is None:
            return
        if isinstance(order, Look):
            if not ward.looking:
                ward.looking = True
                self._spawn(self._look(ward))
        elif isinstance(order, Remember):
            self._spawn(ward.memory.keep(order.part))
        elif isinstance(order, Drain):
            (ward.drained.add if order.drain else ward.drained.discard)(order.unit)
            self._tell_fleet()
            self._spawn(self._order(ward, order))
        elif isinstance(order, Start):
            self._spawn(self._order(ward, order))
        else:
            ward.stopped.add(order.unit)
            self._tell_fleet()
            self._spawn(self._order(ward, order))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _order(self, ward: _Ward, order: Start | Stop | Drain) -> None:
        detail = ""
        try:
            async with asyncio.timeout(ORDER_S):
                if isinstance(order, Start):
                    await ward.actuator.start(order.unit, order.purchase)
                elif isinstance(order, Drain):
                    await ward.actuator.drain(order.unit, order.drain)
                else:
                    await ward.actuator.stop(order.unit)
        except OSError as wrong:
            detail = str(wrong)[:300] or "not done in time"
        except Exception as bug:
            log.error("pool %s: %s failed: a bug", order.pool, order, exc_info=bug)
            detail = type(bug).__name__
        if detail and isinstance(order, Drain):  # a hint that is not taken costs nothing by itself
            log.warning("pool %s: %s drains, which its actuator does not know: %s", order.pool, order.unit, detail)
        elif detail:
            self._pump.tell(Scaled(order.pool, order.unit, detail))

    async def _look(self, ward: _Ward) -> None:
        name = ward.pool.pool
        units: tuple[Unit, ...] | None = None
        detail = ""
        try:
            units = await ward.actuator.look(LOOK_S)
        except OSError as wrong:  # a TimeoutError too
            detail = str(wrong)[:300] or "no answer in time"
        except Exception as bug:
            log.error("pool %s: looking at its replicas failed: a bug", name, exc_info=bug)
            detail = type(bug).__name__
        finally:
            ward.looking = False
        if units is not None:
            ward.saw(units)
            self._tell_fleet()
        self._pump.tell(Seen(name, self._window(ward), units, detail, self._wall()))
        if name not in self.governor.pools():
            ward.actuator.close()
            del self._wards[name]

    def _window(self, ward: _Ward) -> Window:
        window = self._place.window(ward.pool.pool)
        if window is not None:
            return self._flow.fill(ward.pool.pool, window, self._pump.now())
        # the Gate has forgotten the pool: who has calls left from then is still to be seen
        left = [unit.id for unit in ward.units if self._place.busy(unit.id)]
        return Window(
            queued=0, replicas=tuple(ReplicaSeen(id=it, well=True, loading=False, in_flight=1, seats=1) for it in left)
        )

    def _tell_fleet(self) -> None:
        placed = tuple(one for ward in self._wards.values() for one in ward.replicas())
        if placed != self._placed:
            self._placed = placed
            self._place.scaled(placed)

    # ===== notices =====

    def noticed(self, pool: str, unit: str, within_s: float | None) -> int:
        """A provider takes a replica of a pool, or all that are spot, back in so many seconds (None: as the pool says);
        how many that are."""
        ward = self._wards.get(pool)
        if ward is None:
            return 0
        spot = ward.pool.spec.spot or SpotSpec()
        units = about(unit, ward.units)
        for name in units:
            self._pump.tell(Noticed(pool, name, spot.notice_s if within_s is None else within_s))
        return len(units)

    # ===== for people =====

    def views(self) -> list[ScaleView]:
        """Every pool that scales itself, as it stands."""
        return self.governor.views(self._pump.now())

    def story(self, pool: str, last: int) -> ScaleStory | None:
        """Why a pool has as many replicas as it has; None: it does not scale itself."""
        entries = self.governor.history(pool, last)
        if entries is None:
            return None
        view = next(view for view in self.views() if view.pool == pool)
        return ScaleStory(view=view, entries=entries)


def _bare(pool: ScaledPool) -> ScaleSpec:
    """What the Governor needs to know: a journal has no use for commands and their environment."""
    return ScaleSpec(**{name: getattr(pool.spec, name) for name in ScaleSpec.__struct_fields__})


def _observe(now: float, event: Fact, orders: list[Order]) -> None:
    for order in orders:
        if isinstance(order, Record):
            _say(order.entry)


def _say(entry: Decision | Step) -> None:
    """A line for the log, where something changed."""
    if isinstance(entry, Step):
        way = f"{entry.was} -> {entry.now}" if entry.was else entry.now
        why = f": {entry.why}" if entry.why else ""
        log.log(logging.WARNING if entry.failed else logging.INFO, "pool %s: %s %s%s", entry.pool, entry.unit, way, why)
        return
    if entry.alarm:
        log.error("pool %s: %s; it stays at %d", entry.pool, entry.alarm, entry.wanted)
    if entry.wanted != entry.was:
        bounds = f", bounded by {', '.join(entry.bounds)}" if entry.bounds else ""
        log.info("pool %s: %d -> %d replicas: %s%s", entry.pool, entry.was, entry.wanted, entry.reason, bounds)
