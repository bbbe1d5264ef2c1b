"""What is known of one replica, against the published formulas on literal numbers."""

from math import exp

import pytest

from penstock.core.load import PeakEwma
from tests.core.playbook import seat, stats


def test_peak_ewma_jumps_up_at_once() -> None:
    """A sample above the estimate replaces it (Finagle, tower: the peak)."""
    peak = PeakEwma()
    peak.observe(0.2, 10.0, 0.0)
    peak.observe(3.0, 10.0, 1.0)
    assert peak.value_at(10.0, 99.0, 1.0) == 3.0


def test_peak_ewma_comes_down_with_time() -> None:
    """A lower sample is mixed in with weight 1 − e^(−Δt/τ): here e^(−1) of the old and the rest of the new."""
    peak = PeakEwma()
    peak.observe(1.0, 10.0, 0.0)
    peak.observe(0.5, 10.0, 10.0)
    assert peak.value_at(10.0, 99.0, 10.0) == pytest.approx(0.5 + 0.5 * exp(-1))


def test_peak_ewma_is_read_as_of_now_and_not_changed_by_reading() -> None:
    """The read fades by e^(−Δt/τ) however often it is made; unmeasured is what the reader says."""
    peak = PeakEwma()
    assert peak.value_at(10.0, 0.7, 5.0) == 0.7
    peak.observe(2.0, 10.0, 5.0)
    for _ in range(3):
        assert peak.value_at(10.0, 0.7, 25.0) == pytest.approx(2.0 * exp(-2))
    assert peak.value_at(10.0, 0.7, 5.0) == 2.0


@pytest.mark.parametrize(
    ("in_flight", "seats", "waiting", "bound", "expected"),
    [(0, 8, 0, 100, 0.0), (4, 8, 0, 100, 0.35), (8, 8, 100, 100, 1.0), (2, 8, 30, 100, 0.265), (0, 8, 999, 100, 0.3)],
)
def test_load_is_f3(in_flight: int, seats: int, waiting: int, bound: int, expected: float) -> None:
    """0.7 × in flight / seats + 0.3 × queued / queue size, the queue capped at its size."""
    made = seat(in_flight=in_flight, max_concurrent_requests=seats, max_queue_size=bound)
    made.observed(stats(waiting=waiting), 10.0, 0.0)
    assert made.load_at(5.0) == pytest.approx(expected)


def test_an_old_queue_is_no_load() -> None:
    """Numbers count until they are stale, to the moment."""
    made = seat()
    made.observed(stats(waiting=100), 10.0, 5.0)
    assert made.load_at(14.999) == pytest.approx(0.3)
    assert made.load_at(15.0) == 0.0


def test_means_move_by_a_tenth() -> None:
    """α = 0.1, the first sample taken whole; streamed and whole answers have a mean each."""
    made = seat()
    made.began(1.0, True, 10.0, 0.0)
    made.began(2.0, True, 10.0, 1.0)
    assert made.ttft_s == pytest.approx(1.1)
    assert made.latency_s is None
    made.began(5.0, False, 10.0, 2.0)
    made.began(15.0, False, 10.0, 3.0)
    assert made.latency_s == pytest.approx(6.0)
    assert (made.ttft_at, made.latency_at) == (1.0, 3.0)


def test_the_error_rate_moves_by_a_tenth_and_fades() -> None:
    """Each failure adds a tenth of what is missing, each success takes a tenth, a minute takes 1 − 1/e."""
    made = seat()
    made.outcome(True, 0.0)
    made.outcome(True, 0.0)
    assert made.error_rate_at(0.0) == pytest.approx(0.19)
    made.outcome(False, 0.0)
    assert made.error_rate_at(0.0) == pytest.approx(0.171)
    assert made.error_rate_at(60.0) == pytest.approx(0.171 * exp(-1))
    assert (made.served, made.failed) == (1, 2)


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ({"gpu_utilisation": 0.4, "kv_usage": 0.9}, 0.4),
        ({"kv_usage": 0.9}, 0.9),
        ({"gpu_utilisation": 1.7}, 1.0),
        ({"kv_usage": -1.0}, 0.0),
        ({"kv_usage": 0.0}, 0.0),
        ({"running": 3}, None),
    ],
)
def test_gpu_comes_before_kv_cache(said: dict[str, float], used: float | None) -> None:
    """GPU utilisation, else KV usage, within 0..1; a replica that says neither is not taken to be idle."""
    made = seat()
    made.observed(stats(**said), 10.0, 0.0)
    assert made.gpu_used == used


def test_a_wait_in_vain_counts_only_upwards() -> None:
    """A client that left early proves nothing good; one that waited long proves slowness."""
    made = seat()
    made.in_vain(3.0, True, 0.0)
    assert made.ttft_s == 3.0
    made.in_vain(1.0, True, 1.0)
    assert made.ttft_s == 3.0
    made.in_vain(13.0, True, 2.0)
    assert made.ttft_s == pytest.approx(4.0)
    assert made.latency_s is None


def test_the_state_is_refined_by_load_while_healthy() -> None:
    """Healthy with free seats, busy without, overloaded when the engine's own queue is full, else the life cycle's."""
    made = seat(in_flight=7)
    assert made.state_at(0.0) == "healthy"
    made.in_flight = 8
    assert made.state_at(0.0) == "busy"
    made.observed(stats(waiting=100), 10.0, 0.0)
    assert made.state_at(9.0) == "overloaded"
    assert made.state_at(10.0) == "busy"
    made.health.sign("drain")
    assert made.state_at(9.0) == "draining"


def test_a_new_description_keeps_what_was_learnt() -> None:
    """Seats and limit follow the description, memory stays."""
    made = seat(in_flight=3)
    made.began(1.0, True, 10.0, 0.0)
    made.adopt(seat(max_concurrent_requests=2, weight=7.0).replica)
    assert (made.seats, made.health.limit, made.replica.weight, made.ttft_s, made.in_flight) == (2, 2, 7.0, 1.0, 3)


def test_the_same_replica_is_known_by_place_and_pool() -> None:
    """Another url or another pool is another replica; other settings are not."""
    made = seat()
    assert made.same_as(seat(weight=9.0, drain=True).replica)
    assert not made.same_as(seat(url="http://elsewhere").replica)
    assert not made.same_as(seat(pool="other").replica)
    assert not made.same_as(None)


def test_a_benchmark_gives_the_means_something_to_begin_with() -> None:
    """Until calls have told better, mean by mean; and it does not count as measured."""
    made = seat()
    made.prime(0.5, 4.0, 1.0)
    assert (made.ttft_s, made.latency_s, made.whole_s, made.peak.value) == (0.5, 4.0, 4.0, 0.5)
    measured = [made.measured]
    made.prime(0.25, None, 2.0)
    assert (made.ttft_s, made.latency_s, made.whole_s, made.peak.value) == (0.25, 4.0, 4.0, 0.25)
    made.began(1.25, True, 10.0, 3.0)
    assert made.ttft_s == pytest.approx(0.35)
    measured.append(made.measured)
    assert measured == [False, True]
    made.prime(9.0, 9.0, 4.0)
    assert made.ttft_s == pytest.approx(0.35)
    assert made.peak.value == 1.25
