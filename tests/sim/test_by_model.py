"""Counts by model: what was answered, by whom, and how well."""

import pytest

from penstock.sim.by_model import ByModel
from penstock.sim.served import Place


def test_each_model_has_its_own_numbers() -> None:
    """One of two answers for `a` is good, one of its three requests failed, one came from another model."""
    counts = ByModel()
    counts.answered(Place("a", False), 0.1, 1.0, 50, True)
    counts.answered(Place("a", True), 0.3, 3.0, 150, False)
    counts.failed(Place("a", False))
    counts.failed(Place("b", False))
    found = counts.results(10.0)
    assert list(found) == ["a", "b"]
    a, b = found["a"], found["b"]
    assert (a.requests, a.ok, a.failed, a.elsewhere, a.output_tokens_per_s) == (3, 2, 1, 1, 20.0)
    assert a.goodput == pytest.approx(1 / 3)
    assert a.ttft_mean_s == pytest.approx(0.2)
    assert (b.requests, b.goodput, b.ttft_p95_s) == (1, 0.0, 0.0)
