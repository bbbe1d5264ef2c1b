"""The histogram."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.telemetry.histogram import DURATION_S, FIRST_TOKEN_S, PER_TOKEN_S, QUEUE_S, Histogram


def test_a_value_on_a_bound_counts_below_it() -> None:
    """Upper bounds are inclusive, as Prometheus' `le` wants it."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.add(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 7.5


@given(st.lists(st.floats(0, 1000)))
def test_nothing_is_lost(values: list[float]) -> None:
    """Every value is counted once, and the sum is theirs."""
    histogram = Histogram(DURATION_S)
    for value in values:
        histogram.add(value)
    assert histogram.total() == len(values)
    assert histogram.sum == pytest.approx(sum(values))


def test_bounds_rise() -> None:
    """Every table of bounds is sorted and free of repetition."""
    for bounds in (DURATION_S, FIRST_TOKEN_S, PER_TOKEN_S, QUEUE_S):
        assert list(bounds) == sorted(set(bounds))
