"""Modelled engines: what a calibration file holds, and that nobody can use one without hearing how wrong it is."""

import msgspec
import pytest

from penstock.engine.modelled import NAMED, Misses, Modelled, read_modelled, written
from penstock.engine.perf import PRESETS, StepCost
from penstock.engine.profile import Profile

MISSES = Misses(points=7, tpot_median=0.05, tpot_p95=0.2, ttft_median=0.1, ttft_p95=0.4)


def test_a_file_gives_back_what_was_written() -> None:
    """Whichever kind of cost model it has."""
    profile = Profile(tokens_s=((1.0, 0.1), (2.0, 0.2)), sequences_s=((1.0, 0.0), (2.0, 0.0)))
    for cost in (PRESETS["demo"], profile):
        made = Modelled(about="mine", cost=cost, outside_s=0.01, kv_blocks=77, held_back=MISSES)
        assert read_modelled(written(made)) == made


def test_a_file_of_something_else_is_told_with_its_path() -> None:
    """A slip in a field's name names the field."""
    with pytest.raises(msgspec.ValidationError, match="bse_s"):
        read_modelled(b'{"about": "x", "cost": {"kind": "linear", "bse_s": 1}}')


def test_errors_are_told_with_the_model() -> None:
    """Median and p95 of both times, from how many settings, of what; and why it may be worse."""
    made = Modelled(about="m", cost=PRESETS["demo"], held_back=MISSES, measured="a run", doubt="It was raining.")
    assert made.doubts() == (
        "Expected error: 5.0% of the time per token and 10.0% of TTFT at the median (20.0% and 40.0% at p95),"
        " by 7 held-back settings of a run. It was raining."
    )


def test_what_was_never_measured_says_so() -> None:
    """No number stands where there is none."""
    assert Modelled(about="m", cost=StepCost(base_s=1, prefill_token_s=1, decode_sequence_s=1)).doubts() == (
        "Expected error: not known."
    )


def test_every_preset_has_its_doubts() -> None:
    """Presets are named as before, and each says what it was made from."""
    assert NAMED.keys() == PRESETS.keys()
    assert all(made.doubt and made.cost == PRESETS[name] for name, made in NAMED.items())
