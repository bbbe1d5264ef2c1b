"""Bars: which limit it is, when it lets a call pass, and how that is said."""

from math import inf
from typing import Any

import pytest

from penstock.core.limits.account import Account, Purse
from penstock.core.limits.bars import bar_of, duration
from penstock.core.limits.spec import RateSpec


def purse(**limits: Any) -> Purse:
    """One tenant's."""
    return Purse([Account("tenant", "t", "", RateSpec(**limits))], 1024)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.0, "0ms"), (0.0121, "13ms"), (0.9999, "1s"), (1.0, "1s"), (8.64, "8.64s"), (60.0, "1m0s"), (360.0, "6m0s"),
        (432.5, "7m12.5s"), (7200.0, "2h0m0s"), (86399.9995, "24h0m0s"),
    ],
)  # fmt: skip
def test_times_are_written_as_openai_does(seconds: float, text: str) -> None:
    """Hours, minutes and seconds without spaces; below a second milliseconds; never too short."""
    assert duration(seconds) == text


def test_of_several_limits_the_one_that_bars_for_longest_is_told() -> None:
    """A minute is over before an hour is."""
    paying = purse(requests_per_minute=1, requests_per_hour=1)
    for gauge in paying.requests:
        gauge.roll(0.0)
        gauge.take(1, 0)
    bar = bar_of(paying, 0, 0, 1.0)
    assert bar is not None
    assert (bar.label, bar.who, bar.what, bar.at, bar.wait_s) == (
        "request_limit", "tenant t", "requests per hour", 3660.0, 0.0
    )  # fmt: skip
    assert bar.retry_after_s(1.0) == 3659.0
    assert bar.detail(1.0) == (
        "Limit reached for tenant t on requests per hour: limit 1, used 1, requested 1. Please try again in 1h0m59s."
    )


def test_what_is_larger_than_the_limit_never_passes() -> None:
    """Then there is no use in trying again, and the answer says so."""
    bar = bar_of(purse(tokens_per_minute=100), 101, 0, 0.0)
    assert bar is not None
    assert (bar.label, bar.at, bar.retry_after_s(0.0), bar.wait_s) == ("too_large", inf, None, 0.0)
    assert "Ask for less" in bar.detail(0.0)


def test_money_is_told_in_money() -> None:
    """Not in the billionths in which it is counted."""
    paying = purse(budget_per_day=0.5)
    (budget,) = paying.budgets
    budget.roll(0.0)
    budget.take(450_000_000, 0)
    bar = bar_of(paying, 0, 100_000_000, 10.0)
    assert bar is not None
    assert (bar.label, bar.limit, bar.used, bar.need, bar.at) == ("budget_spent", 0.5, 0.45, 0.1, 86400.0)
    assert "limit 0.5, used 0.45, requested 0.1" in bar.detail(10.0)


def test_a_budget_of_nothing_is_spent_from_the_beginning() -> None:
    """Zero is a way to stop somebody, and is called by its name."""
    bar = bar_of(purse(budget_per_day=0), 0, 1, 10.0)
    assert bar is not None
    assert bar.label == "budget_spent"


@pytest.mark.parametrize("over, calls, passes", [("warn", 3, True), ("throttle", 0, True), ("throttle", 1, False)])
def test_a_spent_budget_may_only_warn_or_throttle(over: str, calls: int, passes: bool) -> None:
    """Throttled, calls come one at a time."""
    paying = purse(budget_per_day=0, over_budget=over)
    paying.accounts[0].calls = calls
    assert (bar_of(paying, 0, 5, 1.0) is None) is passes


def test_what_is_only_held_is_worth_a_wait() -> None:
    """A call waits where others may give back enough, and not where they cannot."""
    paying = purse(tokens_per_minute=100, wait_s=7.0)
    (tokens,) = paying.tokens
    tokens.roll(0.0)
    taken = tokens.take(60, 60)
    bar = bar_of(paying, 50, 0, 1.0)
    assert bar is not None
    assert bar.wait_s == 7.0
    taken.change(0, -60)
    bar = bar_of(paying, 50, 0, 1.0)
    assert bar is not None
    assert bar.wait_s == 0.0


def test_a_queue_waits_for_the_window_where_it_ends_in_time() -> None:
    """With `queue` a call waits for a second's window, and not for a day's."""
    for period, wait_s in (("second", 10.0), ("day", 0.0)):
        paying = purse(**{f"requests_per_{period}": 1}, over_limit="queue")
        paying.requests[0].roll(0.0)
        paying.requests[0].take(1, 0)
        bar = bar_of(paying, 0, 0, 0.5)
        assert bar is not None
        assert bar.wait_s == wait_s


def test_calls_at_once_are_told_as_such() -> None:
    """Nobody knows when one of them ends: a second is a guess."""
    paying = purse(concurrency=2)
    paying.accounts[0].calls = 2
    bar = bar_of(paying, 0, 0, 5.0)
    assert bar is not None
    assert (bar.label, bar.retry_after_s(5.0), bar.wait_s) == ("concurrency_limit", 1.0, 0.0)
    assert bar.detail(5.0) == "Too many requests at once for tenant t: limit 2. Please try again later."
