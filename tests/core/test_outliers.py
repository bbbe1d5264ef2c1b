"""Outliers on literal vectors: Envoy's published formulas and bounds, and a replica against its own habit."""

from math import inf

import pytest

from penstock.core.catalog import Target
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.outliers import (
    REASONS,
    Outliers,
    Reason,
    ejection_s,
    most_ejected,
    overdue,
    slow_over_s,
    success_threshold,
)
from penstock.core.spec import FailureShareSpec, LatencySpec, OutlierSpec, SuccessRateSpec
from tests.core.playbook import call, seat

ENVOYS = OutlierSpec(success_rate=SuccessRateSpec(gap=0.0), failure_share=FailureShareSpec(enabled=False))
"""Envoy's rule alone."""
SLOW = OutlierSpec(
    success_rate=SuccessRateSpec(enabled=False), failure_share=FailureShareSpec(enabled=False),
    latency=LatencySpec(enabled=True),
)  # fmt: skip


def some(count: int) -> list[Seat]:
    """So many seats: a, b, c, …"""
    return [seat(chr(ord("a") + number), number) for number in range(count)]


def after(spec: OutlierSpec, seats: list[Seat], ends: list[tuple[int, int]]) -> list[tuple[str, Reason]]:
    """Who is put out after an interval in which each of the seats served and failed so many."""
    outliers = Outliers(spec)
    outliers.sweep(seats, {})
    for each, (served, failed) in zip(seats, ends, strict=True):
        each.served += served
        each.failed += failed
    return [(found.id, reason) for found, reason in outliers.sweep(seats, {})]


# ===== Envoy's formulas =====


def test_the_threshold_is_envoys() -> None:
    """Success rates 50, 100, 100, 100, 100 and 1.9 deviations: mean 90, threshold 52 (Envoy's test SRThreshold)."""
    assert success_threshold([50, 100, 100, 100, 100], 1.9) == 52.0
    assert success_threshold([50, 100, 100, 100, 100], 0.0) == 90.0
    assert success_threshold([100.0], 1.9) == 100.0


@pytest.mark.parametrize(
    ("times", "lasts_s"), [(1, 30.0), (2, 60.0), (3, 90.0), (10, 300.0), (11, 300.0), (999, 300.0)]
)
def test_an_ejection_lasts_longer_each_time(times: int, lasts_s: float) -> None:
    """30 s times the number of ejections, at most 300 s; a longest time below the first one does not shorten it."""
    assert ejection_s(OutlierSpec(), times) == lasts_s
    assert ejection_s(OutlierSpec(ejection_s=60.0, ejection_max_s=10.0), times) == 60.0


@pytest.mark.parametrize(("replicas", "most"), [(1, 1), (5, 1), (10, 1), (19, 1), (20, 2), (30, 3), (1000, 100)])
def test_a_tenth_may_be_out_and_one_always(replicas: int, most: int) -> None:
    """10 % rounded down, and never less than one."""
    assert most_ejected(OutlierSpec(), replicas) == most


# ===== by success rate =====


def test_the_one_below_the_threshold_is_put_out() -> None:
    """Envoy's vector as traffic: with a sixth good replica 50 % is below the threshold, with five in all it is as well
    (50 < 52)."""
    good, bad = (100, 0), (50, 50)
    assert after(ENVOYS, some(5), [good, bad, good, good, good]) == [("b", "success_rate")]
    assert after(ENVOYS, some(6), [good, good, good, good, good, bad]) == [("f", "success_rate")]


def test_enough_replicas_with_enough_requests_are_needed() -> None:
    """Four that had 100 requests, or 99 requests at one of five, are no ground for a comparison."""
    good, bad = (100, 0), (50, 50)
    assert after(ENVOYS, some(4), [good, bad, good, good]) == []
    assert after(ENVOYS, some(5), [(99, 0), bad, good, good, good]) == []
    assert after(ENVOYS, some(6), [(99, 0), bad, good, good, good, good]) == [("b", "success_rate")]


def test_a_single_failure_among_the_flawless_is_none() -> None:
    """Nine flawless replicas and one with a failure in a hundred: Envoy's rule alone would put it out, the gap does
    not; six failures are enough."""
    nine = [(100, 0)] * 9
    assert after(ENVOYS, some(10), [*nine, (99, 1)]) == [("j", "success_rate")]
    assert after(OutlierSpec(), some(10), [*nine, (99, 1)]) == []
    assert after(OutlierSpec(), some(10), [*nine, (94, 6)]) == [("j", "success_rate")]


def test_where_all_fail_alike_nobody_is_odd() -> None:
    """A wave of failures everywhere puts nobody out by comparison, whatever their share."""
    assert after(ENVOYS, some(5), [(40, 60)] * 5) == []


# ===== by failure share =====


@pytest.mark.parametrize(
    ("failed", "put_out"), [(42, []), (43, [("a", "failure_share")]), (50, [("a", "failure_share")])]
)
def test_85_percent_of_failures_are_too_many(failed: int, put_out: list[tuple[str, Reason]]) -> None:
    """Of 50 requests 43 failures (86 %) put it out, 42 (84 %) do not; Envoy's failure percentage."""
    spec = OutlierSpec(success_rate=SuccessRateSpec(enabled=False))
    assert after(spec, some(5), [(50 - failed, failed), *[(50, 0)] * 4]) == put_out
    assert after(spec, some(4), [(50 - failed, failed), *[(50, 0)] * 3]) == []
    assert after(spec, some(5), [(50 - failed, failed), (49, 0), *[(50, 0)] * 3]) == []


def test_the_worst_go_first_and_the_bound_holds() -> None:
    """Of twenty, three fail: the two worst are put out; with one out already, one; who is out is not judged."""
    ends = [(3, 97), (10, 90), (0, 100), *[(100, 0)] * 17]
    assert after(OutlierSpec(), some(20), ends) == [("c", "failure_share"), ("a", "failure_share")]
    seats = some(20)
    seats[2].health.eject(True)
    assert after(OutlierSpec(), seats, ends) == [("a", "failure_share")]


def test_what_was_before_the_interval_does_not_count() -> None:
    """The first look only begins an interval, and a replica that came meanwhile is judged after one of its own."""
    seats, outliers = some(5), Outliers(OutlierSpec())
    for each in seats:
        each.served, each.failed = (0, 100) if each.id == "a" else (100, 0)
    assert outliers.sweep(seats, {}) == []
    assert outliers.sweep(seats, {}) == []
    newcomer = seat("a", 9)
    newcomer.failed = 100
    for each in seats[1:]:
        each.served += 100
    assert outliers.sweep([newcomer, *seats[1:]], {}) == []


def test_ejections_are_counted_by_reason() -> None:
    """The counts that metrics show, closed in number."""
    seats, outliers = some(5), Outliers(ENVOYS)
    outliers.sweep(seats, {})
    for each in seats:
        each.served += 100 if each.id != "a" else 20
        each.failed += 80 if each.id == "a" else 0
    outliers.sweep(seats, {})
    assert outliers.ejections == {"success_rate": 1, "failure_share": 0, "latency": 0}
    assert tuple(outliers.ejections) == REASONS


def test_the_fewest_that_can_be_compared() -> None:
    """Below it no clock need run: 5 by default, 3 with latency, none where nothing is compared."""
    assert Outliers(OutlierSpec()).fewest() == 5
    assert Outliers(SLOW).fewest() == 3
    assert Outliers(OutlierSpec(enabled=False)).fewest() is None
    nothing = OutlierSpec(success_rate=SuccessRateSpec(enabled=False), failure_share=FailureShareSpec(enabled=False))
    assert Outliers(nothing).fewest() is None


# ===== by time to first token =====


class Habits:
    """Seats with habits, and what is found when they begin answers."""

    def __init__(self, *habits_s: float) -> None:
        self.seats, self.outliers = some(len(habits_s)), Outliers(SLOW)
        self.outliers.sweep(self.seats, {})
        assert self.then(*([habit_s] * 10 for habit_s in habits_s)) == []

    def then(self, *took_s: list[float], stream: bool = True, waiting: dict[str, int] | None = None) -> list[str]:
        """Who is put out after an interval in which the seats' answers began after these times."""
        for each, times in zip(self.seats, took_s, strict=True):
            for time_s in times:
                each.began(time_s, stream, 10.0, 0.0)
        found = self.outliers.sweep(self.seats, waiting or {})
        assert all(reason == "latency" for _, reason in found)
        return [each.id for each, _ in found]


def test_what_is_slow_is_five_times_the_habit_and_two_seconds() -> None:
    """Both must be passed; without a habit, or switched off, nothing is slow."""
    rule = LatencySpec(enabled=True)
    assert slow_over_s(rule, 1.0) == 5.0
    assert slow_over_s(rule, 0.1) == 2.0
    assert slow_over_s(rule, None) == inf
    assert slow_over_s(LatencySpec(), 1.0) == inf


def test_a_replica_that_crawls_is_put_out() -> None:
    """Most of its first tokens take more than five times its habit while the others' do not."""
    habits = Habits(0.5, 0.5, 0.5, 0.5)
    assert habits.then([0.5] * 10, [3.0] * 10, [0.5] * 10, [0.6] * 10) == ["b"]


def test_the_honest_slower_half_stays() -> None:
    """Replicas that have always been ten times as slow are as they always were."""
    habits = Habits(0.2, 0.2, 2.0, 2.0)
    for _ in range(5):
        assert habits.then([0.2] * 10, [0.2] * 10, [2.0] * 10, [2.2] * 10) == []
    assert habits.then([0.2] * 10, [0.2] * 10, [2.0] * 10, [11.0] * 10) == ["d"]


def test_a_rush_puts_nobody_out() -> None:
    """Where more than a tenth of the others' calls are slow as well it is the load, or a wave of long prompts."""
    habits = Habits(0.5, 0.5, 0.5, 0.5)
    assert habits.then([3.0] * 10, [3.0] * 10, [3.0] * 10, [9.0] * 10) == []
    habits = Habits(0.5, 0.5, 0.5, 0.5)
    assert habits.then([0.5] * 8 + [3.0] * 2, [0.5] * 8 + [3.0] * 2, [0.5] * 10, [9.0] * 10) == []


def test_a_few_long_prompts_are_no_crawl() -> None:
    """Four slow ones of ten, however slow: most of its calls are as usual."""
    habits = Habits(0.5, 0.5, 0.5)
    assert habits.then([0.5] * 10, [0.5] * 6 + [60.0] * 4, [0.5] * 10) == []


def test_too_few_calls_say_nothing() -> None:
    """Four slow calls and no others are not enough, five are."""
    habits = Habits(0.5, 0.5, 0.5)
    assert habits.then([0.5] * 10, [9.0] * 4, [0.5] * 10) == []
    assert habits.then([0.5] * 10, [9.0] * 5, [0.5] * 10) == ["b"]


def test_whole_answers_are_not_looked_at() -> None:
    """How long an answer takes that is not streamed is a matter of its length."""
    habits = Habits(0.5, 0.5, 0.5)
    assert habits.then([0.5] * 10, [60.0] * 10, [0.5] * 10, stream=False) == []


def test_a_crawl_does_not_become_a_habit() -> None:
    """However long it lasts (no room to put it out, or back after its time), it stays one."""
    habits = Habits(0.5, 0.5, 0.5)
    for _ in range(50):
        assert habits.then([0.5] * 10, [5.0] * 10, [0.5] * 10) == ["b"]


def test_a_frozen_replica_is_found_by_who_waits_at_it() -> None:
    """Nothing begins there at all: calls that have waited for longer than is usual count as slow."""
    habits = Habits(0.5, 0.5, 0.5)
    assert habits.then([0.5] * 10, [], [0.5] * 10, waiting={"b": 4}) == []
    assert habits.then([0.5] * 10, [], [0.5] * 10, waiting={"b": 5}) == ["b"]


def test_who_is_overdue() -> None:
    """Streamed calls that wait for their first byte for longer than is slow at their replica; nobody else."""
    one, other = seat("a"), seat("b")
    one.slow_over_s = 2.0
    flights = []
    for at, where, stream, began in (
        (0.0, one, True, None), (7.9, one, True, None), (8.0, one, True, None), (0.0, one, False, None),
        (0.0, one, True, 1.0), (0.0, other, True, None), (0.0, None, True, None),
    ):  # fmt: skip
        flight = Flight(call(stream=stream), (Target("main", "m"),), 0.0)
        flight.seat, flight.sent_at, flight.began = where, at, began
        flights.append(flight)
    assert overdue(flights, 10.0) == {"a": 2}
