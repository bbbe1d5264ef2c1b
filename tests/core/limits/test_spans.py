"""Spans cut time as windows do."""

import pytest

from penstock.core.limits.spans import AT_ONCE, span_of


def test_a_rate_slides_by_sixtieths() -> None:
    """What was used in a second counts until the whole of it is older than a minute."""
    span = span_of("requests per minute")
    assert (span.index(61.5), span.ends(61), span.oldest(61), span.free_at(61)) == (61, 62.0, 1, 122.0)


def test_a_day_is_cut_into_quarters_of_an_hour() -> None:
    """Ninety-six of them, and the present one."""
    span = span_of("tokens per day")
    assert (span.index(1000.0), span.free_at(1)) == (1, 97 * 900.0 + 900.0)


def test_budgets_go_by_the_calendar() -> None:
    """A stretch is named by its first second, and nothing of the one before counts."""
    day, month = span_of("budget per day"), span_of("budget per month")
    assert (day.index(86_401.0), day.ends(86_400), day.oldest(86_400)) == (86_400, 172_800.0, 86_400)
    assert (month.index(86_401.0), month.free_at(0)) == (0, 31 * 86_400.0)


def test_what_has_no_window_never_counts() -> None:
    """Not even what is used now."""
    span = span_of(AT_ONCE)
    present = span.index(7.5)
    assert present < span.oldest(present)
    assert (span.ends(7), span.free_at(7)) == (8.0, 7.0)


@pytest.mark.parametrize("what", ["smiles per day", "requests", "budget per hour", "requests per year", ""])
def test_there_are_no_other_limits(what: str) -> None:
    """A name that means none is a ValueError."""
    with pytest.raises(ValueError, match="no limit"):
        span_of(what)
