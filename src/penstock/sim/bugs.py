"""What a simulated fleet is scaled by where that is wrong: a metric that has run away, CPUs in place of load."""

from msgspec.structs import replace

from penstock.config.scenarios import Fault, Runaway, Scale
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.drive.kernel import Kernel

A_BILLION = 1_000_000_000
IDLE_CPU, BUSY_CPU = 0.15, 0.35
"""Of an engine's host, as shares of the cores that a replica has: its processes wait for the GPU most of the time, busy
or not. An assumption: the engine's own process and its HTTP server take half a core to one and a half of four."""


class Bugs:
    """One run's."""

    def __init__(self, spec: Scale, kernel: Kernel) -> None:
        self._reads_cpu = spec.reads_cpu
        self._kernel = kernel
        self._runaway = 0

    def begin(self, faults: tuple[Fault, ...]) -> None:
        """These happen in time."""
        for fault in faults:
            if isinstance(fault, Runaway):
                self._kernel.at(fault.at_s, self._count, 1)
                if fault.for_s is not None:
                    self._kernel.at(fault.at_s + fault.for_s, self._count, -1)

    def _count(self, by: int) -> None:
        self._runaway += by

    def told(self, window: Window) -> Window:
        """What the Governor is told in place of what is there."""
        if self._runaway:
            window = replace(window, queued=A_BILLION)
        if self._reads_cpu:
            window = replace(window, replicas=tuple(map(_cpu, window.replicas)))
        return window


def _cpu(seen: ReplicaSeen) -> ReplicaSeen:
    busy = min(1.0, seen.in_flight / seen.seats)
    return replace(seen, gpu=IDLE_CPU + (BUSY_CPU - IDLE_CPU) * busy)
