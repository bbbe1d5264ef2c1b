"""When what goes wrong with a simulation's engines: faults by the kernel's time. What it means for calls is
the engines' business; who leaves, and spot, is that of `lifecycle` and `spot`.
"""

from collections.abc import Callable
from math import inf

from penstock.config.scenarios import Die, Fault, Flap, Freeze, MetricsOutage, Slow
from penstock.drive.kernel import Kernel
from penstock.sim.cloud import Cloud, Engine

SHORTEST_FLAP_S = 0.01


class Mishaps:
    """One run's."""

    def __init__(self, cloud: Cloud, kernel: Kernel) -> None:
        self._cloud = cloud
        self._kernel = kernel

    def plan(self, faults: tuple[Fault, ...]) -> None:
        """These happen in time."""
        engines = list(self._cloud.engines.values())
        for fault in faults:
            for number in fault.replicas or range(len(engines)):
                self._plan(fault, engines[number])
        self._cloud.darkness.plan(faults)

    def _plan(self, fault: Fault, engine: Engine) -> None:
        until = inf if fault.for_s is None else fault.at_s + fault.for_s
        match fault:
            case Die():
                self._between(fault.at_s, until, lambda _: _lose(engine, fault.noticed), lambda _: engine.revive())
            case Slow():
                self._between(fault.at_s, until, lambda _: engine.slow(fault.factor), lambda _: engine.slow(1.0))
            case Freeze():
                self._between(fault.at_s, until, lambda _: engine.freeze(), lambda _: engine.thaw())
            case MetricsOutage():
                self._between(fault.at_s, until, lambda _: _mute(engine, True), lambda _: _mute(engine, False))
            case Flap():
                self._kernel.at(fault.at_s, self._flap, (engine, fault.period_s / 2, until))

    def _between(
        self, start: float, end: float, begin: Callable[[None], object], over: Callable[[None], object]
    ) -> None:
        self._kernel.at(start, begin, None)
        if end != inf:
            self._kernel.at(end, over, None)

    def _flap(self, what: tuple[Engine, float, float]) -> None:
        engine, half_s, until = what
        now = self._kernel.now
        if now >= until:
            engine.revive()
            return
        if engine.dead:
            engine.revive()
        else:
            engine.die()
        self._kernel.at(min(now + max(half_s, SHORTEST_FLAP_S), until), self._flap, what)


def _lose(engine: Engine, noticed: bool) -> None:
    engine.noticed = noticed
    engine.die()


def _mute(engine: Engine, mute: bool) -> None:
    engine.mute = mute
