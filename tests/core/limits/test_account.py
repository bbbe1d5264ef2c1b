"""Accounts keep what was used while their limits change; purses know all windows that pay."""

from penstock.base.leases import Grant
from penstock.core.limits.account import Account, Hold, Purse, Shape
from penstock.core.limits.parts import Axis
from penstock.core.limits.spec import RateSpec, ShapingSpec
from tests.helpers.lessees import Paper


def test_other_limits_keep_what_was_used() -> None:
    """A limit that stays has its window, one that goes is forgotten, one that comes begins empty."""
    account = Account("tenant", "t", "", RateSpec(requests_per_minute=5, tokens_per_day=100, budget_per_day=1.0))
    (requests,) = account.requests
    requests.roll(0.0)
    requests.take(3, 0)
    account.respec(RateSpec(requests_per_minute=2, requests_per_hour=9))
    minute, hour = account.requests
    assert (minute, minute.limit, minute.used) == (requests, 2, 3)
    assert (hour.limit, hour.used) == (9, 0)
    assert not account.tokens
    assert not account.budgets
    assert [gauge.name for gauge in account.gauges()] == ["requests per minute", "requests per hour"]


def test_an_account_is_idle_when_nothing_is_used() -> None:
    """Only then may it be forgotten."""
    account = Account("key", "k", "m", RateSpec(requests_per_minute=5, concurrency=1))
    assert account.idle
    assert account.shown == "key k and model m"
    account.calls = 1
    assert account.full
    assert not account.idle


def test_a_purse_has_the_windows_of_all_accounts() -> None:
    """Tenant's and key's; the least limits bound what one call may hold."""
    tenant = Account("tenant", "t", "", RateSpec(tokens_per_minute=500, budget_per_day=2.0, requests_per_minute=1))
    key = Account("key", "k", "", RateSpec(tokens_per_minute=100, budget_per_day=1.0, over_budget="warn"))
    purse = Purse([tenant, key], 1024)
    assert (len(purse.requests), len(purse.tokens), len(purse.budgets)) == (1, 2, 2)
    assert (purse.least_tokens, purse.least_budget) == (100, 2_000_000_000)
    assert not purse.crowded
    assert purse.usual_output == 25
    assert Purse([Account("key", "k", "", RateSpec(budget_per_day=1.0))], 1024).usual_output == 1024
    assert Account("everybody", "", "", RateSpec()).shown == "everybody"


def test_a_hold_is_settled_in_the_windows_that_it_was_taken_from() -> None:
    """All that is not used comes back, and the request itself where nothing was served."""
    account = Account("tenant", "t", "", RateSpec(requests_per_minute=9, tokens_per_minute=100, budget_per_day=1.0))
    purse = Purse([account], 1024)
    assert purse.passes(100, 10, 5.0)
    assert not purse.passes(101, 10, 5.0)
    assert not purse.passes(100, 1_000_000_001, 5.0)
    one, two = Hold(purse, 40, 30, 20), Hold(purse, 60, 70, 20)
    assert [(gauge.used, gauge.held) for gauge in account.gauges()] == [(2, 0), (100, 100), (100, 100)]
    assert account.calls == 2
    one.settle(True, 15, 12)
    two.settle(False, 0, 0)
    assert [(gauge.used, gauge.held) for gauge in account.gauges()] == [(1, 0), (15, 0), (12, 0)]
    assert account.calls == 0


def test_shaping_is_an_account_that_no_client_is_told_of() -> None:
    """Its one window is asked like the others, and is not among what is told."""
    shape = Shape("normal", "m", ShapingSpec(burst=1))
    purse = Purse([Account("tenant", "t", "", RateSpec(requests_per_minute=5)), shape], 1024)
    assert (len(purse.requests), len(purse.told)) == (2, 1)
    assert purse.passes(0, 0, 1.0)
    Hold(purse, 0, 0, 0)
    assert not purse.passes(0, 0, 1.0)
    assert shape.shown == "priority normal and model m"
    assert not shape.idle


def test_what_calls_spend_stands_on_the_sheet() -> None:
    """Not what waits, all that goes out, and in the end what was charged; the store is told no more than that."""
    axis, sheet = Axis(), Paper()
    axis.sheet = sheet
    account = Account("tenant", "t", "", RateSpec(requests_per_day=9, tokens_per_day=100), axis)
    purse = Purse([account], 1024)
    requests, tokens = account.parts()
    for part in (requests, tokens):
        part.hear(Grant(part.name, part.limit, part.limit, part.limit, 0.0, 0.0), 0, 100.0, 5.0)
        part.roll(5.0)
    waits, goes, free = Hold(purse, 40, 0, 20), Hold(purse, 30, 0, 20), Hold(purse, 20, 0, 10)
    goes.spend()
    goes.spend()
    free.spend()
    assert sheet.cells == [2, 50]
    assert requests.tell() == ((0, 2),)
    goes.settle(True, 17, 0)
    free.settle(False, 0, 0)
    assert sheet.cells == [1, 17]
    assert (requests.tell(), tokens.tell()) == (((0, -1),), ((0, 17),))
    waits.settle(True, 0, 0)
    assert sheet.cells == [2, 17]
    assert (requests.tell(), tokens.tell()) == (((0, 1),), ())
    assert not requests.untold()
