"""Pressure tests played: one run gives numbers, several seeds a verdict on each criterion.

A criterion holds only where it holds with every seed. Beside it stands what a fleet could reach that is ordered with
the first request; where even that misses it, the smallest first fleet with which it would not is looked for.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from penstock.config.scenarios import Expect, Scenario
from penstock.sim.compare import METRICS, Trial
from penstock.sim.drills import OF_SCALING, clairvoyant, without_greed
from penstock.sim.run import Run
from penstock.sim.stress import MEANINGS, NUMBERS, Moment, Stress
from penstock.sim.tally import Point, Result
from penstock.workload.combine import Spec
from penstock.workload.request import Request

Requests = Callable[[Spec, int], Iterable[Request]]
"""The requests of a workload with a seed."""
RATIO = "others_p95_ratio"
KNOWN = (*METRICS, *NUMBERS, RATIO)
"""Numbers that may be expected of a pressure test."""
TOLD = {**MEANINGS, RATIO: "others_p95_s over what it is without the greedy tenant's greed"}


class Played(Struct, frozen=True, kw_only=True):
    """One run."""

    seed: int
    numbers: dict[str, float]
    outcomes: dict[str, int]
    points: list[Point] = []
    course: list[Moment] = []
    """These two only where somebody wants pictures."""


class Judged(Struct, frozen=True, kw_only=True):
    """One criterion, over all seeds."""

    metric: str
    expected: str
    mean: float
    worst: float
    held: int
    """Seeds with which it held."""
    seeds: int
    bound: float | None
    """What the fleet that is ordered at once reached; None: it was not asked, or it does not concern it."""
    bound_holds: bool | None
    head_room: int | None = None
    """Where the bound misses: with so many replicas at first it does not; None: not known, or with no number."""

    @property
    def holds(self) -> bool:
        """With every seed."""
        return self.held == self.seeds


def play(trial: Trial, requests: Requests, seed: int, pictures: bool = False) -> Played:
    """One run of a scenario; of one with a greedy tenant two."""
    scenario = trial.scenario
    result, stress = _run(trial, requests(scenario.workload, seed), seed)
    numbers = {name: float(getattr(result, name)) for name in METRICS}
    numbers |= {name: float(getattr(stress, name)) for name in NUMBERS}
    if scenario.greedy is not None:
        _, usual = _run(trial, requests(without_greed(scenario.workload), seed), seed)
        numbers[RATIO] = stress.others_p95_s / usual.others_p95_s if usual.others_p95_s else 1.0
    return Played(
        seed=seed, numbers=numbers, outcomes=result.outcomes, points=result.points if pictures else [],
        course=stress.course if pictures else [],
    )  # fmt: skip


def _run(trial: Trial, coming: Iterable[Request], seed: int) -> tuple[Result, Stress]:
    coming = coming if trial.shape is None else map(trial.shape, coming)
    outcome = Run(trial.scenario, trial.policy, coming, seed).watched(trial.scenario).go()
    assert outcome.stress is not None
    return outcome.result, outcome.stress


# ===== verdicts =====


def judge(scenario: Scenario, runs: Sequence[Played], bound: Played | None) -> list[Judged]:
    """Every criterion of a test."""
    return [_judge(expect, runs, None if expect.metric in OF_SCALING else bound) for expect in scenario.expect]


def _judge(expect: Expect, runs: Sequence[Played], bound: Played | None) -> Judged:
    values = [run.numbers[expect.metric] for run in runs]
    best = None if bound is None else bound.numbers[expect.metric]
    return Judged(
        metric=expect.metric, expected=expect.said(), mean=sum(values) / len(values),
        worst=max(values) if expect.at_least is None else min(values),
        held=sum(expect.holds(value) for value in values), seeds=len(values), bound=best,
        bound_holds=None if best is None else expect.holds(best),
    )  # fmt: skip


def bounded(scenario: Scenario) -> Trial:
    """The fleet that is ordered at once."""
    ordered = clairvoyant(scenario)
    return Trial(ordered, ordered.policy)


def with_head_room(scenario: Scenario, judged: Judged, requests: Requests, seed: int) -> Judged:
    """A criterion that the bound misses, with the smallest first fleet that meets it, looked for by halving."""
    scale, expect = scenario.scale, next(it for it in scenario.expect if it.metric == judged.metric)
    if judged.bound_holds is not False or scale is None:
        return judged
    low, high, found = scenario.fleet[scale.group].count + 1, scale.max, None
    while low <= high:
        first = (low + high) // 2
        ordered = clairvoyant(scenario, first)
        played = play(Trial(ordered, ordered.policy), requests, seed)
        if expect.holds(played.numbers[expect.metric]):
            found, high = first, first - 1
        else:
            low = first + 1
    return replace(judged, head_room=found)
