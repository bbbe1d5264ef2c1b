"""A fleet that scales itself: the gateway's own Governor over simulated engines that take their group's time to start.

The actuator is the scenario: what is started joins the fleet at once, like a process with an address, and answers when
it has started; one whose engine has died is seen to have ended.
"""

from penstock.base.nouns import Unit
from penstock.config.scenarios import POOL, Scale
from penstock.core.gate import Gate
from penstock.core.scale.governor import Governor
from penstock.core.scale.words import Drain, Fact, Look, Order, Reconfigured, Record, Remember, Seen, Start, Woke
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.sim.cloud import Cloud, Engine
from penstock.sim.lifecycle import Lifecycle


class Scaling:
    """One run's."""

    def __init__(self, spec: Scale, cloud: Cloud, lifecycle: Lifecycle, gate: Gate, kernel: Kernel) -> None:
        self.governor = Governor()
        self._spec = spec
        self._group = cloud.fleet[spec.group]
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

    def begin(self) -> None:
        """The group's replicas are there already, and up: only what is started now takes its time."""
        for name, engine in self._cloud.engines.items():
            if engine.group is self._group:
                engine.revive()
                self._engines[name], self._up_at[name] = engine, 0.0
        self._pump.tell(Reconfigured({POOL: self._spec}, {POOL: self._group.money_per_hour()}))

    def _perform(self, order: Order) -> None:
        if isinstance(order, Record | Remember):
            return
        if isinstance(order, Look):
            window = self._gate.window(POOL, self._kernel.clock())
            assert window is not None
            self._pump.tell(Seen(POOL, window, tuple(map(self._unit, self._engines))))
        elif isinstance(order, Start):
            engine = self._cloud.add(order.unit, self._group)
            self._engines[order.unit] = engine
            self._up_at[order.unit] = self._kernel.clock() + self._group.startup_s
            self._lifecycle.join(engine)
        elif isinstance(order, Drain):
            self._lifecycle.mark(self._engines[order.unit], order.drain)
        elif (stopped := self._engines.pop(order.unit, None)) is not None:
            del self._up_at[order.unit]
            stopped.die()
            self._lifecycle.leave(stopped)

    def _unit(self, name: str) -> Unit:
        engine = self._engines[name]
        ended = engine.dead and self._kernel.clock() > self._up_at[name]
        return Unit(id=name, state="ended" if ended else "running", url=engine.replica.url, detail="its engine died")


def _unseen(now: float, fact: Fact, orders: list[Order]) -> None:
    pass
