"""Several policies on one workload, each with the same seeds: what differs is the policy, never the luck.

A number is the mean over the seeds with half the width of its 95 % confidence interval (Student's t).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import fsum, sqrt
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from penstock.config.scenarios import Expect, Policy, Scenario
from penstock.sim.by_model import ModelResult
from penstock.sim.run import simulate
from penstock.sim.tally import Result
from penstock.workload.request import Request

METRICS = tuple(
    name for name in Result.__struct_fields__ if Result.__annotations__[name] in ("int", "float", int, float)
)
"""Numbers of a result."""
MODEL_METRICS = ModelResult.__struct_fields__
"""Numbers of one model."""
HIGHER_IS_BETTER = frozenset({"goodput", "good_per_s", "ok", "output_tokens_per_s", "prefix_hits", "fairness"})
"""Of all others, less is better."""
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09)
"""Student's t for 95 %, two-sided, from one degree of freedom on."""


class Number(Struct, frozen=True, kw_only=True):
    """A number over several seeds."""

    mean: float
    half_width: float | None
    """Of the 95 % interval; None with one seed."""


class Trial(NamedTuple):
    """What one column tries."""

    scenario: Scenario
    """Its fleet and faults; workload and seeds are the same for all."""
    policy: Policy
    shape: Callable[[Request], Request] | None = None
    """What it makes of each request before the gateway sees it; None: nothing."""


class Column(Struct, frozen=True, kw_only=True):
    """What one trial made of the workload."""

    policy: str
    """Its name: the policy's, and the size of the fleet where several are tried."""
    numbers: dict[str, Number]
    runs: list[Result]
    """One a seed."""
    measured: bool = False
    """It really happened, and is no trial: it is not judged."""
    models: dict[str, dict[str, Number]] = {}
    """By model, where the fleet has several pools."""
    replicas: int = 0
    """Of the fleet that it tried."""


class Yardstick(Struct, frozen=True, kw_only=True):
    """What stands beside the policies and is none."""

    name: str
    numbers: dict[str, Number]
    """Those that it has."""


class Comparison(Struct, frozen=True, kw_only=True):
    """All policies, in the order that was asked for."""

    seeds: list[int]
    columns: list[Column]
    yardsticks: list[Yardstick] = []


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether what was expected came out."""

    policy: str
    metric: str
    value: float
    bound: str
    holds: bool


def fleets(trials: Mapping[str, Trial]) -> dict[str, Scenario]:
    """What tells the fleets apart that are tried (nothing, where it is one) -> its scenario."""
    scenarios: list[Scenario] = []
    for trial in trials.values():
        if not any(trial.scenario is each for each in scenarios):
            scenarios.append(trial.scenario)
    if len(scenarios) == 1:
        return {"": scenarios[0]}
    return {f" x{sum(group.count for group in each.fleet)}": each for each in scenarios}


def number(values: list[float]) -> Number:
    """Mean and interval."""
    count = len(values)
    mean = fsum(values) / count
    if count == 1:
        return Number(mean=mean, half_width=None)
    spread = sqrt(fsum((value - mean) ** 2 for value in values) / (count - 1))
    t = _T[count - 2] if count - 2 < len(_T) else 1.96
    return Number(mean=mean, half_width=t * spread / sqrt(count))


def numbers_of(runs: Sequence[Result]) -> dict[str, Number]:
    """Every number, over one run a seed."""
    return {metric: number([float(getattr(run, metric)) for run in runs]) for metric in METRICS}


def numbers_by_model(runs: Sequence[Result]) -> dict[str, dict[str, Number]]:
    """The same for every model that was asked for; a run in which nobody did has zeros."""
    models = dict.fromkeys(sorted(name for run in runs for name in run.models))
    return {
        name: {
            metric: number([float(getattr(run.models.get(name), metric, 0.0)) for run in runs])
            for metric in MODEL_METRICS
        }
        for name in models
    }


def compare(
    trials: Mapping[str, Trial], seeds: Sequence[int], requests: Callable[[int], Iterable[Request]],
    done: Callable[[str, int], None],
) -> Comparison:  # fmt: skip
    """Run every trial with every seed. `requests(seed)` is the workload; `done(trial, seed)` hears of each run."""
    columns = []
    for name, trial in trials.items():
        runs = []
        for seed in seeds:
            coming = requests(seed) if trial.shape is None else map(trial.shape, requests(seed))
            runs.append(simulate(trial.scenario, trial.policy, coming, seed))
            done(name, seed)
        replicas = sum(group.count for group in trial.scenario.fleet)
        columns.append(
            Column(
                policy=name, numbers=numbers_of(runs), runs=runs, models=numbers_by_model(runs), replicas=replicas
            )
        )  # fmt: skip
    return Comparison(seeds=list(seeds), columns=columns)


def beside(measured: Result, name: str, comparison: Comparison) -> Comparison:
    """A comparison with what really happened as its first column."""
    runs = [measured] * len(comparison.seeds)
    column = Column(policy=name, numbers=numbers_of(runs), runs=runs, measured=True)
    return replace(comparison, columns=[column, *comparison.columns])


def unknown(expected: Iterable[Expect]) -> list[str]:
    """Expectations of numbers that there are not, each told with those that there are."""
    found = []
    for expect in expected:
        known, whose = (METRICS, "a result") if expect.model is None else (MODEL_METRICS, "one model")
        if expect.metric not in known:
            found.append(f"{expect.metric!r} is no number of {whose}: there are {', '.join(known)}")
    return found


def verdicts(comparison: Comparison, expected: Iterable[Expect]) -> Iterator[Verdict]:
    """Each expectation of each column, by the mean over the seeds; all are of known numbers. A model for which nobody
    asked has zeros."""
    for expect in expected:
        name = expect.metric if expect.model is None else f"{expect.metric} of {expect.model}"
        for column in _tried(comparison):
            numbers = column.numbers if expect.model is None else column.models.get(expect.model, {})
            value = numbers[expect.metric].mean if expect.metric in numbers else 0.0
            yield Verdict(
                policy=column.policy, metric=name, value=value, bound=expect.said(), holds=expect.holds(value)
            )


def best(comparison: Comparison, metric: str) -> frozenset[str]:
    """The columns with the best mean, and those that the seeds cannot tell from it; none where that is everybody.

    Every column met the same luck, so it is the differences seed by seed that count, not whether intervals overlap.
    """
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    columns = _tried(comparison)
    first = min(columns, key=lambda column: sign * column.numbers[metric].mean)
    found = frozenset(column.policy for column in columns if _alike(column, first, metric))
    return found if len(found) < len(columns) else frozenset()


def _tried(comparison: Comparison) -> list[Column]:
    return [column for column in comparison.columns if not column.measured]


def _alike(one: Column, other: Column, metric: str) -> bool:
    pairs = zip(one.runs, other.runs, strict=True)
    difference = number([float(getattr(mine, metric)) - float(getattr(its, metric)) for mine, its in pairs])
    return abs(difference.mean) <= (difference.half_width or 0.0)
