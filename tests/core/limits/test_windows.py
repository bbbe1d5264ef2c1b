"""Windows: nothing passes a limit in any span, and what was given back is there again."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.limits.windows import PERIODS, Calendar, Pour, Window, bounds, tightest


def test_a_window_slides() -> None:
    """What was taken at 0.5 comes free when its second is a whole minute old, not before."""
    window = Window("requests per minute", 2, "minute")
    for now in (0.5, 30.0):
        assert not window.over(1, now)
        window.take(1, 0)
    assert window.over(1, 60.9)
    assert window.allows_at(1) == 61.0
    assert not window.over(1, 61.0)
    assert window.left == 1
    assert window.free_at(61.0) == 91.0
    assert not window.over(2, 91.0)
    assert window.used == 0


def test_what_is_held_may_come_back() -> None:
    """A limit is firmly reached only where what is held would not help."""
    window = Window("tokens per minute", 100, "minute")
    window.roll(1000.0)
    taken = window.take(80, 80)
    assert window.over(50, 1000.0)
    assert not window.firm(50)
    taken.change(60 - 80, -80)
    assert window.firm(50)
    assert (window.used, window.held, window.left) == (60, 0, 40)


def test_what_is_forgotten_is_not_given_back() -> None:
    """A call that outlives the window changes nothing any more: its hold has gone with its bucket."""
    window = Window("tokens per minute", 100, "minute")
    window.roll(0.0)
    taken = window.take(80, 80)
    window.roll(70.0)
    assert (window.used, window.held) == (0, 0)
    window.take(10, 10)
    taken.change(-80, -80)
    assert (window.used, window.held) == (10, 10)


def test_a_clock_that_jumps_back_forgets_nothing() -> None:
    """An earlier time is taken for the latest that was seen."""
    window = Window("requests per minute", 1, "minute")
    window.roll(1000.0)
    window.take(1, 0)
    assert window.over(1, 10.0)
    assert window.over(1, 1001.0)
    assert not window.over(1, 5000.0)


@pytest.mark.parametrize("period", PERIODS)
@given(steps=st.lists(st.tuples(st.floats(0, 0.4), st.integers(1, 5)), max_size=80), start=st.floats(0, 2e9))
def test_no_span_has_more_than_the_limit(period: str, steps: list[tuple[float, int]], start: float) -> None:
    """Whoever takes whenever there is room never has more than the limit in any span of the window's length."""
    bucket_s, count = PERIODS[period]
    length_s, limit = bucket_s * count, 12
    window, now = Window("x", limit, period), start
    taken: list[tuple[float, int]] = []
    for step, amount in steps:
        now += step * length_s
        if not window.over(amount, now):
            window.take(amount, 0)
            taken.append((now, amount))
        assert window.used == sum(amount for at, amount in taken if at // bucket_s >= now // bucket_s - count)
    for at, _ in taken:
        assert sum(amount for when, amount in taken if at <= when < at + length_s) <= limit


@given(steps=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 9)), min_size=1, max_size=40), need=st.integers(1, 20))
def test_the_time_at_which_it_fits_is_the_first(steps: list[tuple[float, int]], need: int) -> None:
    """At the time that it tells the amount fits, and a moment earlier it does not."""
    now, window = 1_700_000_000.0, Window("x", 20, "minute")
    for step, amount in steps:
        now += step
        if not window.over(amount, now):
            window.take(amount, 0)
    if window.over(need, now):
        at = window.allows_at(need)
        assert window.over(need, at - 0.001)
        assert not window.over(need, at)


@pytest.mark.parametrize(
    "day, first, last",
    [
        ((2026, 11, 25), (2026, 11, 1), (2026, 12, 1)),
        ((2026, 12, 31), (2026, 12, 1), (2027, 1, 1)),
        ((2024, 2, 29), (2024, 2, 1), (2024, 3, 1)),
    ],
)
def test_months_are_the_calendars(
    day: tuple[int, int, int], first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    """A month begins and ends at midnight of UTC, over years and leap days."""
    now, begin, end = (datetime(*date, tzinfo=UTC).timestamp() for date in (day, first, last))
    assert bounds("month", now + 3600.0) == (begin, end)
    assert bounds("day", now + 3600.0) == (now, now + 86400.0)


def test_a_budget_begins_anew_at_midnight() -> None:
    """What a call of yesterday gives back is nobody's today."""
    budget = Calendar("budget per day", 100, "day")
    assert not budget.over(100, 86399.0)
    yesterday = budget.take(100, 100)
    assert budget.over(1, 86399.5)
    assert budget.allows_at(1) == budget.free_at(86399.5) == 86400.0
    assert not budget.over(100, 86400.0)
    today = budget.take(30, 0)
    yesterday.change(-100, -100)
    assert (budget.used, budget.held, budget.left) == (30, 0, 70)
    today.change(-10, 0)
    assert budget.used == 20


def test_clients_are_told_of_the_tightest() -> None:
    """Of several windows the one with least left."""
    minute, day = Window("m", 10, "minute"), Window("d", 12, "day")
    for window in (minute, day):
        window.roll(0.0)
        window.take(5, 0)
    assert tightest([day, minute], 1.0) is minute
    assert (minute.left, minute.free_at(1.0)) == (5, 61.0)
    assert tightest([day, minute], 61.0) is day
    assert (day.left, day.free_at(61.0)) == (7, 97 * 900.0)
    assert (minute.left, minute.free_at(61.0)) == (10, 61.0)
    assert tightest([], 0.0) is None


def test_a_burst_passes_and_then_a_steady_stream() -> None:
    """Three at once, then two a second; after a pause three again, and no more."""
    pour = Pour("requests in a burst", 3, 2.0)
    passed = []
    for tenth in range(60):
        now = 1_700_000_000.0 + tenth / 10
        while (tenth < 30 or tenth > 55) and not pour.over(1, now):
            pour.take(1, 0)
            passed.append(tenth)
    assert passed == [0, 0, 0, 5, 10, 15, 20, 25, 56, 56, 56]


def test_what_was_poured_in_may_be_given_back() -> None:
    """A request that was refused elsewhere makes room at once, and never more than there was."""
    pour = Pour("requests in a burst", 1, 1.0)
    assert not pour.over(1, 10.0)
    taken = pour.take(1, 0)
    assert pour.over(1, 10.0)
    assert pour.allows_at(1) == pytest.approx(11.0)
    assert pour.free_at(10.0) == 11.0
    taken.change(-1, 0)
    assert not pour.over(1, 10.0)
    taken.change(-1, 0)
    assert not pour.over(1, 20.0)
    pour.take(1, 0)
    assert pour.over(1, 20.0)


@given(steps=st.lists(st.floats(0, 3), max_size=60), burst=st.integers(1, 5), per_second=st.floats(0.1, 50))
def test_no_span_has_more_than_the_burst_and_the_stream(steps: list[float], burst: int, per_second: float) -> None:
    """In any span at most the burst and what runs out meanwhile; and when it tells that one fits, one fits."""
    pour, now, passed = Pour("x", burst, per_second), 1_700_000_000.0, []
    for step in steps:
        now += step
        if pour.over(1, now):
            now = pour.allows_at(1)
            assert not pour.over(1, now)
        pour.take(1, 0)
        passed.append(now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - begin) * per_second + 1e-3
