"""Calibration finds what was put in, holds back whole groups, and tells errors as they are."""

import pytest

from penstock.base.rand import Rand
from penstock.engine.fit import Errors, by_regime, errors, hold_back, minimise, prices


def test_errors_are_told_as_they_are() -> None:
    """Median and 95th percentile of the size, and the median with its sign."""
    found = errors([(1.1, 1.0), (0.8, 1.0), (1.3, 1.0)])
    assert found == pytest.approx(Errors(3, 0.2, 0.3, 0.1))
    with pytest.raises(ValueError, match="no points"):
        errors([])


def test_regimes_are_told_apart() -> None:
    """A model that is right in one regime and wrong in another is not right on average."""
    found = by_regime([("decode", 1.0, 1.0), ("prefill", 1.5, 1.0), ("decode", 1.0, 1.0)])
    assert list(found) == ["decode", "prefill"]
    assert (found["decode"].median, found["prefill"].median) == (0.0, 0.5)


def test_groups_are_held_back_as_a_whole() -> None:
    """No group is on both sides; over the offsets each is held back once; the order of the points does not matter."""
    points = [(group, number) for group in range(9) for number in range(4)]
    held: list[int] = []
    for offset in range(3):
        fit, back = hold_back(points, lambda point: point[0], 3, offset)
        assert len(fit) + len(back) == len(points)
        assert {group for group, _ in fit}.isdisjoint({group for group, _ in back})
        assert {group for group, _ in hold_back(reversed(points), lambda point: point[0], 3, offset)[1]} == {
            group for group, _ in back
        }
        held += sorted({group for group, _ in back})
    assert sorted(held) == list(range(9))
    with pytest.raises(ValueError, match="one in 3 is held back"):
        hold_back(points[:8], lambda point: point[0])


def test_prices_are_found_again() -> None:
    """From sums with one percent of noise the prices come back, and what costs nothing costs nothing."""
    luck = Rand(1).stream("noise")
    true = [0.5, 0.02, 0.0, 3e-6]
    rows = [[1.0, luck.randint(0, 64), luck.randint(0, 9), luck.randint(0, 10**6)] for _ in range(300)]
    told = [sum(p * r for p, r in zip(true, row)) * luck.uniform(0.99, 1.01) for row in rows]
    found = prices(rows, told)
    assert found == [pytest.approx(value, rel=0.02, abs=2e-3) for value in true]
    assert min(found) >= 0.0


def test_the_simplex_finds_the_valley() -> None:
    """Rosenbrock's banana valley, whose bottom is at (1, 1), from (0.5, 2)."""
    found = minimise(lambda at: (1 - at[0]) ** 2 + 100 * (at[1] - at[0] ** 2) ** 2, [0.5, 2.0], 400)
    assert found == [pytest.approx(1.0, abs=1e-3), pytest.approx(1.0, abs=1e-3)]
