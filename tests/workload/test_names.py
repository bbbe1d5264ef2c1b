"""Names come by their weights."""

from collections import Counter

import pytest

from penstock.base.rand import Rand
from penstock.workload.names import Names, One, Weighted, Zipf


def shares(names: Names, count: int = 10_000) -> dict[str, float]:
    """How often each name comes."""
    draw = names.sampler(Rand(1).stream("test"))
    return {name: times / count for name, times in Counter(draw() for _ in range(count)).items()}


def test_names() -> None:
    """One is always the same, weighted ones meet their weights, and Zipf's first is the most frequent by its rank."""
    assert shares(One(name="a")) == {"a": 1.0}
    assert shares(Weighted(weights={"a": 1, "b": 3}))["b"] == pytest.approx(0.75, abs=0.015)
    found = shares(Zipf(count=4, prefix="u"))
    assert found["u1"] == pytest.approx(12 / 25, abs=0.015)
    assert found["u1"] / found["u2"] == pytest.approx(2, rel=0.1)


def test_every_name_is_told() -> None:
    """`names` lists what can come, before anything does."""
    assert One(name="a").names() == ["a"]
    assert Weighted(weights={"b": 1, "a": 2}).names() == ["b", "a"]
    assert Zipf(count=3, prefix="u").names() == ["u1", "u2", "u3"]
