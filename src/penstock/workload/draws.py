"""Random numbers of wanted distributions, made from `random()` alone: the same on every version of Python.

The methods of `random.Random` beyond `random()` may change between versions of Python, so none is used here. Every
sampler is a plain function without state, made from its parameters and a stream.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random

Sampler = Callable[[], float]


def exponential(stream: Random) -> Sampler:
    """Mean 1. By inversion."""
    uniform, log = stream.random, math.log

    def draw() -> float:
        return -log(1.0 - uniform())

    return draw


def normal(stream: Random) -> Sampler:
    """Mean 0, standard deviation 1. Box and Muller (1958); the second number of a pair is not kept."""
    uniform, log, sqrt, cos, turn = stream.random, math.log, math.sqrt, math.cos, 2.0 * math.pi

    def draw() -> float:
        return sqrt(-2.0 * log(1.0 - uniform())) * cos(turn * uniform())

    return draw


def gamma(stream: Random, shape: float) -> Sampler:
    """Mean 1, so that the coefficient of variation is 1/√shape. Marsaglia and Tsang (2000); a shape below 1 is drawn
    as Gamma(shape + 1) × U^(1/shape)."""
    if shape < 1.0:
        larger, uniform, power, scale = gamma(stream, shape + 1.0), stream.random, 1.0 / shape, (shape + 1.0) / shape
        return lambda: float(larger() * scale * (1.0 - uniform()) ** power)
    d = shape - 1.0 / 3.0
    c, uniform, normally, log = 1.0 / math.sqrt(9.0 * d), stream.random, normal(stream), math.log

    def draw() -> float:
        while True:
            x = normally()
            v = (1.0 + c * x) ** 3
            if v > 0.0 and log(1.0 - uniform()) < 0.5 * x * x + d * (1.0 - v + log(v)):
                return d * v / shape

    return draw


def weibull(stream: Random, shape: float) -> Sampler:
    """Mean 1. By inversion."""
    uniform, log, power, scale = stream.random, math.log, 1.0 / shape, 1.0 / math.gamma(1.0 + 1.0 / shape)
    return lambda: float(scale * (-log(1.0 - uniform())) ** power)


def gaps(stream: Random, cv: float) -> Sampler:
    """Gaps of mean 1 with this coefficient of variation: 0 even, 1 exponential (Poisson), else Gamma."""
    if cv == 0.0:
        return lambda: 1.0
    return exponential(stream) if cv == 1.0 else gamma(stream, 1.0 / (cv * cv))


def quantiles(stream: Random, shares: Sequence[float], values: Sequence[float]) -> Sampler:
    """A distribution by its quantiles, straight between two of them. `shares` rise from 0 to 1."""
    uniform, last = stream.random, len(shares) - 2
    slopes = [
        (values[at + 1] - values[at]) / (shares[at + 1] - shares[at]) if shares[at + 1] > shares[at] else 0.0
        for at in range(last + 1)
    ]

    def draw() -> float:
        u = uniform()
        at = min(bisect_right(shares, u) - 1, last)
        return values[at] + (u - shares[at]) * slopes[at]

    return draw


def index(stream: Random, weights: Sequence[float]) -> Callable[[], int]:
    """The place of one of these weights, each as often as it weighs. log n steps."""
    cumulative = list(accumulate(weights))
    uniform, total, last = stream.random, cumulative[-1], len(cumulative) - 1
    return lambda: min(bisect_right(cumulative, uniform() * total), last)


def zipf_weights(count: int, exponent: float) -> list[float]:
    """1/rank^exponent for the ranks from 1."""
    return [rank**-exponent for rank in range(1, count + 1)]
