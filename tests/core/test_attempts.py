"""Budget, pauses and permission of second attempts, on literal numbers."""

import pytest

from penstock.base.errors import REFUSALS
from penstock.base.rand import Rand
from penstock.core.attempts import RetryBudget, may_repeat, pause_s, told
from penstock.core.spec import RetrySpec

FIFTH = RetrySpec(budget=0.2, budget_min_per_s=0.0)


def withdrawn(budget: RetryBudget, spec: RetrySpec, tries: int, now: float) -> int:
    """How many of so many retries the budget grants."""
    return sum(budget.withdraw(spec, now) for _ in range(tries))


def test_a_fifth_of_the_calls_may_be_retried() -> None:
    """Of 50 calls in ten seconds ten retries are granted, and not one more."""
    budget = RetryBudget()
    for n in range(50):
        budget.deposit(n / 10)
    assert withdrawn(budget, FIFTH, 20, 5.0) == 10


def test_less_than_a_whole_retry_is_none() -> None:
    """Four calls are worth 0.8 retries, five are worth one."""
    budget = RetryBudget()
    for _ in range(4):
        budget.deposit(0.0)
    assert not budget.withdraw(FIFTH, 0.0)
    budget.deposit(0.0)
    assert budget.withdraw(FIFTH, 0.0)


def test_ten_a_second_are_always_granted() -> None:
    """The default floor is 10/s over 10 s: a hundred retries without any traffic, then none until they age."""
    budget = RetryBudget()
    assert withdrawn(budget, RetrySpec(), 200, 3.0) == 100
    assert withdrawn(budget, RetrySpec(), 1, 12.9) == 0
    assert withdrawn(budget, RetrySpec(), 200, 13.0) == 100


def test_the_share_and_the_floor_add_up() -> None:
    """A thousand calls are worth 200 retries above the floor of 100."""
    budget = RetryBudget()
    for _ in range(1000):
        budget.deposit(0.5)
    assert withdrawn(budget, RetrySpec(), 500, 0.9) == 300


def test_calls_and_retries_are_forgotten_after_ten_seconds() -> None:
    """What was deposited in second 0 counts through second 9 and no longer; so does what was withdrawn."""
    budget = RetryBudget()
    for _ in range(10):
        budget.deposit(0.0)
    assert budget.calls == 10
    assert budget.withdraw(FIFTH, 9.9)
    assert not budget.withdraw(FIFTH, 10.0)
    assert (budget.calls, budget.retries) == (0, 1)
    budget.deposit(19.9)
    assert (budget.calls, budget.retries) == (1, 0)


def test_a_long_silence_empties_the_window() -> None:
    """However long nothing was told, no second is counted twice or left behind."""
    budget = RetryBudget()
    for second in range(10):
        budget.deposit(float(second))
    budget.deposit(1e9 + 0.5)
    assert budget.calls == 1
    assert sum(budget._calls) == 1


def test_time_that_stands_still_or_starts_late_is_no_problem() -> None:
    """The first deposit may be at any time; many within one second are all counted."""
    budget = RetryBudget()
    for _ in range(3):
        budget.deposit(1_700_000_000.25)
    assert budget.calls == 3


@pytest.mark.parametrize(("nth", "expected"), [(1, 1.0), (2, 1.5), (3, 2.25)])
def test_pauses_grow_by_half(nth: int, expected: float) -> None:
    """1 s, 1.5 s, 2.25 s without jitter."""
    assert pause_s(RetrySpec(jitter=0.0), nth, Rand(1).stream("x")) == expected


def test_jitter_is_centred_on_the_pause() -> None:
    """A fifth of jitter keeps 1,000 pauses within 0.8 and 1.2 of the base, around its middle."""
    rng = Rand(1).stream("x")
    pauses = [pause_s(RetrySpec(backoff_s=2.0), 1, rng) for _ in range(1000)]
    assert 1.6 <= min(pauses) < 1.65
    assert 2.35 < max(pauses) <= 2.4
    assert sum(pauses) / 1000 == pytest.approx(2.0, abs=0.02)


def test_permission_follows_the_flags() -> None:
    """Not retryable: never. Repeatable or nothing sent: yes. Otherwise no."""
    for row in REFUSALS.values():
        assert may_repeat(row, True) is row.retryable
        assert may_repeat(row, False) is (row.retryable and row.unsent)


def test_in_a_panic_nobody_there_is_no_replica() -> None:
    """What was never sent because nobody was there ends as 503 with Retry-After in a panic; all else as it was."""
    assert told("connect_refused", True) == "no_replica"
    assert told("connect_refused", False) == "connect_refused"
    assert told("upstream_5xx", True) == "upstream_5xx"
