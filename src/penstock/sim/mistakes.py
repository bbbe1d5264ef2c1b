"""Mistakes in how a fleet is run, as changes of a scenario: a pressure test that passes with one of its own mistakes
proves nothing.

Each makes one mistake and leaves all else as it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from penstock.config.scenarios import Die, Fault, Scenario, Spot, Storm
from penstock.core.scale.spec import DownPace, GpuTarget, Targets, UpPace, UtilisationTarget
from penstock.core.spec import BreakerSpec, OutlierSpec, RetrySpec
from penstock.sim.compare import Trial
from penstock.sim.opponents import OPPONENTS

NEVER = 1_000_000
TEN_TIMES = 10
"""A largest number so far off stands for none: that many engines can still be simulated."""


class Mistake(NamedTuple):
    """One of them."""

    told: str
    trial: Callable[[Scenario], Trial]


def _cpu_only(scenario: Scenario) -> Trial:
    targets = Targets(utilisation=None, queue=None, gpu=GpuTarget())
    return _scaled(scenario, targets=targets, reads_cpu=True)


def _no_cooldown(scenario: Scenario) -> Trial:
    up = UpPace(stabilisation_s=0.0, period_s=1.0)
    down = DownPace(stabilisation_s=0.0, cooldown_s=0.0, percent=100.0, replicas=NEVER, period_s=1.0, starts=0.0)
    return _scaled(scenario, up=up, down=down)


def _tight_thresholds(scenario: Scenario) -> Trial:
    """Without the panic window: with it no test finds this mistake. The window looks at twice what is ready, which a
    target of 0.95 puts off by a second or two of a spike, and then grows without looking at the thresholds."""
    targets = Targets(utilisation=UtilisationTarget(target=0.95, up=0.95, down=0.9), queue=None)
    return _scaled(scenario, targets=targets, panic=None)


def _no_ceiling(scenario: Scenario) -> Trial:
    scale = scenario.scale
    return _scaled(scenario, max=TEN_TIMES * (1 if scale is None else scale.max), max_hourly_cost=None)


def _no_drain(scenario: Scenario) -> Trial:
    return _trial(replace(scenario, faults=tuple(map(_unheard, scenario.faults))))


def _unheard(fault: Fault) -> Fault:
    """Nobody hears of the notice: it is there until it is not."""
    if isinstance(fault, Storm):
        return replace(fault, at_s=fault.at_s + fault.notice_s, notice_s=0.0)
    if not isinstance(fault, Spot):
        return fault
    for_s = None if fault.for_s is None else fault.for_s - fault.notice_s
    return Die(at_s=fault.at_s + fault.notice_s, for_s=for_s, replicas=fault.replicas)


def _no_failover(scenario: Scenario) -> Trial:
    policy = replace(
        scenario.policy, retries=RetrySpec(attempts=1), hedge=None, outliers=OutlierSpec(enabled=False),
        probe=replace(scenario.policy.probe, unhealthy_after=NEVER),
        breaker=BreakerSpec(suspect_after=NEVER, failures=NEVER),
    )  # fmt: skip
    faults = tuple(replace(it, noticed=False) if isinstance(it, Die) else it for it in scenario.faults)
    return _trial(replace(scenario, policy=policy, faults=faults))


def _fifo(scenario: Scenario) -> Trial:
    opposed = OPPONENTS["global_fifo"].trial(scenario, scenario.policy)
    return Trial(replace(scenario, policy=opposed.policy), opposed.policy, opposed.shape)


def _trial(scenario: Scenario) -> Trial:
    return Trial(scenario, scenario.policy)


def _scaled(scenario: Scenario, **changes: Any) -> Trial:
    scale = scenario.scale
    return _trial(scenario if scale is None else replace(scenario, scale=replace(scale, **changes)))


MISTAKES: dict[str, Mistake] = {
    "cpu_only": Mistake("scaled by the CPUs of the engines' hosts alone", _cpu_only),
    "no_cooldown": Mistake("no stabilisation, no cooldown, no pace", _no_cooldown),
    "tight_thresholds": Mistake(
        "grows above 95 % of the seats, shrinks below 90 %, no panic window", _tight_thresholds
    ),
    "no_ceiling": Mistake("a largest number ten times as high, and no bound by cost", _no_ceiling),
    "no_drain": Mistake("notices of spot replicas are not heard", _no_drain),
    "fifo": Mistake("first come, first served: no tenants", _fifo),
    "no_failover": Mistake("one attempt, no hedge, and nobody notices who is dead", _no_failover),
}
"""By name."""
