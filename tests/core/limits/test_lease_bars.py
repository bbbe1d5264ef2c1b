"""Bars of shared limits: labels, waits, and the time at which it is worth coming back."""

from math import inf

from penstock.core.limits.account import Account, Shape
from penstock.core.limits.lease_bars import BEAT_S, LEASING_S, bar_of, leasing, one_at_a_time, turn_of, within_share
from penstock.core.limits.parts import Axis, Part
from penstock.core.limits.spec import RateSpec, ShapingSpec, SharedSpec


def shared(spec: RateSpec) -> tuple[Account, Part]:
    """An account with one limit, of a process whose store was heard at 10 for the first time."""
    axis = Axis(SharedSpec(away="local", share=0.5))
    axis.absence.heard(10.0, 0.0, 10.0)
    account = Account("tenant", "t", "", spec, axis)
    return account, account.parts()[0]


def test_a_bar_names_limit_and_label() -> None:
    """By what it limits; a call that is larger than the limit never passes; money is in whole units."""
    account, part = shared(RateSpec(tokens_per_minute=100))
    bar = bar_of(account, part, 7, 20.0, 1.0)
    assert (bar.label, bar.who, bar.what, bar.limit, bar.need) == ("token_limit", "tenant t", part.name, 100.0, 7.0)
    assert bar_of(account, part, 101, inf, 0.0).label == "too_large"
    account, part = shared(RateSpec(budget_per_day=2.5))
    bar = bar_of(account, part, 500_000_000, 20.0, 0.0)
    assert (bar.label, bar.limit, bar.need) == ("budget_spent", 2.5, 0.5)
    account, part = shared(RateSpec(concurrency=3))
    assert bar_of(account, part, 1, inf, 0.0).label == "concurrency_limit"


def test_who_waits_for_the_store_waits_long_enough_for_it() -> None:
    """Also where a call may not wait for a limit."""
    account, part = shared(RateSpec(requests_per_minute=100, wait_s=0.0))
    bar = leasing(account, part, 1, 20.0)
    assert (bar.label, bar.wait_s, bar.at) == ("limits_away", LEASING_S, 20.0 + BEAT_S)


def test_within_its_share_a_call_waits_where_that_helps() -> None:
    """Until the others have been heard: five seconds, if it may wait so long."""
    for wait_s, waits in ((10.0, 10.0), (2.0, 0.0)):
        account, part = shared(RateSpec(requests_per_minute=100, wait_s=wait_s))
        bar = within_share(account, part, 1, 11.0)
        assert (bar.label, bar.at, bar.wait_s) == ("request_limit", 15.0, waits)


def test_turns_come_one_after_the_other() -> None:
    """Of a budget that is spent, and of shaping."""
    account, _ = shared(RateSpec(requests_per_minute=100, over_limit="queue", wait_s=4.0))
    bar = one_at_a_time(account, 20.0)
    assert (bar.label, bar.wait_s, bar.at) == ("concurrency_limit", 4.0, 21.0)
    shape = Shape("normal", "m", ShapingSpec(burst=1, per_second=1.0, wait_s=2.0))
    shape.requests[0].roll(20.0)
    shape.requests[0].take(1, 0)
    bar = turn_of(shape, 20.0)
    assert (bar.label, bar.wait_s, round(bar.at, 3)) == ("request_limit", 2.0, 21.0)
