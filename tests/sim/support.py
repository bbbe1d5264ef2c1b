"""Small scenarios for the simulator's tests."""

from typing import Any

from penstock.config.scenarios import Group, Policy, Scenario
from penstock.core.route.presets import RoundRobin
from penstock.workload.combine import Trace
from penstock.workload.request import NS, Request


def scenario(**fields: Any) -> Scenario:
    """Two quick replicas of four seats, round robin; the workload is handed to the run by the test."""
    plain: dict[str, Any] = {
        "workload": Trace(file="azure"),
        "fleet": (Group(count=2, cost="fast", seats=4),),
        "policy": Policy(strategy=RoundRobin()),
        "seeds": (1,),
    }
    return Scenario(**{**plain, **fields})


def request(at_s: float, prompt_tokens: int = 100, output_tokens: int = 10, **fields: Any) -> Request:
    """A request at a time in seconds."""
    return Request(int(at_s * NS), prompt_tokens, output_tokens, **fields)


def steady(count: int, every_s: float = 0.01, **fields: Any) -> list[Request]:
    """Requests that are all alike, one after the other."""
    return [request(number * every_s, **fields) for number in range(count)]
