"""The weighted sum of R4 on literal numbers, and what a pipeline does with very many seats."""

import pytest

from penstock.base.rand import Rand
from penstock.core.route import presets
from penstock.core.route.pipeline import build
from tests.core.playbook import call, seat, stats

ASKED = call(stream=True)


def test_adaptive_is_the_promised_weighted_sum() -> None:
    """0.3 × load + 0.3 × latency + 0.2 × errors + 0.2 × GPU, each between 0 and 1."""
    one, other = seat("a", in_flight=4), seat("b")
    one.began(1.0, True, 10.0, 0.0)
    one.observed(stats(waiting=50, kv_usage=0.5), 10.0, 0.0)
    other.began(4.0, True, 10.0, 0.0)
    other.outcome(True, 0.0)
    other.observed(stats(waiting=0, kv_usage=0.1), 10.0, 0.0)
    scores = build(presets.Adaptive(), Rand(1)).scores(ASKED, [one, other], 0.0)
    assert scores == pytest.approx([
        0.3 * (1 - 0.35 - 0.15) + 0.3 * 0.5 + 0.2 * 1.0 + 0.2 * 0.5,
        0.3 * 1.0 + 0.3 * 0.2 + 0.2 * 0.0 + 0.2 * 0.9,
    ])  # fmt: skip
    assert build(presets.Adaptive(), Rand(1)).choose(ASKED, [one, other], 0.0) is one


def test_adaptive_takes_its_weights_and_its_reference_from_the_spec() -> None:
    """A weight of 0 leaves its scorer out; the latency reference is what scores one half."""
    one = seat("a", in_flight=8, max_concurrent_requests=16)
    one.began(2.0, True, 10.0, 0.0)
    only_latency = presets.Adaptive(load=0, latency=1.0, errors=0, gpu=0, latency_reference_s=6.0)
    assert build(only_latency, Rand(1)).scores(ASKED, [one], 0.0) == [0.75]
    assert build(presets.Adaptive(latency=0, errors=0, gpu=0), Rand(1)).scores(ASKED, [one], 0.0) == [
        pytest.approx(0.3 * 0.65)
    ]


def test_adaptive_without_any_weight_goes_by_load() -> None:
    """All weights 0 would leave nothing to choose by."""
    seats = [seat("a", 0, in_flight=3), seat("b", 1, in_flight=2)]
    pipeline = build(presets.Adaptive(load=0, latency=0, errors=0, gpu=0), Rand(1))
    assert pipeline.choose(ASKED, seats, 0.0) is seats[1]


@pytest.mark.parametrize("strategy", [strategy() for strategy in presets.STRATEGIES._specs.values()])
def test_every_strategy_picks_a_free_seat_if_there_is_one(strategy: presets.Strategy) -> None:
    """One free seat among many is found, also beyond the sample; none free is None."""
    for count in (1, 3, 64, 300):
        seats = [seat(str(n), n, in_flight=8) for n in range(count)]
        pipeline = build(strategy, Rand(1))
        assert pipeline.choose(ASKED, seats, 0.0) is None
        for place in {0, count // 2, count - 1}:
            seats[place].in_flight = 7
            assert pipeline.choose(ASKED, seats, 0.0) is seats[place]
            seats[place].in_flight = 8
    assert build(strategy, Rand(1)).choose(ASKED, [], 0.0) is None


def test_least_loaded_counts_the_engines_queue() -> None:
    """Few in flight here and many waiting there is more load than the other way round."""
    queued, busy = seat("a", in_flight=1), seat("b", 1, in_flight=3)
    queued.observed(stats(waiting=80), 10.0, 0.0)
    pipeline = build(presets.LeastLoaded(), Rand(1))
    assert pipeline.choose(ASKED, [queued, busy], 5.0) is busy
    assert pipeline.choose(ASKED, [queued, busy], 15.0) is queued


def test_a_picker_only_sees_what_fits() -> None:
    """Turns skip the full: a full seat is not waited for."""
    seats = [seat("a", 0), seat("b", 1, in_flight=8), seat("c", 2)]
    pipeline = build(presets.RoundRobin(), Rand(1))
    picked = [pipeline.choose(ASKED, seats, 0.0) for _ in range(4)]
    assert [each.id for each in picked if each] == ["a", "c", "a", "c"]
