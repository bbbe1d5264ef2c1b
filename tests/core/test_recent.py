"""Quantiles of recent values."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.rand import Rand
from penstock.core.recent import BUCKETS, FEW, LEAST, PER_OCTAVE, Recent, bound_of, bucket_of


def filled(values: list[float], share: float = 0.95) -> Recent:
    recent = Recent(share)
    for value in values:
        recent.add(value)
    return recent


def test_few_values_say_nothing() -> None:
    """Below twenty values there is no quantile; from the twentieth on there is."""
    recent = filled([1.0] * (FEW - 1))
    assert recent.value() is None
    recent.add(1.0)
    assert recent.value() is not None


@settings(max_examples=30)
@given(st.lists(st.floats(LEAST, 2000.0), min_size=FEW, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_it_is_the_quantile_to_the_width_of_a_bucket(values: list[float], share: float) -> None:
    """Never below the value that this share lies at or below, and at most a bucket (9 %) above it."""
    found = filled(values, share).value()
    assert found is not None
    exact = sorted(values)[max(0, int(len(values) - (1 - share) * len(values) + 1e-9) - 1)]
    nearest = sorted(values)[min(len(values) - 1, int(share * len(values)))]
    assert exact * (1 - 1e-9) <= found <= nearest * 2 ** (1 / PER_OCTAVE) * (1 + 1e-9)


def test_of_a_known_distribution() -> None:
    """The p95 of an exponential distribution of mean 0.2 s is 0.6 s."""
    rng = Rand(1).stream("values")
    found = filled([rng.expovariate(5.0) for _ in range(5000)]).value()
    assert found is not None
    assert 0.55 < found < 0.7


def test_old_values_fade() -> None:
    """Ten thousand values at ten milliseconds are forgotten within two thousand at a second, and the reverse."""
    recent = filled([0.01] * 10_000)
    assert (recent.value() or 0) < 0.012
    values = []
    for _ in range(2000):
        recent.add(1.0)
        values.append(recent.value() or 0.0)
    assert all(before <= after for before, after in pairwise(values))
    assert 1.0 <= values[100] < 1.1  # a tail of a few dozen slow ones shows at once
    for _ in range(5000):
        recent.add(0.01)
    assert (recent.value() or 0) < 0.012


def test_extremes_are_kept_within_bounds() -> None:
    """Nothing, and years: the least and the greatest bucket, never an error."""
    assert filled([0.0] * 30).value() == LEAST
    assert filled([1e9] * 30).value() == 2048.0


def test_buckets_and_their_bounds() -> None:
    """A value lies in the first bucket whose bound is not below it; what is beyond all bounds is in the last."""
    assert [bucket_of(value) for value in (0.0, -1.0, LEAST)] == [0, 0, 0]
    for value in (0.002, 0.5, 1.0, 3.3, 2000.0):
        at = bucket_of(value)
        assert bound_of(at - 1) <= value <= bound_of(at)
    assert bucket_of(1e9) == BUCKETS - 1
