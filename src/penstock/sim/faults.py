"""What goes wrong with replicas when: the faults of a scenario, in time. What each does to an engine is the engine's
business; a fault names itself, so that its end takes back nothing of another.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from penstock.config.scenarios import Die, Fault, Flap, Freeze, GpuOutage, MetricsOutage, Slow
from penstock.drive.kernel import Kernel

SHORTEST_S = 0.01
"""Half a turn of what flaps, at least."""


class Read(Protocol):
    """What can be read of an engine, as far as faults need it."""

    def mutes(self, mute: bool, cause: object) -> None:
        """Its metrics cannot be read, or can again."""
        ...

    def blinds(self, cause: object, lag_s: float | None, over: bool) -> None:
        """Its GPUs are read so late, or not at all; or that is over."""
        ...


class Harmed(Protocol):
    """An engine, as far as faults need it."""

    def die(self, cause: object, noticed: bool = True) -> None:
        """Its process is gone, and whether who runs it sees that."""
        ...

    def revive(self, cause: object) -> None:
        """It is started anew."""
        ...

    def freeze(self, cause: object) -> None:
        """Nothing comes of it any more."""
        ...

    def thaw(self, cause: object) -> None:
        """It goes on."""
        ...

    def slow(self, factor: float, cause: object) -> None:
        """Every step takes so many times as long."""
        ...

    @property
    def readings(self) -> Read:
        """What can be read of it."""
        ...


def plan(faults: tuple[Fault, ...], engines: Sequence[Harmed], kernel: Kernel) -> None:
    """All these befall these engines; times are the kernel's."""
    for fault in faults:
        for engine in [engines[number] for number in fault.replicas] or engines:
            _plan(fault, engine, kernel)


def _plan(fault: Fault, engine: Harmed, kernel: Kernel) -> None:
    until = inf if fault.for_s is None else fault.at_s + fault.for_s

    def between(begin: Callable[[object], None], over: Callable[[object], None]) -> None:
        kernel.at(fault.at_s, begin, fault)
        if until != inf:
            kernel.at(until, over, fault)

    match fault:
        case Die():
            between(lambda cause: engine.die(cause, fault.noticed), engine.revive)
        case Slow():
            between(lambda cause: engine.slow(fault.factor, cause), lambda cause: engine.slow(1.0, cause))
        case Freeze():
            between(engine.freeze, engine.thaw)
        case MetricsOutage():
            told = engine.readings
            between(lambda cause: told.mutes(True, cause), lambda cause: told.mutes(False, cause))
        case GpuOutage():
            read, lag_s = engine.readings, fault.lag_s
            between(lambda cause: read.blinds(cause, lag_s, False), lambda cause: read.blinds(cause, lag_s, True))
        case Flap():
            kernel.at(fault.at_s, _Flapping(fault, engine, until, kernel).turn, True)


class _Flapping:
    """One that is dead and alive by turns."""

    def __init__(self, fault: Flap, engine: Harmed, until: float, kernel: Kernel) -> None:
        self._fault = fault
        self._engine = engine
        self._until = until
        self._kernel = kernel

    def turn(self, dies: bool) -> None:
        """Die, or come back; when all is over, come back."""
        now = self._kernel.now
        if dies and now < self._until:
            self._engine.die(self._fault)
        else:
            self._engine.revive(self._fault)
        if now < self._until:
            after = min(now + max(self._fault.period_s / 2, SHORTEST_S), self._until)
            self._kernel.at(after, self.turn, not dies)
