"""Scores for unlike replicas, and for what engines have in memory, on literal numbers."""

from math import exp
from typing import Any

import pytest

from penstock.base.nouns import Compatibility
from penstock.base.rand import Rand
from penstock.core.events import Began, Ended, FleetSeen, Observed
from penstock.core.gate import Gate
from penstock.core.load import Seat
from penstock.core.route.pipeline import build
from penstock.core.route.presets import Adaptive, ResourceBased
from penstock.core.route.resources import Cheapness, Compatible, InMemory, Knee, Performance, Reliability
from tests.core.playbook import arrived, call, fleet, gate, house, pool, refusals, replica, seat, sends, stats

LEVELS: tuple[Compatibility, ...] = ("native", "optimised", "compatible", "basic")


def whole(id: str, took_s: float | None, **fields: Any) -> Seat:
    """A seat whose answers take so long."""
    made = seat(id, **fields)
    if took_s is not None:
        made.ended(took_s, 0.0)
    return made


def scorers(made: Gate) -> int:
    """How many scores the pool's strategy weighs."""
    return len(made._fleet.pools["main"].pipeline.scorers)


def test_compatibility_is_as_configured() -> None:
    """Native 1, optimised .9, compatible .7, basic .5; what is not named is native."""
    seats = [seat(level, compatibility={"m": level, "n": "basic"}) for level in LEVELS]
    assert Compatible().score(call(), seats, 0.0) == [1.0, 0.9, 0.7, 0.5]
    assert Compatible().score(call(model="other"), seats, 0.0) == [1.0] * 4


def test_an_unsupported_model_is_never_sent_there() -> None:
    """Whatever the strategy; where it is the only one, the call waits in vain. Other models go there."""
    made = house("a", seats=8, models=("m", "n"))
    made.on(FleetSeen((replica("a", compatibility={"m": "unsupported"}, max_concurrent_requests=8),)), 0.0)
    assert sends(made.on(arrived("n", model="n"), 0.0)) == [("n", "a")]
    assert sends(made.on(arrived("m"), 0.0)) == []
    made.on(FleetSeen((replica("a", compatibility={"m": "unsupported"}), replica("b"))), 1.0)
    assert sends(made.on(arrived("m2"), 1.0)) == []  # `b` has served the one that waited
    assert made.counts()["seats_taken"] == 2


def test_performance_is_what_is_left_of_the_time() -> None:
    """10 s of 30 s leave two thirds; who cannot make it scores 0; a call may say another time; old means fade; an
    unmeasured one is as the best."""
    seats = [whole("a", 10.0), whole("b", 31.0), whole("c", None)]
    assert Performance(30.0).score(call(), seats, 0.0) == [pytest.approx(2 / 3), 0.0, pytest.approx(2 / 3)]
    assert Performance(30.0).score(call(latency_s=9.0), seats, 0.0) == [0.0, 0.0, 0.0]
    assert Performance(30.0).score(call(latency_s=62.0), seats[1:2], 0.0) == [0.5]
    assert Performance(30.0).score(call(), seats[1:2], 60.0) == [pytest.approx(1 - 31 * exp(-1) / 30)]
    assert Performance(30.0).score(call(), seats[2:], 0.0) == [1.0]
    assert Performance(30.0).score(call(latency_s=0.0), seats, 0.0) == [0.0, 0.0, 0.0]


def test_load_is_best_up_to_70_percent_and_steep_above() -> None:
    """F3 of in-flight alone is 0.7 at all seats taken: only a queue at the engine brings it above."""
    seats = [seat(str(n), in_flight=n) for n in (0, 4, 8)]
    for each, waiting in zip(seats, (0, 0, 50), strict=True):
        each.observed(stats(waiting=waiting), 10.0, 0.0)
    assert Knee().score(call(), seats, 1.0) == [1.0, 1.0, pytest.approx(0.5)]
    seats[2].observed(stats(waiting=100), 10.0, 0.0)
    assert Knee().score(call(), seats, 1.0)[2] == pytest.approx(0.0)


def test_reliability_is_the_share_that_did_not_fail() -> None:
    """One failure after none costs a tenth (α = .1), and fades."""
    failing = seat("a")
    failing.outcome(True, 0.0)
    assert Reliability().score(call(), [failing, seat("b")], 0.0) == [pytest.approx(0.9), 1.0]
    assert Reliability().score(call(), [failing], 60.0) == [pytest.approx(1 - 0.1 * exp(-1))]


def test_the_cheapest_is_best() -> None:
    """The lowest price / its own; free is as cheap as can be."""
    prices = [seat(str(cost), hourly_cost=cost) for cost in (2.0, 4.0, 8.0)]
    assert Cheapness().score(call(), prices, 0.0) == [1.0, 0.5, 0.25]
    assert Cheapness().score(call(), [*prices, seat("free")], 0.0) == [0.0, 0.0, 0.0, 1.0]


def test_resource_based_is_the_promised_weighted_sum() -> None:
    """.30 compatibility + .25 performance + .20 load + .15 reliability + .10 cost."""
    one = whole("a", 15.0, hourly_cost=4.0)
    other = whole("b", 6.0, hourly_cost=2.0, compatibility={"m": "basic"})
    other.outcome(True, 0.0)
    assert build(ResourceBased(), Rand(1)).scores(call(), [one, other], 0.0) == pytest.approx([
        0.3 * 1.0 + 0.25 * 0.5 + 0.2 * 1.0 + 0.15 * 1.0 + 0.1 * 0.5,
        0.3 * 0.5 + 0.25 * 0.8 + 0.2 * 1.0 + 0.15 * 0.9 + 0.1 * 1.0,
    ])  # fmt: skip


def test_whole_answers_are_timed_only_for_who_reads_it() -> None:
    """A pool of another strategy pays nothing; with resource_based the first answer's time is known."""
    for strategy, known in ((ResourceBased(), 3.0), (Adaptive(), None)):
        made = gate(pool(strategy=strategy))
        made.on(fleet("a"), 0.0)
        made.on(arrived("c", stream=True), 0.0)
        made.on(Began("c", 1), 1.0)
        made.on(Ended("c", 1, 200), 3.0)
        assert made._fleet.seats["a"].whole_s == known


def test_the_served_name_counts_not_the_alias() -> None:
    """A call by an alias is judged by the model that it stands for."""
    made = gate(pool(strategy=ResourceBased()), aliases={"nick": "m"})
    basic = replica("a", compatibility={"m": "basic"}, max_concurrent_requests=8)
    made.on(FleetSeen((basic, replica("b", max_concurrent_requests=8))), 0.0)
    assert {sends(made.on(arrived(f"c{n}", model="nick"), 0.0))[0][1] for n in range(5)} == {"b"}


def test_adapters_score_as_published() -> None:
    """llm-d's: active 1, a free slot .8, waiting .6, none free 0; who says nothing counts as a free slot."""
    told = [
        stats(loras_running=("m",), loras_waiting=(), lora_slots=1),
        stats(loras_running=("x",), loras_waiting=(), lora_slots=2),
        stats(loras_running=("x",), loras_waiting=("m",), lora_slots=1),
        stats(loras_running=("x",), loras_waiting=("y",), lora_slots=2),
    ]
    seats = [seat(str(n)) for n in range(5)]
    for each, said in zip(seats, told, strict=False):
        each.observed(said, 10.0, 0.0)
    assert InMemory().score(call(), seats, 1.0) == [1.0, 0.8, 0.6, 0.0, 0.8]
    assert InMemory().score(call(model="base"), seats, 1.0) == [1.0] * 5
    assert InMemory().score(call(), seats, 10.0) == [1.0] * 5


def test_a_loaded_model_is_preferred_by_its_upstream_name() -> None:
    """Who would have to load it first scores 0; where nobody has it all are alike."""
    seats = [seat("a", models={"m": "m:70b"}), seat("b", models={"m": "m:70b"})]
    seats[0].observed(stats(loaded=("other",)), 10.0, 0.0)
    seats[1].observed(stats(loaded=("m:70b",)), 10.0, 0.0)
    assert InMemory().score(call(), seats, 1.0) == [0.0, 1.0]
    assert InMemory().score(call(), seats[:1], 1.0) == [1.0]


def test_adaptive_prefers_who_has_it_once_an_engine_tells() -> None:
    """Nothing is asked before; then a busier replica with the adapter wins against an idle one without, until it is
    much busier. A strategy that does not weigh it is left alone."""
    made = house("a", "b", seats=8, strategy=Adaptive())
    assert scorers(made) == 5
    made.on(Observed("b", stats(kv_usage=0.1)), 0.0)
    assert scorers(made) == 5
    for _ in range(2):
        made.on(Observed("a", stats(kv_usage=0.1, loras_running=(), loras_waiting=(), lora_slots=1)), 0.0)
        made.on(Observed("b", stats(kv_usage=0.1, loras_running=("m",), loras_waiting=(), lora_slots=1)), 0.0)
    assert scorers(made) == 6
    assert [sends(made.on(arrived(f"c{n}"), 0.0))[0][1] for n in range(3)] == ["b", "b", "a"]
    plain = house("a", strategy=Adaptive(affinity=0.0))
    plain.on(Observed("a", stats(loaded=("m",))), 0.0)
    assert scorers(plain) == 5
    assert refusals(plain.on(arrived("c"), 0.0)) == []
