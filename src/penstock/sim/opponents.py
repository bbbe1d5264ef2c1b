"""The known mistakes, as trials that any policy can be compared with.

Each makes one mistake and is otherwise the scenario's own policy over the scenario's own fleet. Where a mistake is a
matter of strategy it has the plainest one, so that nothing else makes up for it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.config.scenarios import Fault, Group, Policy, Scenario
from penstock.core.route.presets import LeastConnections, Random, RoundRobin
from penstock.core.spec import StickySpec
from penstock.sim.compare import Trial, fleets
from penstock.workload.request import NORMAL, Request

MARK = "opponent:"
"""Before an opponent's name, so that it is not taken for a strategy."""
NO_BOUND = 1_000_000
"""Seats of a replica that nobody counts."""
FOR_EVER_S = 86_400.0


class Opponent(NamedTuple):
    """A mistake."""

    told: str
    """What it does, in words."""
    trial: Callable[[Scenario, Policy], Trial]


def _single_instance(scenario: Scenario, policy: Policy) -> Trial:
    firsts: dict[str, Group] = {}
    numbers: dict[int, int] = {}
    start = 0
    for group in scenario.fleet:
        if group.pool not in firsts:
            if group.count:
                numbers[start] = len(firsts)
            firsts[group.pool] = replace(group, count=1, joins_s=0.0)
        start += group.count
    faults = tuple(left for fault in scenario.faults if (left := _of_these(fault, numbers)) is not None)
    return Trial(replace(scenario, fleet=tuple(firsts.values()), faults=faults, scale=None), policy)


def _of_these(fault: Fault, numbers: Mapping[int, int]) -> Fault | None:
    """What is left of a fault where there are only these replicas; old numbers -> new ones."""
    if not fault.replicas:
        return fault
    left = tuple(numbers[number] for number in fault.replicas if number in numbers)
    return replace(fault, replicas=left) if left else None


def _in_all_pools(scenario: Scenario, policy: Policy, change: Callable[[Policy], Policy]) -> Trial:
    """The change in the scenario's policy and in those that its pools have of their own."""
    if scenario.pools:
        pools = {
            name: pool if pool.policy is None else replace(pool, policy=change(pool.policy))
            for name, pool in scenario.pools.items()
        }
        scenario = replace(scenario, pools=pools)
    return Trial(scenario, change(policy))


def _sticky_sessions(scenario: Scenario, policy: Policy) -> Trial:
    def pinned(each: Policy) -> Policy:
        sticky = StickySpec(header="x-session-id", ttl_s=FOR_EVER_S, pin=True, pin_wait_s=each.queue.timeout_s)
        return replace(each, strategy=RoundRobin(), sticky=sticky)

    return _in_all_pools(scenario, policy, pinned)


def _random(scenario: Scenario, policy: Policy) -> Trial:
    return _in_all_pools(scenario, policy, lambda each: replace(each, strategy=Random(), sticky=None))


def _blind_round_robin(scenario: Scenario, policy: Policy) -> Trial:
    return _in_all_pools(
        _without_seats(scenario), policy, lambda each: _unbounded(replace(each, strategy=RoundRobin(), sticky=None))
    )


def _global_fifo(scenario: Scenario, policy: Policy) -> Trial:
    """By score, equal for all, is by arrival: whose call it is stays known, to be counted, and decides nothing."""

    def one_line(each: Policy) -> Policy:
        return replace(each, queue=replace(each.queue, order="score", max_share=1.0, max_per_tenant=None))

    return _in_all_pools(scenario, policy, one_line)._replace(shape=_without_class)


def _without_class(request: Request) -> Request:
    return replace(request, priority=NORMAL, deadline_ns=None)


def _no_bound(scenario: Scenario, policy: Policy) -> Trial:
    return _in_all_pools(
        _without_seats(scenario), policy, lambda each: _unbounded(replace(each, strategy=LeastConnections()))
    )


def _without_seats(scenario: Scenario) -> Scenario:
    return replace(scenario, fleet=tuple(replace(group, seats=NO_BOUND, weight=1.0) for group in scenario.fleet))


def _unbounded(policy: Policy) -> Policy:
    """Whoever sends everything at once does not ask how long the engines' queues are, either."""
    queue = replace(policy.queue, max_in_flight=None)
    return replace(policy, queue=queue, probe=replace(policy.probe, max_waiting=None))


OPPONENTS: dict[str, Opponent] = {
    "single_instance": Opponent(
        "one replica, the fleet's (of pools: each pool's) first, gets everything", _single_instance
    ),
    "sticky_sessions": Opponent(
        "the first call of a session has its turn, and all later ones wait for that replica", _sticky_sessions
    ),
    "random": Opponent("any replica with a free seat, by lot", _random),
    "blind_round_robin": Opponent("each replica in turn, whatever it is and however much it has", _blind_round_robin),
    "global_fifo": Opponent("one queue, first come: no tenants, no priorities, no deadlines", _global_fifo),
    "no_bound": Opponent("everything is sent to the engines at once, where fewest calls are", _no_bound),
}
"""By name."""

TOLD = f"or mistakes that are often made: {', '.join(MARK + name for name in OPPONENTS)}, or opponents: all of these"
"""For who asks what there is."""


def split(names: str | None) -> tuple[str | None, list[str]]:
    """A list of names with commas, parted into strategies (None: there are none) and opponents without their mark.
    Raises ConfigError for an opponent that there is not."""
    strategies: list[str] = []
    found: list[str] = []
    for name in map(str.strip, names.split(",") if names else ()):
        if name == "opponents":
            found += OPPONENTS
        elif not name.startswith(MARK):
            strategies.append(name)
        elif name.removeprefix(MARK) in OPPONENTS:
            found.append(name.removeprefix(MARK))
        else:
            raise ConfigError([f"--strategies: {name!r} is none: there are {', '.join(MARK + it for it in OPPONENTS)}"])
    return ",".join(strategies) or None, found


def opposed(trials: Mapping[str, Trial], names: list[str]) -> dict[str, Trial]:
    """These opponents over each fleet that is tried."""
    return {
        f"{MARK}{name}{mark}": OPPONENTS[name].trial(scenario, scenario.policy)
        for mark, scenario in fleets(trials).items()
        for name in names
    }
