"""A run of equal steps: its ends are where counting would put them."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.run import Run

SECONDS = st.floats(1e-4, 10.0)


def counted(at: float, first_s: float, growth_s: float, steps: int) -> list[float]:
    """The ends of the steps, one after the other."""
    ends = []
    for step in range(steps):
        at += first_s + growth_s * step
        ends.append(at)
    return ends


@settings(max_examples=20)
@given(st.floats(0, 1e6), SECONDS, st.floats(0, 1e-2), st.integers(1, 300))
def test_ends_are_where_counting_puts_them(at: float, first_s: float, growth_s: float, steps: int) -> None:
    """The closed form and the sum of durations agree, for the first, any and the last step."""
    run = Run()
    run.begin(first_s, growth_s, steps, at)
    ends = counted(at, first_s, growth_s, steps)
    assert [run.end_of(step + 1) for step in range(steps)] == pytest.approx(ends)
    assert run.ends_at == run.end_of(steps)


@settings(max_examples=20)
@given(st.floats(0, 1e6), SECONDS, st.floats(0, 1e-2), st.integers(2, 300), st.floats(0, 0.999999))
def test_what_is_done_by_a_time_is_exact(at: float, first_s: float, growth_s: float, steps: int, share: float) -> None:
    """Between the ends of two steps, just so many are done as have ended, by the very numbers that `end_of` gives."""
    run = Run()
    run.begin(first_s, growth_s, steps, at)
    now = at + (run.ends_at - at) * share
    if now >= run.ends_at:
        return
    done = run.done_by(now)
    assert done == 0 or run.end_of(done) <= now
    assert run.end_of(done + 1) > now


def test_a_cut_run_ends_with_the_step_under_way() -> None:
    """Where the batch changes, steps that have not begun do not happen, and the one that has is finished."""
    run = Run()
    run.begin(2.0, 0.5, 10, 100.0)
    run.done = run.done_by(105.0)
    run.cut()
    assert (run.done, run.steps, run.ends_at) == (2, 3, 107.5)
    run.cut()
    assert run.steps == 3


def test_a_run_that_rests_never_ends() -> None:
    """Idle, its end is never."""
    run = Run()
    run.begin(1.0, 0.0, 2, 0.0)
    run.rest()
    assert (run.ends_at, run.steps) == (inf, 0)
