"""How strategies share traffic, in a small world in virtual time with fixed luck: equal gets equal, new gets its share,
slow gets less."""

from collections import Counter

import pytest

from penstock.core.gate import Gate
from penstock.core.route.presets import (
    Adaptive,
    LeastConnections,
    LeastLoaded,
    LeastResponseTime,
    P2CPeakEwma,
    ResourceBased,
    RoundRobin,
    Strategy,
    WeightedRoundRobin,
)
from penstock.core.spec import BreakerSpec, SlowStartSpec
from tests.core.crowd import serve
from tests.core.playbook import fleet, house, replica

ALL: list[Strategy] = [
    RoundRobin(), WeightedRoundRobin(), LeastConnections(), LeastLoaded(), P2CPeakEwma(), Adaptive(),
    LeastResponseTime(), ResourceBased(),
]  # fmt: skip
MEASURING: list[Strategy] = [P2CPeakEwma(), Adaptive(), LeastResponseTime()]


def named(strategy: Strategy) -> str:
    """The name of a strategy for a test's id."""
    return str(strategy.__struct_config__.tag)


def alike(strategy: Strategy, count: int, seats: int = 64) -> Gate:
    """A Gate over so many replicas of the same kind."""
    ids = [f"r{n}" for n in range(count)]  # what the strategy itself does with a new one is asked: no slow start
    return house(*ids, strategy=strategy, seats=seats, breaker=BreakerSpec(), slow_start=SlowStartSpec(window_s=0))


@pytest.mark.parametrize("strategy", ALL, ids=named)
def test_equal_replicas_get_equal_load(strategy: Strategy) -> None:
    """Under steady load (about eight calls in flight at each of four) nobody is more than 15 % off the mean:
    equals are chosen by lot, which alone leaves some 6 %."""
    sent = serve(alike(strategy, 4), 32.0, lambda _: 0.2, lambda _: 1.0, until=30.0)
    mean = sum(sent.values()) / 4
    assert len(sent) == 4
    assert max(abs(count - mean) for count in sent.values()) < 0.15 * mean


@pytest.mark.parametrize("strategy", MEASURING, ids=named)
@pytest.mark.parametrize(
    ("count", "rate", "first_byte_s", "whole_s"),
    [(2, 1.0, 0.05, 1.0), (2, 2.0, 5.0, 20.0), (4, 4.0, 0.5, 3.0), (8, 4.0, 0.05, 1.0)],
)
def test_a_new_replica_is_neither_flooded_nor_starved(
    strategy: Strategy, count: int, rate: float, first_byte_s: float, whole_s: float
) -> None:
    """A replica that joins measured ones gets its share within the first minute, for quick and slow models, light and
    heavy load: between 0.6 and 1.5 of the mean."""
    gate = alike(strategy, count - 1)
    serve(gate, rate, lambda _: first_byte_s, lambda _: whole_s, until=60.0)
    gate.on(fleet(*(f"r{n}" for n in range(count)), max_concurrent_requests=64), 100.0)
    sent = serve(gate, rate, lambda _: first_byte_s, lambda _: whole_s, start=100.0, until=160.0)
    mean = sum(sent.values()) / count
    assert 0.6 * mean <= sent[f"r{count - 1}"] <= 1.5 * mean


@pytest.mark.parametrize("strategy", MEASURING, ids=named)
def test_a_burst_does_not_all_run_to_the_new_replica(strategy: Strategy) -> None:
    """Forty calls at one moment, before the new one has answered a single one: it gets its quarter, not the herd."""
    gate = alike(strategy, 3)
    serve(gate, 8.0, lambda _: 1.0, lambda _: 2.0, until=20.0)
    gate.on(fleet("r0", "r1", "r2", "r3", max_concurrent_requests=64), 40.0)
    sent = serve(gate, 4000.0, lambda _: 1.0, lambda _: 2.0, start=40.0, until=40.01)
    assert sum(sent.values()) > 30
    assert 0.1 <= sent["r3"] / sum(sent.values()) <= 0.4


def half_speed(strategy: Strategy, until: float = 40.0) -> Counter[str]:
    """Calls by replica, where r0 takes twice as long as r1 and r2."""

    def times(quick: float) -> "dict[str, float]":
        return {"r0": 2 * quick, "r1": quick, "r2": quick}

    gate = alike(strategy, 3, seats=16)
    return serve(gate, 12.0, times(0.3).__getitem__, times(1.0).__getitem__, until=until)


@pytest.mark.parametrize(
    "strategy", [LeastLoaded(), Adaptive(), P2CPeakEwma(), LeastConnections(), LeastResponseTime()], ids=named
)
def test_a_half_speed_replica_gets_less_than_by_turns(strategy: Strategy) -> None:
    """Turns give the slow one a third; whoever looks at load or speed gives it clearly less, and still something."""
    turns = half_speed(RoundRobin())
    assert abs(turns["r0"] / sum(turns.values()) - 1 / 3) < 0.01
    looked = half_speed(strategy)
    assert 0.02 < looked["r0"] / sum(looked.values()) < 0.28


def test_weights_share_the_traffic() -> None:
    """A replica of weight 2 gets twice the calls of one of weight 1."""
    gate = alike(WeightedRoundRobin(), 2)
    gate.on(fleet("r0", weight=2.0, max_concurrent_requests=64), 0.0)
    both = (replica("r0", weight=2.0, max_concurrent_requests=64), replica("r1", max_concurrent_requests=64))
    gate.on(type(fleet())(both), 0.0)
    sent = serve(gate, 30.0, lambda _: 0.1, lambda _: 0.2, until=10.0)
    assert sent["r0"] / sent["r1"] == pytest.approx(2.0, abs=0.02)
