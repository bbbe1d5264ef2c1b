"""Histograms put a value into the bucket whose upper bound it does not pass."""

from penstock.engine.counters import Counters, Histogram


def test_a_value_on_a_bound_belongs_below_it() -> None:
    """Bounds are inclusive, as Prometheus reads `le`; the last bucket takes what is above all of them."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 99.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 104.0
    assert histogram.count == 5


def test_counters_begin_at_zero() -> None:
    """A new engine has counted nothing."""
    counters = Counters()
    assert counters.prompt_tokens == counters.generation_tokens == counters.ttft_s.count == 0
