"""The ten pressure tests: which there are, with which mistakes each must fail, a small size of each, and the fleet of
who knows what comes.

Their scenarios are YAML files in `scenarios/`; who may open files reads them.
"""

from math import ceil
from typing import NamedTuple

from msgspec.structs import replace

from penstock.config.scenarios import Expect, Fault, Group, Scale, Scenario, Storm
from penstock.workload.combine import Cut, Merge, Spec, Thin


class Drill(NamedTuple):
    """One test."""

    number: int
    name: str
    """Of its file, without number."""
    told: str
    mistakes: tuple[str, ...]
    """With each of these it fails."""
    smaller: int
    """A small size has so many times fewer requests and replicas."""
    seeds: int = 20
    shorter_s: float | None = None
    """And only so much of its time; none: all."""

    @property
    def file(self) -> str:
        """Its scenario's file."""
        return f"{self.number:02}-{self.name}.yaml"


DRILLS = (
    Drill(1, "spike", "0 to 1,000 requests a second in 30 s", ("cpu_only", "tight_thresholds"), 7),
    Drill(2, "half-die", "half of the replicas die", ("no_failover",), 2),
    Drill(3, "cost-runaway", "a bug asks for endless replicas", ("no_ceiling",), 1),
    Drill(4, "region-dark", "a region goes dark", ("no_failover",), 2),
    Drill(5, "cold-start", "from none to a hundred replicas", ("cpu_only",), 10),
    Drill(6, "spot-storm", "80 % of the spot replicas are taken back in 2 min", ("no_drain",), 2),
    Drill(7, "oscillation", "10 and 1,000 requests a second by turns", ("no_cooldown",), 13),
    Drill(8, "burst", "10,000 requests at once", ("cpu_only",), 2),
    Drill(9, "steady-hour", "500 requests a second for an hour", ("cpu_only",), 8, 3, 600.0),
    Drill(10, "greedy-tenant", "one tenant asks for ten times as much", ("fifo",), 2),
)
"""In the order of their numbers."""

SIZES = frozenset({"replicas_peak", "ready_peak", "hourly_cost_peak"})
"""Criteria that are as large as the fleet."""
OF_SCALING = frozenset(
    {
        "first_scale_s", "reversals", "calm_reversals", "alarms", "hourly_cost_peak", "replicas_peak",
        "capacity_back_s",
    }
)  # fmt: skip
"""Criteria that a fleet which only stands there neither meets nor misses."""

# ===== a small size =====


def smaller(scenario: Scenario, times: int, shorter_s: float | None) -> Scenario:
    """The same with so many times fewer requests and replicas, and only so much of its time."""
    workload, calm_s = scenario.workload, scenario.calm_s
    if times > 1:
        workload = _thinned(workload, 1 / times)
    if shorter_s is not None:
        workload = Cut(to_s=shorter_s, of=workload)
        calm_s = None if calm_s is None else min(calm_s, shorter_s / 2)
    fleet = tuple(replace(group, count=_less(group.count, times)) for group in scenario.fleet)
    return replace(
        scenario, workload=workload, calm_s=calm_s, fleet=fleet, faults=_fewer(scenario, fleet),
        scale=None if scenario.scale is None else _smaller_scale(scenario.scale, times),
        expect=tuple(_sized(expect, times) for expect in scenario.expect),
    )  # fmt: skip


def _less(count: int, times: int) -> int:
    return max(1, round(count / times)) if count else 0


def _thinned(workload: Spec, keep: float) -> Spec:
    """A merge stays one, for its last part may be a greedy tenant."""
    if isinstance(workload, Merge):
        return replace(workload, of=tuple(Thin(keep=keep, of=part) for part in workload.of))
    return Thin(keep=keep, of=workload)


def _smaller_scale(scale: Scale, times: int) -> Scale:
    cost = scale.max_hourly_cost
    return replace(
        scale, min=_less(scale.min, times), max=ceil(scale.max / times),
        max_hourly_cost=None if cost is None else cost / times,
    )  # fmt: skip


def _sized(expect: Expect, times: int) -> Expect:
    if expect.metric not in SIZES:
        return expect
    low, high = expect.at_least, expect.at_most
    return replace(
        expect, at_least=None if low is None else low / times,
        at_most=None if high is None else (high if expect.metric == "hourly_cost_peak" else ceil(high)) / times,
    )  # fmt: skip


def _fewer(scenario: Scenario, fleet: tuple[Group, ...]) -> tuple[Fault, ...]:
    """Faults befall the same share of each group; one that would befall none is left out."""
    if fleet == scenario.fleet:
        return scenario.faults
    found: list[Fault] = []
    for fault in scenario.faults:
        if not fault.replicas:
            found.append(fault)
            continue
        hit: list[int] = []
        old = new = 0
        for was, group in zip(scenario.fleet, fleet, strict=True):
            of_it = [number for number in fault.replicas if old <= number < old + was.count]
            hit += range(new, new + round(len(of_it) * group.count / was.count) if was.count else new)
            old, new = old + was.count, new + group.count
        if hit:
            found.append(replace(fault, replicas=tuple(hit)))
    return tuple(found)


# ===== who knows what comes =====


def clairvoyant(scenario: Scenario, first: int | None = None) -> Scenario:
    """The same where the largest fleet is ordered with the first request: what is there at first (`first`: so many),
    and all the others after their start-up. Nobody who begins with that fleet, and whose replicas take so long, has
    more sooner."""
    scale = scenario.scale
    if scale is None:
        return scenario
    group = scenario.fleet[scale.group]
    there = group.count if first is None else first
    most = scale.max if scale.max_hourly_cost is None else min(scale.max, _affordable(scale, group))
    fleet = list(scenario.fleet)
    fleet[scale.group] = replace(group, startup_s=0.0)
    more = replace(group, count=max(0, there - group.count), startup_s=0.0)
    late = replace(group, count=max(0, most - there))
    fleet += [one for one in (more, late) if one.count]
    faults = tuple(fault for fault in scenario.faults if not isinstance(fault, Storm))  # it has as many on demand
    return replace(scenario, fleet=tuple(fleet), scale=None, faults=faults)


def _affordable(scale: Scale, group: Group) -> int:
    price = group.money_per_hour()
    assert scale.max_hourly_cost is not None
    return int(scale.max_hourly_cost / price + 1e-9) if price else scale.max


def without_greed(workload: Spec) -> Spec:
    """The workload without its last part."""
    assert isinstance(workload, Merge)
    return replace(workload, of=workload.of[:-1])
