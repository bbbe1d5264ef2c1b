"""A distribution in buckets: percentiles within a hundredth."""

import pytest

from penstock.sim.sketch import Sketch


def test_quantiles_are_right_within_one_percent() -> None:
    """Of 1 to 1,000 the median is 500 and the 99th percentile 990, give or take a hundredth."""
    sketch = Sketch()
    for value in range(1, 1001):
        sketch.add(float(value))
    assert sketch.quantile(0.5) == pytest.approx(500, rel=0.011)
    assert sketch.quantile(0.99) == pytest.approx(990, rel=0.011)
    assert sketch.quantile(1.0) <= 1000
    assert sketch.mean == 500.5


def test_an_empty_sketch_says_nothing() -> None:
    """Nothing was seen: zero."""
    assert (Sketch().quantile(0.5), Sketch().mean) == (0.0, 0.0)
