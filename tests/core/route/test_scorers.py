"""Scores on literal numbers: between 0 and 1, in the order of the seats, and changing nothing."""

from math import exp

import pytest

from penstock.core.load import Seat
from penstock.core.route.scorers import Errors, FewestInFlight, Gpu, Latency, Load, ResponseTime, Scorer
from tests.core.playbook import call, seat, stats

STREAMED, WHOLE = call(stream=True), call(stream=False)


def test_fewest_in_flight() -> None:
    """1 / (1 + n)."""
    assert FewestInFlight().score(WHOLE, [seat(in_flight=n) for n in (0, 1, 3)], 0.0) == [1.0, 0.5, 0.25]


def test_load_is_one_minus_f3() -> None:
    """The scorer and the view agree, fresh numbers or stale."""
    made = seat(in_flight=4)
    made.observed(stats(waiting=50), 10.0, 0.0)
    assert Load().score(WHOLE, [made], 5.0) == [pytest.approx(1 - 0.35 - 0.15)]
    for now in (5.0, 10.0):
        assert Load().score(WHOLE, [made], now) == [pytest.approx(1 - made.load_at(now))]


def test_latency_is_reference_over_reference_plus_mean() -> None:
    """At the reference one half; TTFT for streams, whole answers for others; faded by e^(−Δt/60 s)."""
    made = seat()
    made.began(1.0, True, 10.0, 0.0)
    made.began(3.0, False, 10.0, 0.0)
    assert Latency(1.0).score(STREAMED, [made], 0.0) == [0.5]
    assert Latency(1.0).score(WHOLE, [made], 0.0) == [0.25]
    assert Latency(3.0).score(WHOLE, [made], 60.0) == [pytest.approx(1 / (1 + exp(-1)))]


def test_an_unmeasured_replica_counts_as_the_best_measured_one() -> None:
    """Neither better than anybody nor worse than all; with nobody measured all are alike."""
    slow, quick, fresh = seat("a"), seat("b"), seat("c")
    assert len(set(Latency(1.0).score(STREAMED, [slow, quick, fresh], 0.0))) == 1
    slow.began(3.0, True, 10.0, 0.0)
    quick.began(1.0, True, 10.0, 0.0)
    assert Latency(1.0).score(STREAMED, [slow, quick, fresh], 0.0) == [0.25, 0.5, 0.5]


def test_errors_cost_ten_times_their_rate() -> None:
    """1 − 10 × rate, at least 0: a rate of a tenth is as bad as any more; faded in time."""
    clean, failing = seat("a"), seat("b")
    failing.outcome(True, 0.0)
    assert Errors().score(WHOLE, [clean, failing], 0.0) == [1.0, 0.0]
    assert Errors().score(WHOLE, [failing], 60.0) == [pytest.approx(1 - exp(-1))]
    failing.outcome(True, 0.0)
    assert Errors().score(WHOLE, [failing], 0.0) == [0.0]


def test_gpu_use_counts_while_it_is_fresh() -> None:
    """1 − usage; who does not say, or said it too long ago, counts as the mean of those who do."""
    low, high, silent, old = seat("a"), seat("b"), seat("c"), seat("d")
    old.observed(stats(kv_usage=1.0), 10.0, 0.0)
    low.observed(stats(kv_usage=0.2), 10.0, 5.0)
    high.observed(stats(gpu_utilisation=0.6), 10.0, 5.0)
    silent.observed(stats(running=1), 10.0, 5.0)
    assert Gpu().score(WHOLE, [low, high, silent, old, seat("e")], 12.0) == pytest.approx([0.8, 0.4, 0.6, 0.6, 0.6])
    assert Gpu().score(WHOLE, [low, high], 15.0) == [1.0, 1.0]


def test_the_caches_usage_goes_on_with_the_calls() -> None:
    """Read with four calls in flight at 40 %: a fifth adds a tenth, two that end take two. GPU utilisation stays as it
    was read, and nothing is below 0."""
    kv, gpu = seat("a", in_flight=4), seat("b", in_flight=4)
    kv.observed(stats(kv_usage=0.4), 10.0, 0.0)
    gpu.observed(stats(gpu_utilisation=0.4), 10.0, 0.0)
    found = []
    for in_flight in (4, 5, 2, 40):
        kv.in_flight = gpu.in_flight = in_flight
        found.append(Gpu().score(WHOLE, [kv, gpu], 1.0))
    assert [score for score, _ in found] == pytest.approx([0.6, 0.5, 0.8, 0.0])
    assert [score for _, score in found] == [0.6] * 4


def test_what_others_have_in_an_engine_is_theirs() -> None:
    """Of ten that run two are ours: one more of ours adds a tenth of the usage, not half of it."""
    shared = seat("a", in_flight=2)
    shared.observed(stats(kv_usage=0.5, running=10), 10.0, 0.0)
    shared.in_flight = 3
    assert Gpu().score(WHOLE, [shared], 1.0) == pytest.approx([0.45])


@pytest.mark.parametrize("scorer", [FewestInFlight(), Load(), Latency(1.0), ResponseTime(), Errors(), Gpu()])
def test_scores_lie_between_0_and_1_and_reading_changes_nothing(scorer: Scorer) -> None:
    """Over busy, slow, failing, full and fresh seats, now and much later; asked twice, the answer is the same."""
    seats: list[Seat] = [seat(str(n), n, in_flight=n) for n in range(9)]
    for n, each in enumerate(seats[:-1]):
        each.began(10.0**n, n % 2 == 0, 10.0, 0.0)
        each.outcome(n % 3 == 0, 0.0)
        each.observed(stats(waiting=10**n, kv_usage=n / 4), 10.0, 0.0)
    for now in (0.0, 9.0, 1e6):
        for asked in (STREAMED, WHOLE):
            scores = scorer.score(asked, seats, now)
            assert len(scores) == len(seats)
            assert all(0.0 <= score <= 1.0 for score in scores)
            assert scorer.score(asked, seats, now) == scores


def test_response_time_is_mean_times_those_there() -> None:
    """The lowest mean × (in flight + 1) scores 1, the others their share of it; TTFT for streams, whole answers for
    others; faded; an unmeasured one is taken for the quickest of the measured."""
    quick, slow, fresh = seat("a", in_flight=3), seat("b"), seat("c", in_flight=1)
    quick.began(0.5, True, 10.0, 0.0)
    slow.began(4.0, True, 10.0, 0.0)
    slow.began(1.0, False, 10.0, 0.0)
    assert ResponseTime().score(STREAMED, [quick, slow, fresh], 0.0) == [0.5, 0.25, 1.0]
    assert ResponseTime().score(WHOLE, [quick, slow, fresh], 0.0) == [0.25, 1.0, 0.5]
    assert ResponseTime().score(STREAMED, [seat("d"), seat("e", in_flight=1)], 0.0) == [1.0, 0.5]
    quick.began(0.5, True, 10.0, 60.0)
    assert ResponseTime().score(STREAMED, [quick, slow], 60.0) == [pytest.approx(4 * exp(-1) / 2.0), 1.0]
