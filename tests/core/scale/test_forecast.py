"""Forecasts: patterns are found, errors are of what was said beforehand, and what cannot be said is not."""

from collections.abc import Callable
from math import pi, sin

import pytest

from penstock.core.scale.forecast import LEAST_POINTS, STEPS, Forecaster, step_of
from penstock.core.scale.history import DAY, WEEK


def steep(number: int) -> float:
    """A day as office hours have it: twenty calls, and a hundred from a quarter to three quarters of it."""
    return 100.0 if DAY // 4 <= number % DAY < 3 * DAY // 4 else 20.0


def told(windows: int, value: Callable[[int], float | None], first: int = 0) -> Forecaster:
    """One that has seen these."""
    return Forecaster(first, [value(first + at) for at in range(windows)])


def test_little_is_known_at_first() -> None:
    """No forecast is believed before ten windows, nor before ten forecasts were checked."""
    forecaster = told(LEAST_POINTS - 1, lambda _: 10.0)
    assert all(pattern.checked(1) is None for pattern in forecaster.patterns)
    assert forecaster.best(1) is None
    assert told(2 * LEAST_POINTS, lambda _: 10.0).best(1) is not None


def test_what_never_changes_is_known_exactly() -> None:
    """The same demand all the time is forecast without an error, at every distance."""
    forecaster = told(100, lambda _: 25.0)
    for step in STEPS:
        found = forecaster.best(step)
        assert found is not None
        assert forecaster.expect(found[0], step) == pytest.approx(25.0)
        assert found[1].error == pytest.approx(0.0, abs=1e-9)
        assert found[1].short == 1.0


def test_a_trend_goes_on_but_not_for_ever() -> None:
    """What grows is expected to grow on, and less so the farther away."""
    forecaster = told(60, lambda number: 10.0 + number)
    trend = forecaster.patterns[0]
    said = [forecaster.expect(trend, step) or 0.0 for step in (1, 3, 12)]
    assert 68.0 < said[0] < said[1] < said[2] < 70.0


@pytest.mark.slow
def test_a_daily_pattern_is_found() -> None:
    """After a few days the step in the morning is expected before it comes; the best pattern is no trend."""
    forecaster = told(3 * DAY + DAY // 4, steep)
    found = forecaster.best(3)
    assert found is not None
    pattern, checked = found
    assert pattern.name == "daily"
    assert forecaster.expect(pattern, 3) == pytest.approx(100.0)
    as_is = forecaster.naive.checked(3)
    assert as_is is not None
    assert checked.error < as_is.error / 2


@pytest.mark.slow
def test_yesterday_was_an_exception() -> None:
    """One day of seven on which nothing came does not change what is usual: it is a median."""
    forecaster = told(6 * DAY + DAY // 2, lambda number: 0.0 if DAY <= number < 2 * DAY else steep(number))
    daily = forecaster.patterns[1]
    assert forecaster.expect(daily, 12) == pytest.approx(100.0, rel=0.01)


@pytest.mark.slow
def test_a_weekly_pattern_is_found() -> None:
    """Weekends differ: after a week and a day the same day of last week says it better than the days before."""

    def weekly(number: int) -> float:
        return (10.0 if number // DAY % 7 >= 5 else 100.0) * (1.5 + sin(2 * pi * number / DAY))

    forecaster = told(WEEK + 6 * DAY, weekly)
    found = forecaster.best(12)
    assert found is not None
    assert found[0].name == "weekly"
    assert forecaster.expect(found[0], 12) == pytest.approx(weekly(WEEK + 6 * DAY + 11), rel=0.1)


def test_gaps_are_not_learnt_from() -> None:
    """A window that was not seen is neither demand of nothing nor an error."""
    holes = told(DAY, lambda number: None if number % 5 == 0 else 30.0)
    found = holes.best(1)
    assert found is not None
    assert found[1].error == pytest.approx(0.0, abs=1e-9)
    assert holes.known == DAY - DAY // 5 - 1
    assert told(DAY, lambda _: None).best(1) is None


def test_the_error_is_of_the_last_day() -> None:
    """What was off long ago is forgotten; how much nine of ten forecasts needed is of the same day."""
    forecaster = told(100, lambda number: 10.0 if number % 2 else 50.0)
    noisy = forecaster.best(1)
    assert noisy is not None
    assert noisy[1].error > 0.3
    assert noisy[1].short > 1.2
    for _ in range(DAY + 20):
        forecaster.close(30.0)
    calm = forecaster.best(1)
    assert calm is not None
    assert (calm[1].count, calm[1].error < 0.01) == (DAY, True)


def test_no_demand_at_all() -> None:
    """Where nothing is asked nothing is expected, without an error."""
    found = told(50, lambda _: 0.0).best(2)
    assert found is not None
    assert (found[1].error, found[1].short) == (0.0, 1.0)


@pytest.mark.slow
def test_what_it_keeps_is_bounded() -> None:
    """After eighteen days it holds what it held after two weeks."""
    forecaster = told(18 * DAY, lambda number: float(number % 17))
    kept = forecaster._past
    assert len(kept._values) <= WEEK + 2 * DAY
    assert len(kept._daily) <= 64
    assert all(len(pending) <= 13 for pattern in forecaster.patterns for pending in pattern._pending.values())


def test_whose_step_it_is() -> None:
    """A time ahead lies so many windows after the last one that is over; between two steps it is the farther one."""
    assert step_of(0.0, 9, 3000.0) == 1
    assert step_of(299.0, 9, 3000.0) == 1
    assert step_of(300.0, 9, 3000.0) == 2
    assert step_of(1250.0, 9, 3000.0) == 6
    assert step_of(9e9, 9, 3000.0) == 12
