"""Sketches: quantiles within their promise, sums of sketches, a form that is cheap to add to."""

from random import Random

import pytest

from penstock.adapters.stores import sketch
from penstock.adapters.stores.sketch import add, bucket_of, counts_of, pack, quantiles, value_of


@pytest.mark.parametrize("micros", [2, 10, 999, 50_000, 1_234_567, 600_000_000])
def test_a_value_is_off_by_a_fortieth_at_most(micros: int) -> None:
    """Whatever falls into a bucket is taken for a value that is within 2.5 % of it."""
    assert value_of(bucket_of(micros)) == pytest.approx(micros, rel=0.025)


def test_extremes_have_buckets() -> None:
    """Nothing, less than nothing (a clock), and more than ever happens."""
    assert value_of(bucket_of(0)) == value_of(bucket_of(-5)) == 0.0
    assert bucket_of(1 << 80) == 1023


def test_quantiles_of_a_sum_are_those_of_all_values() -> None:
    """Ten thousand lognormal times in pieces: p50, p95 and p99 are within the promise of the exact ones."""
    rng = Random(1)
    values = [round(rng.lognormvariate(13, 1)) for _ in range(10_000)]
    packed = b""
    for at in range(0, len(values), 37):
        packed = add(packed, pack(values[at : at + 37]))
    values.sort()
    for share, found in zip((0.5, 0.95, 0.99), quantiles([packed], (0.5, 0.95, 0.99))):
        assert found == pytest.approx(values[round(share * 10_000) - 1], rel=0.026)
    assert len(packed) <= sketch.LOOSE_BYTES


def test_counts_may_be_larger_than_a_number_holds() -> None:
    """A bucket beyond four million values takes several numbers."""
    packed = sketch._packed({7: 1}) + b"".join(sketch._packed({7: 10_000_000}) for _ in range(2))
    assert counts_of(packed) == {7: 20_000_001}
    assert counts_of(sketch._packed(counts_of(packed))) == {7: 20_000_001}


def test_without_values_there_is_no_quantile() -> None:
    """None is not 0."""
    assert quantiles([b""], (0.5,)) == [None]


def test_what_is_no_sketch_is_refused() -> None:
    """A torn value is a mistake and no number."""
    with pytest.raises(ValueError):
        counts_of(b"abc")
