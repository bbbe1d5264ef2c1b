"""Numbers of GPUs that can and cannot be true."""

import math

import pytest

from penstock.adapters.gpu.bounds import celsius, mebibytes, nbytes, percent, watts

BLANKS = [2147483632.0, 140737488355328.0, 9223372036854775794.0, math.nan, math.inf, -math.inf, -100.0]
"""DCGM's blanks of 32 bits, of floats and of 64 bits (dcgm_structs.h), and what broken sensors say."""


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks_are_not_known(blank: float) -> None:
    """A blank of DCGM, or a number no device has, is nothing in every unit."""
    assert [read(blank) for read in (percent, mebibytes, celsius, watts)] == [None] * 4


def test_what_is_not_there_is_not_known() -> None:
    """None stays None in every unit."""
    assert [read(None) for read in (percent, mebibytes, nbytes, celsius, watts)] == [None] * 5


def test_units() -> None:
    """Shares are of one, memory is in bytes."""
    assert (percent(97), mebibytes(2), nbytes(5), celsius(61), watts(289.4)) == (0.97, 2 << 20, 5, 61.0, 289.4)
