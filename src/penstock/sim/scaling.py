"""A fleet that scales itself: the gateway's own Governor over simulated engines that take their group's time to start.

The actuator is the scenario: what is started joins the fleet at once, like a process with an address, and answers when
it has started; one whose engine has died is seen to have ended. Spot replicas come from the scenario's market.
"""

from collections.abc import Callable

from msgspec.structs import replace

from penstock.base.nouns import Unit
from penstock.base.rand import Rand
from penstock.config.scenarios import POOL, Fault, Scale
from penstock.core.gate import Gate
from penstock.core.scale.flow import Flow, needs_flow
from penstock.core.scale.governor import Governor
from penstock.core.scale.mix import base_of, price_of
from penstock.core.scale.record import Decision
from penstock.core.scale.words import (
    Drain,
    Fact,
    Look,
    Noticed,
    Order,
    Reconfigured,
    Record,
    Remember,
    Scaled,
    Seen,
    Start,
    Woke,
)
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.sim.bugs import Bugs
from penstock.sim.cloud import Cloud, Engine
from penstock.sim.lifecycle import Lifecycle
from penstock.sim.spot import Spot

MONDAY_S = 4 * 86400.0
"""1970-01-05: for schedules a run begins on a Monday, at midnight UTC, and in the first days of a month."""


class Scaling:
    """One run's."""

    def __init__(self, spec: Scale, cloud: Cloud, lifecycle: Lifecycle, gate: Gate, kernel: Kernel, rand: Rand) -> None:
        self.governor = Governor()
        self.flow = Flow()
        self._spec = spec
        self._group = cloud.fleet[spec.group]
        self._pool = self._group.pool or POOL
        if needs_flow(spec.targets):
            self.flow.watch([self._pool])
        self._cloud = cloud
        self._lifecycle = lifecycle
        self._gate = gate
        self._kernel = kernel
        self._pump: Pump[Fact, Order] = Pump(
            self.governor, self._perform, kernel.clock, kernel.call_at, _unseen, Woke(), raise_bug
        )
        self._engines: dict[str, Engine] = {}
        self._up_at: dict[str, float] = {}
        """Until then an engine that does not answer only starts up."""
        self.bugs = Bugs(spec, kernel)
        self.decided: Callable[[Decision], None] | None = None
        """Hears of every decision."""
        self.spot = Spot(spec.market, kernel, self._notice, self._take_back, rand)
        ours = [engine for engine in cloud.engines.values() if engine.group is self._group]
        for number, engine in enumerate(ours):
            if spec.spot is not None and number >= base_of(spec.spot, len(ours)):
                self._as_spot(engine)

    def begin(self, start: float, faults: tuple[Fault, ...]) -> None:
        """The group's replicas are there already, and up: only what is started now takes its time. Of a mix the first
        ones are the base. The workload begins at `start`; faults by the kernel's time."""
        for name, engine in self._cloud.engines.items():
            if engine.group is self._group:
                engine.revive()
                self._engines[name], self._up_at[name] = engine, 0.0
        self.spot.begin(start, faults)
        self._pump.tell(Reconfigured({self._pool: self._spec}, {self._pool: self._group.money_per_hour()}))

    def _perform(self, order: Order) -> None:
        if isinstance(order, Record | Remember):
            if self.decided is not None and isinstance(order, Record) and isinstance(order.entry, Decision):
                self.decided(order.entry)
            return
        if isinstance(order, Look):
            window = self._gate.window(self._pool, self._kernel.clock())
            assert window is not None
            window = self.bugs.told(self.flow.fill(self._pool, window, self._kernel.clock()))
            wall_s = MONDAY_S + self._kernel.clock()
            self._pump.tell(Seen(self._pool, window, tuple(map(self._unit, self._engines)), wall_s=wall_s))
        elif isinstance(order, Start):
            self._start(order)
        elif isinstance(order, Drain):
            self._lifecycle.mark(self._engines[order.unit], order.drain)
        elif (stopped := self._engines.pop(order.unit, None)) is not None:
            del self._up_at[order.unit]
            self.spot.gone(order.unit)
            stopped.die()
            self._lifecycle.leave(stopped)

    def _start(self, order: Start) -> None:
        why_not = self.spot.ask(order.unit) if order.purchase == "spot" else ""
        if why_not:
            self._pump.tell(Scaled(order.pool, order.unit, why_not))
            return
        engine = self._cloud.add(order.unit, self._group)
        if order.purchase == "spot":
            self._as_spot(engine)
        self._engines[order.unit] = engine
        self._up_at[order.unit] = self._kernel.clock() + self._group.startup_s
        self._lifecycle.join(engine)

    def _as_spot(self, engine: Engine) -> None:
        price = price_of("spot", self._spec.spot, self._group.money_per_hour())
        engine.replica = replace(engine.replica, purchase="spot", hourly_cost=price)
        self.spot.held.setdefault(engine.replica.id, False)

    def _notice(self, name: str, within_s: float) -> None:
        self._pump.tell(Noticed(self._pool, name, within_s))

    def _take_back(self, name: str) -> None:
        self._up_at[name] = 0.0
        self._engines[name].die()

    def _unit(self, name: str) -> Unit:
        engine = self._engines[name]
        ended = engine.dead and engine.noticed and self._kernel.clock() > self._up_at[name]
        return Unit(
            id=name, state="ended" if ended else "running", url=engine.replica.url, detail="its engine died",
            purchase=engine.replica.purchase,
        )  # fmt: skip


def _unseen(now: float, fact: Fact, orders: list[Order]) -> None:
    pass
