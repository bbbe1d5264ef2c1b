"""Policies side by side: the same luck for all, means with their intervals, and verdicts."""

import pytest
from msgspec.structs import replace

from penstock.config.scenarios import Expect, Policy
from penstock.core.route.presets import LeastLoaded, RoundRobin
from penstock.sim.compare import Column, Comparison, Trial, best, compare, number, unknown, verdicts
from tests.sim.support import scenario, steady


def compared() -> Comparison:
    """Two policies and two seeds."""
    made = scenario(seeds=(1, 2))
    trials = {"a": Trial(made, Policy(strategy=RoundRobin())), "b": Trial(made, Policy(strategy=LeastLoaded()))}
    return compare(trials, made.seeds, lambda seed: steady(30 * seed), lambda policy, seed: None)


def test_an_interval_is_students() -> None:
    """Of 1, 2, 3: mean 2, and 4.30 × 1/√3 to either side."""
    found = number([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.30 / 3**0.5)


def test_one_seed_has_no_interval() -> None:
    """Nothing is known of the spread."""
    assert number([5.0]).half_width is None


def test_every_policy_meets_every_seed() -> None:
    """Two policies, two seeds: four runs, and each seed's workload is the same for both."""
    found = compared()
    assert [column.policy for column in found.columns] == ["a", "b"]
    assert [[run.requests for run in column.runs] for column in found.columns] == [[30, 60], [30, 60]]
    assert found.columns[0].numbers["requests"].mean == 45.0


def told(**numbers: list[float]) -> Comparison:
    """Columns by their p95 of each seed; their goodput is the same number."""
    run = compared().columns[0].runs[0]
    columns = [
        Column(
            policy=name, numbers={metric: number(values) for metric in ("ttft_p95_s", "goodput")},
            runs=[replace(run, ttft_p95_s=value, goodput=value) for value in values],
        )
        for name, values in numbers.items()
    ]  # fmt: skip
    return Comparison(seeds=[1, 2, 3], columns=columns)


def test_the_best_is_the_least_time_and_the_most_goodput() -> None:
    """Which way is better depends on the number."""
    found = told(a=[1.0, 1.1, 1.2], b=[2.0, 2.1, 2.2])
    assert best(found, "ttft_p95_s") == {"a"}
    assert best(found, "goodput") == {"b"}


def test_the_luck_of_the_seeds_is_taken_out_before_it_is_judged() -> None:
    """A small difference that every seed shows counts; one that they do not all show does not."""
    assert best(told(a=[1.0, 5.0, 9.0], b=[1.1, 5.1, 9.1]), "ttft_p95_s") == {"a"}
    assert best(told(a=[1.0, 5.0, 9.0], b=[0.9, 5.3, 9.0], c=[8.0, 15.0, 19.0]), "ttft_p95_s") == {"a", "b"}


def test_nobody_is_best_where_all_are_alike() -> None:
    """Equal columns have no mark."""
    assert best(told(a=[1.0, 1.0, 1.0], b=[1.0, 1.0, 1.0]), "ttft_p95_s") == frozenset()


def test_expectations_are_held_against_each_policy() -> None:
    """What holds and what is missed, with the value that was found."""
    found = list(verdicts(compared(), [Expect(metric="failed", at_most=0.0), Expect(metric="requests", at_least=46.0)]))
    assert [(it.policy, it.metric, it.holds) for it in found] == [
        ("a", "failed", True), ("b", "failed", True), ("a", "requests", False), ("b", "requests", False),
    ]  # fmt: skip
    assert found[2].bound == "at least 46"


def test_an_unknown_number_is_named_with_those_that_there_are() -> None:
    """A slip in a scenario file is told."""
    (mistake,) = unknown([Expect(metric="ttft"), Expect(metric="failed")])
    assert mistake.startswith("'ttft' is no number of a result: there are requests, ok")
