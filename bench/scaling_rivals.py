"""What `bench.scaling` holds Penstock's policy against: a plain HorizontalPodAutoscaler on CPU, one on queue length.

Both are Penstock's own Governor with one metric and with the defaults of Kubernetes: every 15 s, a tolerance of a
tenth, up at once by the larger of 100 % and 4 every 15 s, down after five minutes by as much as is wanted
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/).

What the CPU of a GPU server shows is modelled kindly. An engine keeps one core busy while it has anything to do,
whatever its batch: people see one of many cores at 100 % (https://github.com/vllm-project/vllm/issues/14538), some even
while it is idle (issue 16968 there), which would make the metric a constant. Beside it each token takes 150 µs of the
server that streams it, a guess on the high side. A replica asks for four
cores, so what can be seen is a quarter, and a bit.
"""

from collections import deque
from typing import Any

from msgspec.structs import replace

from penstock.config.scenarios import POOL, Scale
from penstock.core.scale.spec import DownPace, GpuTarget, QueueTarget, Targets, UpPace
from penstock.core.scale.words import Look, Seen
from penstock.sim.cloud import Engine
from penstock.sim.scaling import Scaling

CORES = 4.0
"""That a replica asks for: its share of CPU is of these."""
IDLE_CORES = 0.05
TOKEN_S = 150e-6
LOOKS = 6
"""A mean over so many looks, half a minute, as a metrics server gives it."""


def _scale(targets: Targets, least: int, most: int) -> Scale:
    return Scale(
        min=least, max=most, look_s=5.0, interval_s=15.0, tolerance=0.1, targets=targets, panic=None,
        up=UpPace(stabilisation_s=0.0, percent=100.0, replicas=4, period_s=15.0, select="max", cooldown_s=0.0),
        down=DownPace(
            stabilisation_s=300.0, percent=100.0, replicas=most, period_s=15.0, select="max", cooldown_s=0.0, starts=0.0
        ),
    )  # fmt: skip


def hpa_queue(target: float, least: int, most: int) -> Scale:
    """By calls that wait, a replica."""
    return _scale(Targets(utilisation=None, queue=QueueTarget(target=target, up=None, down=None)), least, most)


def hpa_cpu(target: float, least: int, most: int) -> Scale:
    """By the CPU of its replicas, as a share of what they ask for."""
    return _scale(Targets(utilisation=None, queue=None, gpu=GpuTarget(target=target, up=None, down=None)), least, most)


class CpuScaling(Scaling):
    """A simulated pool whose replicas tell the use of their CPU, in the place where others tell their GPU's."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._busy: dict[str, deque[float]] = {}
        self._tokens: dict[str, int] = {}
        self._looked_at = 0.0

    def _perform(self, order: Any) -> None:
        if not isinstance(order, Look):
            super()._perform(order)
            return
        now = self._kernel.clock()
        window = self._gate.window(POOL, now)
        assert window is not None
        passed_s, self._looked_at = max(now - self._looked_at, 0.1), now
        shares = {name: self._share(name, engine, passed_s) for name, engine in self._engines.items()}
        replicas = tuple(replace(one, gpu=shares.get(one.id)) for one in window.replicas)
        self._pump.tell(Seen(POOL, replace(window, replicas=replicas), tuple(map(self._unit, self._engines))))

    def _share(self, name: str, engine: Engine, passed_s: float) -> float:
        made = engine.batcher.counters.generation_tokens
        fresh = max(0, made - self._tokens.get(name, 0))
        self._tokens[name] = made
        seen = self._busy.setdefault(name, deque(maxlen=LOOKS))
        seen.append(cpu_share(engine.batcher.running > 0, fresh / passed_s))
        return sum(seen) / len(seen)


def cpu_share(busy: bool, tokens_per_s: float) -> float:
    """What of its cores a replica uses."""
    return (IDLE_CORES + busy + TOKEN_S * tokens_per_s) / CORES
