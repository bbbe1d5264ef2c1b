"""Calibration: constants from measured points, and how wrong what comes out is. Never without points held back.

Errors are relative, because step times span three orders of magnitude. Whole groups of points are held back, not points
here and there: neighbours of a point that was fitted say little about one that nobody has seen.
"""

from collections.abc import Callable, Iterable, Sequence
from math import exp, fsum, log
from statistics import median
from typing import NamedTuple, TypeVar
from zlib import crc32

Point = TypeVar("Point")


class Errors(NamedTuple):
    """How far predictions are from what was measured, relative to it."""

    points: int
    median: float
    """Of the absolute relative error: 0.1 is ten percent."""
    p95: float
    bias: float
    """Median of the error with its sign: above 0, what is predicted is too slow."""


def errors(pairs: Iterable[tuple[float, float]]) -> Errors:
    """Of (predicted, measured). Raises ValueError without a pair."""
    signed = [predicted / measured - 1.0 for predicted, measured in pairs]
    if not signed:
        raise ValueError("no points to compare")
    size = sorted(abs(error) for error in signed)
    return Errors(len(size), median(size), size[min(len(size) - 1, int(0.95 * len(size)))], median(signed))


def by_regime(pairs: Iterable[tuple[str, float, float]]) -> dict[str, Errors]:
    """Of (regime, predicted, measured): the errors of each regime, in the order of their first points."""
    regimes: dict[str, list[tuple[float, float]]] = {}
    for regime, predicted, measured in pairs:
        regimes.setdefault(regime, []).append((predicted, measured))
    return {regime: errors(points) for regime, points in regimes.items()}


def hold_back(
    points: Iterable[Point], group: Callable[[Point], object], one_in: int = 3, offset: int = 0
) -> tuple[list[Point], list[Point]]:
    """(points to fit, points held back): every `one_in`-th group as a whole, in an order that depends on names alone.

    With `offset` from 0 to `one_in` - 1 each group is held back once. Raises ValueError where there are too few groups.
    """
    named: dict[str, list[Point]] = {}
    for point in points:
        named.setdefault(str(group(point)), []).append(point)
    order = sorted(named, key=lambda name: (crc32(name.encode()), name))
    if len(order) < one_in:
        raise ValueError(
            f"found {len(order)} settings, expected {one_in} or more: one in {one_in} is held back to judge the fit"
        )
    fit = [point for index, name in enumerate(order) if index % one_in != offset for point in named[name]]
    held = [point for index, name in enumerate(order) if index % one_in == offset for point in named[name]]
    return fit, held


def prices(
    rows: Sequence[Sequence[float]], seconds: Sequence[float], scale: Sequence[float] | None = None
) -> list[float]:
    """Prices ≥ 0, one a column, so that each row's sum comes near its seconds.

    What is made small is the sum of squared errors relative to `scale` (the seconds themselves by default; for a part
    of a step, the whole step). A price that would be negative is left out, the most negative one first: what nobody
    sees in the measurements costs nothing.
    """
    weights = [1.0 / value for value in (scale or seconds)]
    scaled = [[weight * value for value in row] for row, weight in zip(rows, weights)]
    targets = [weight * value for weight, value in zip(weights, seconds)]
    sizes = [fsum(row[column] ** 2 for row in scaled) ** 0.5 for column in range(len(rows[0]))]
    kept = [column for column, size in enumerate(sizes) if size > 0.0]
    while kept:
        columns = [[row[column] / sizes[column] for row in scaled] for column in kept]
        square = [[_dot(one, other) for other in columns] for one in columns]
        found = _solve(square, [_dot(column, targets) for column in columns])
        lowest = min(range(len(kept)), key=lambda index: found[index])
        if found[lowest] >= 0.0:
            by_column = {column: value / sizes[column] for column, value in zip(kept, found)}
            return [by_column.get(column, 0.0) for column in range(len(sizes))]
        del kept[lowest]
    return [0.0] * len(sizes)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return fsum(a * b for a, b in zip(one, other))


def _solve(square: list[list[float]], right: list[float]) -> list[float]:
    """Gauss' elimination with pivots; `square` is used up. Columns that say the same as others get 0."""
    size = len(right)
    for step in range(size):
        pivot = max(range(step, size), key=lambda row: abs(square[row][step]))
        square[step], square[pivot] = square[pivot], square[step]
        right[step], right[pivot] = right[pivot], right[step]
        if abs(square[step][step]) < 1e-12:
            continue
        for row in range(step + 1, size):
            times = square[row][step] / square[step][step]
            right[row] -= times * right[step]
            square[row] = [value - times * other for value, other in zip(square[row], square[step])]
    found = [0.0] * size
    for step in reversed(range(size)):
        rest = right[step] - _dot(square[step][step + 1 :], found[step + 1 :])
        found[step] = rest / square[step][step] if abs(square[step][step]) >= 1e-12 else 0.0
    return found


def minimise(loss: Callable[[list[float]], float], start: Sequence[float], turns: int = 200) -> list[float]:
    """Values > 0 that make `loss` small, from `start`: the simplex of Nelder and Mead (1965) over their logarithms."""

    def told(place: list[float]) -> float:
        return loss([exp(value) for value in place])

    origin = [log(value) for value in start]
    corners = [origin] + [[v + 0.2 * (i == j) for j, v in enumerate(origin)] for i in range(len(origin))]
    simplex = sorted((told(corner), corner) for corner in corners)
    for _ in range(turns):
        worst, corner = simplex[-1]
        middle = [fsum(values) / len(origin) for values in zip(*(place for _, place in simplex[:-1]))]
        if abs(worst - simplex[0][0]) < 1e-9 * (abs(worst) + 1e-30):
            break
        across = [2 * m - c for m, c in zip(middle, corner)]
        value = told(across)
        if value < simplex[0][0]:
            further = [3 * m - 2 * c for m, c in zip(middle, corner)]
            beyond = told(further)
            simplex[-1] = (beyond, further) if beyond < value else (value, across)
        elif value < simplex[-2][0]:
            simplex[-1] = (value, across)
        else:
            inner = [0.5 * (m + c) for m, c in zip(middle, across if value < worst else corner)]
            closer = told(inner)
            if closer < min(value, worst):
                simplex[-1] = (closer, inner)
            else:
                best = simplex[0][1]
                shrunk = [[0.5 * (b + v) for b, v in zip(best, place)] for _, place in simplex[1:]]
                simplex[1:] = [(told(place), place) for place in shrunk]
        simplex.sort()
    return [exp(value) for value in simplex[0][1]]
