"""When a hedge is due, and within which budget."""

import pytest

from penstock.core.hedge import MOST_SAVED, Hedging
from penstock.core.spec import HedgeSpec


def made(hedging: Hedging, calls: int, every_s: float = 0.01, start: float = 0.0) -> int:
    """How many hedges are afforded when each of so many calls wants one."""
    count = 0
    for number in range(calls):
        now = start + number * every_s
        hedging.deposit(now)
        if hedging.affords(now):
            hedging.pay()
            count += 1
    return count


# ===== when =====


def test_a_delay_that_is_written_down_holds() -> None:
    """Streamed or not, however fast or slow calls are."""
    hedging = Hedging(HedgeSpec(delay_s=0.02))
    for _ in range(50):
        hedging.took(True, 3.0)
    assert (hedging.delay_s(True), hedging.delay_s(False)) == (0.02, 0.02)


def test_otherwise_it_is_what_most_calls_take() -> None:
    """The 95th percentile of each kind of calls on its own scale: first bytes of streams, whole answers of others."""
    hedging = Hedging(HedgeSpec())
    for number in range(100):
        hedging.took(True, 0.2 if number < 94 else 5.0)
        hedging.took(False, 8.0)
    ttft_s, whole_s = hedging.delay_s(True), hedging.delay_s(False)
    assert ttft_s is not None
    assert 5.0 <= ttft_s < 5.5
    assert whole_s is not None
    assert 8.0 <= whole_s < 8.8


def test_without_experience_there_is_no_hedge() -> None:
    """Until twenty calls of a kind were seen nobody can say which of them is slow."""
    hedging = Hedging(HedgeSpec())
    for _ in range(20):
        hedging.took(True, 0.2)
    assert hedging.delay_s(True) is not None
    assert hedging.delay_s(False) is None


def test_a_quick_pool_waits_for_the_minimum() -> None:
    """Where calls begin within a millisecond, a hedge is not made for two of them."""
    hedging = Hedging(HedgeSpec(min_delay_s=0.1))
    for _ in range(20):
        hedging.took(True, 0.001)
    assert hedging.delay_s(True) == 0.1


# ===== within which budget =====


@pytest.mark.parametrize("every_s", [0.0001, 0.01, 60.0])
def test_one_call_in_twenty(every_s: float) -> None:
    """With 5 % it is 50 hedges in a thousand calls that all want one, at any pace."""
    assert made(Hedging(HedgeSpec()), 1000, every_s) == 50


def test_it_begins_empty() -> None:
    """The first nineteen calls have nothing to spend."""
    assert made(Hedging(HedgeSpec()), 19) == 0


def test_savings_are_bounded() -> None:
    """A million calls without a hedge save up ten, not fifty thousand."""
    hedging = Hedging(HedgeSpec())
    for number in range(10_000):
        hedging.deposit(number * 0.01)
    count = 0
    while hedging.affords(100.0):
        hedging.pay()
        count += 1
    assert count == MOST_SAVED


def test_a_floor_allows_some_per_second() -> None:
    """With half a hedge per second and no share, 100 s of calls get 50, whether there are many calls or few."""
    spec = HedgeSpec(budget=0.0, budget_min_per_s=0.5)
    assert made(Hedging(spec), 100_001, 0.001) == 50
    assert made(Hedging(spec), 101, 1.0) == 50


def test_no_budget_no_hedge() -> None:
    """With neither a share nor a floor there is never one."""
    assert made(Hedging(HedgeSpec(budget=0.0)), 1000) == 0


def test_a_rate_saves_up_while_no_call_comes_but_no_more_than_ten() -> None:
    """One a second: after the only call it takes a second until a hedge is paid for, and a quiet night saves up ten."""
    hedging = Hedging(HedgeSpec(budget=0.0, budget_min_per_s=1.0))
    hedging.deposit(0.0)
    assert not hedging.affords(0.5)
    assert hedging.affords(1.0)
    count = 0
    while hedging.affords(30_000.0):
        hedging.pay()
        count += 1
    assert count == MOST_SAVED
