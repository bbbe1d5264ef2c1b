"""Distributions have the moments and quantiles that they claim. Seeded: a test that passes once passes always."""

import statistics
from collections.abc import Callable
from random import Random

import pytest

from penstock.base.rand import Rand
from penstock.workload import draws

COUNT = 20_000


def stream() -> Random:
    """The same luck for every test."""
    return Rand(1).stream("test")


def many(draw: Callable[[], float], count: int = COUNT) -> list[float]:
    """Numbers drawn."""
    return [draw() for _ in range(count)]


@pytest.mark.parametrize(
    ("draw", "cv"),
    [
        (draws.exponential(stream()), 1.0),
        (draws.gamma(stream(), 4.0), 0.5),
        (draws.gamma(stream(), 0.25), 2.0),
        (draws.weibull(stream(), 2.0), 0.5227),
        (draws.weibull(stream(), 0.5), 5**0.5),
        (draws.gaps(stream(), 0.0), 0.0),
        (draws.gaps(stream(), 1.0), 1.0),
        (draws.gaps(stream(), 3.0), 3.0),
    ],
    ids=["exponential", "gamma 4", "gamma 0.25", "weibull 2", "weibull 0.5", "even", "poisson", "bursty"],
)
def test_gaps(draw: Callable[[], float], cv: float) -> None:
    """Gaps are positive, of mean 1, and vary as they should (Weibull: √(Γ(1+2/k)/Γ(1+1/k)² − 1))."""
    found = many(draw)
    mean = statistics.fmean(found)
    assert min(found) >= 0
    assert mean == pytest.approx(1.0, abs=0.05)
    assert statistics.pstdev(found) / mean == pytest.approx(cv, rel=0.06)


def test_normal() -> None:
    """The normal has mean 0, deviation 1, and 5 % beyond 1.96."""
    found = many(draws.normal(stream()))
    assert statistics.fmean(found) == pytest.approx(0.0, abs=0.02)
    assert statistics.pstdev(found) == pytest.approx(1.0, abs=0.02)
    assert sum(abs(x) > 1.96 for x in found) / COUNT == pytest.approx(0.05, abs=0.005)


def test_quantiles() -> None:
    """A table of quantiles is met at its points, straight between them, and jumps where two shares are equal."""
    found = sorted(many(draws.quantiles(stream(), [0, 0.5, 0.5, 1], [0, 10, 100, 200])))
    assert found[COUNT // 4] == pytest.approx(5, abs=0.3)
    assert found[COUNT * 3 // 4] == pytest.approx(150, abs=2)
    assert not [x for x in found if 10 < x < 100]
    assert found[0] >= 0
    assert found[-1] <= 200


def test_index() -> None:
    """Weights are met, and what weighs nothing beside the others never comes."""
    pick = draws.index(stream(), [1, 0, 3])
    counts = [0, 0, 0]
    for _ in range(COUNT):
        counts[pick()] += 1
    assert counts[1] == 0
    assert counts[2] / COUNT == pytest.approx(0.75, abs=0.01)


def test_zipf() -> None:
    """The second is half as frequent as the first, the tenth a tenth; with exponent 0 all are alike."""
    weights = draws.zipf_weights(10, 1.0)
    assert weights[0] / weights[1] == 2
    assert weights[0] / weights[9] == pytest.approx(10)
    assert draws.zipf_weights(3, 0.0) == [1, 1, 1]


def test_only_random_is_used() -> None:
    """Every sampler lives on `random()` alone, whose numbers no version of Python changes."""

    class Bare:
        random = staticmethod(stream().random)

    bare: Random = Bare()  # type: ignore[assignment]
    for draw in (
        draws.exponential(bare), draws.normal(bare), draws.gamma(bare, 2.0), draws.gamma(bare, 0.5),
        draws.weibull(bare, 2.0), draws.quantiles(bare, [0, 1], [0, 1]), draws.index(bare, [1, 2]),
    ):  # fmt: skip
        draw()
