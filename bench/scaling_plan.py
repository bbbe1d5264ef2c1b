"""The clairvoyant of `bench.scaling`: who knows every arrival and its length beforehand, and must only wait for starts.

From the work it knows how many replicas are needed at every moment. The cheapest way to have them is found layer by
layer: the k-th replica is needed where at least k are; it is started its start-up time before, and kept over a pause
that is shorter than a start, for a start costs as much. So for a given need no plan has fewer replica-hours. What share
of the seats a plan fills is the knob: fewer replicas, and more calls that wait.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from penstock.config.scenarios import Fault, Group, Scale
from penstock.sim.cloud import Engine
from penstock.sim.scaling import Scaling
from penstock.workload.request import Request

GRAIN_S = 15.0
CONTEXT = 500
"""Tokens before each sequence at which a step is priced."""
AGAIN_S = 2.0
"""Between two looks at whether one that drains is done."""


class Stay(NamedTuple):
    """One replica: it serves from and until, and is started before."""

    start_s: float
    end_s: float


def service_s(group: Group, request: Request) -> float:
    """How long a request has a seat of a replica that is full."""
    cost, seats = group.modelled().cost, group.seats
    prompt = request.prompt_tokens
    first_s = cost.step_s(prompt, 0, 0, prompt * (prompt + 1) // 2)
    token_s = cost.step_s(0, seats, seats * CONTEXT, 0)
    return (first_s + request.output_tokens * token_s) / group.speed


def work(arrivals: Iterable[float], takes: Iterable[float]) -> list[float]:
    """Seats that are taken, the mean of each grain of time, of calls that come then and take so long."""
    found: list[float] = []
    for at, seconds in zip(arrivals, takes):
        end = at + seconds
        last = int(end // GRAIN_S)
        found += [0.0] * (last + 1 - len(found))
        for grain in range(int(at // GRAIN_S), last + 1):
            found[grain] += (min(end, (grain + 1) * GRAIN_S) - max(at, grain * GRAIN_S)) / GRAIN_S
    return found


def stays(need: list[int], startup_s: float) -> list[Stay]:
    """Who serves when: for this need nobody has fewer replica-hours."""
    found = []
    for layer in range(1, max(need, default=0) + 1):
        begun, end = -1, -1
        for at, count in enumerate([*need, 0]):
            if count < layer:
                continue
            if begun >= 0 and (at - end) * GRAIN_S > startup_s:
                found.append(Stay(begun * GRAIN_S, end * GRAIN_S))
                begun = at
            begun = at if begun < 0 else begun
            end = at + 1
        found.append(Stay(begun * GRAIN_S, end * GRAIN_S))
    return found


def plan(arrivals: Iterable[float], takes: Iterable[float], group: Group, filled: float) -> list[Stay]:
    """The stays that keep so large a share of the seats filled, and two replicas at least."""
    need = [max(2, -int(-taken // (group.seats * filled))) for taken in work(arrivals, takes)]
    return stays(need, group.startup_s)


class Planned(Scaling):
    """Plays a plan in a simulation; its Governor is never asked."""

    def __init__(self, planned: list[Stay], *parts: Any) -> None:
        super().__init__(Scale(), *parts)
        self._planned = planned

    def begin(self, start: float, faults: tuple[Fault, ...]) -> None:
        """The fleet that there is serves those that are needed at once; the others are started in time."""
        there = list(self._cloud.engines.values())
        for engine in there:
            engine.revive()  # only what is started now takes its time
        for number, stay in enumerate(sorted(self._planned)):
            at, end = start + stay.start_s, start + stay.end_s
            if at - self._group.startup_s <= 0.0 and there:
                self._kernel.at(end, self._drain, there.pop(0))
            else:
                self._kernel.at(max(0.0, at - self._group.startup_s), self._join, (number, end))
        for engine in there:
            self._kernel.at(start, self._drain, engine)

    def _join(self, what: tuple[int, float]) -> None:
        number, end = what
        engine = self._cloud.add(f"plan-{number}", self._group)
        self._lifecycle.join(engine)
        self._kernel.at(end, self._drain, engine)

    def _drain(self, engine: Engine) -> None:
        self._lifecycle.mark(engine, True)
        self._gone(engine)

    def _gone(self, engine: Engine) -> None:
        if engine.batcher.running or engine.batcher.waiting:
            self._kernel.at(self._kernel.clock() + AGAIN_S, self._gone, engine)
            return
        engine.die()
        self._lifecycle.leave(engine)
