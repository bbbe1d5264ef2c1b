"""Policies side by side: the same luck for all, means with their intervals, and verdicts."""

import pytest

from penstock.config.scenarios import Expect, Policy
from penstock.core.route.presets import LeastLoaded, RoundRobin
from penstock.sim.compare import Comparison, best, compare, number, verdicts
from tests.sim.support import scenario, steady


def compared() -> Comparison:
    """Two policies and two seeds."""
    made = scenario(seeds=(1, 2))
    policies = {"a": Policy(strategy=RoundRobin()), "b": Policy(strategy=LeastLoaded())}
    return compare(made, policies, lambda seed: steady(30 * seed), lambda policy, seed: None)


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


def test_the_best_is_the_least_time_and_the_most_goodput() -> None:
    """Which way is better depends on the number."""
    found = compared()
    ttft = {column.policy: column.numbers["ttft_p95_s"].mean for column in found.columns}
    assert best(found, "ttft_p95_s") == min(ttft, key=lambda name: ttft[name])
    good = {column.policy: column.numbers["goodput"].mean for column in found.columns}
    assert best(found, "goodput") == max(good, key=lambda name: good[name])


def test_expectations_are_held_against_each_policy() -> None:
    """What holds and what is missed, with the value that was found."""
    found = list(verdicts(compared(), [Expect(metric="failed", at_most=0.0), Expect(metric="requests", at_least=46.0)]))
    assert [(it.policy, it.metric, it.holds) for it in found] == [
        ("a", "failed", True), ("b", "failed", True), ("a", "requests", False), ("b", "requests", False),
    ]  # fmt: skip
    assert found[2].bound == "at least 46"


def test_an_unknown_number_is_named_with_those_that_there_are() -> None:
    """A slip in a scenario file is told."""
    with pytest.raises(ValueError, match="'ttft' is no number of a result: there are requests, ok"):
        list(verdicts(compared(), [Expect(metric="ttft")]))
