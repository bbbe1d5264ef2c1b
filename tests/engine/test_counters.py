"""Histograms put a value into the bucket whose upper bound it does not pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.counters import Counters, Histogram


def test_a_value_on_a_bound_belongs_below_it() -> None:
    """Bounds are inclusive, as Prometheus reads `le`; the last bucket takes what is above all of them."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 99.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 104.0
    assert histogram.count == 5


@settings(max_examples=50)
@given(st.floats(0.0, 3.0), st.floats(0.0, 0.1), st.integers(1, 60), st.integers(1, 5))
def test_a_line_of_values_is_counted_as_its_values(first: float, growth: float, values: int, times: int) -> None:
    """Values that grow evenly, counted at once, are where counting them one by one puts them."""
    line, single = Histogram((0.5, 1.0, 1.5, 3.0)), Histogram((0.5, 1.0, 1.5, 3.0))
    line.observe_line(first, growth, values, times)
    for number in range(values):
        for _ in range(times):
            single.observe(first + growth * number)
    assert line.counts == single.counts
    assert line.sum == pytest.approx(single.sum)


def test_steps_are_counted_together() -> None:
    """Three steps of ten tokens are three steps, each of ten."""
    counters = Counters()
    counters.count_steps(10, 3)
    assert (counters.steps, counters.step_tokens.count, counters.step_tokens.sum) == (3, 3, 30.0)


def test_counters_begin_at_zero() -> None:
    """A new engine has counted nothing."""
    counters = Counters()
    assert counters.prompt_tokens == counters.generation_tokens == counters.ttft_s.count == 0
