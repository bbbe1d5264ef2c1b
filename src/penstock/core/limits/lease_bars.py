"""Bars of limits that processes share: why a call does not pass, until when it may wait, when to come back."""

from math import inf
from typing import Final

from penstock.base.errors import Label
from penstock.core.limits.account import Account
from penstock.core.limits.bars import Bar
from penstock.core.limits.charges import NANO
from penstock.core.limits.parts import Part
from penstock.core.limits.slots import Slots
from penstock.core.limits.spans import AT_ONCE

TICK_S: Final = 0.1
"""How often accounts are looked at that have a lease or wait for one."""
BEAT_S: Final = 1.0
"""How often the store hears of such an account at least; a third of the lease's time where that is less."""
LEASING_S: Final = 3.0
"""How long calls wait for a store at least before they are refused; a store that fails is known sooner."""
_LABELS: Final[dict[str, Label]] = {"requests": "request_limit", "tokens": "token_limit", "budget": "budget_spent"}


def bar_of(account: Account, part: Part, need: int, at: float, wait_s: float) -> Bar:
    """Too little is left of a part."""
    unit = NANO if part.is_money else 1
    label = "concurrency_limit" if isinstance(part, Slots) else _LABELS[part.name.partition(" ")[0]]
    if at == inf and part.limit and not isinstance(part, Slots):
        label = "too_large"
    return Bar(
        label, account.shown, part.name, part.limit / unit, (part.limit - part.left) / unit, part.theirs / unit,
        need / unit, at, wait_s,
    )  # fmt: skip


def within_share(account: Account, part: Part, need: int, now: float) -> Bar:
    """It was without the store, as others may still be: until all have been heard it stays within its share."""
    at = max(now + TICK_S, part.room_at(now))
    return bar_of(account, part, need, at, account.spec.wait_s if at <= now + account.spec.wait_s else 0.0)


def leasing(account: Account, part: Part, need: int, now: float) -> Bar:
    """It waits for the store."""
    wait_s = max(account.spec.wait_s, LEASING_S)
    return bar_of(account, part, need, now + BEAT_S, wait_s)._replace(label="limits_away")


def one_at_a_time(account: Account, now: float) -> Bar:
    """Its budget is spent, and calls come one after the other."""
    spec, calls = account.spec, account.calls
    wait_s = spec.wait_s if spec.over_limit == "queue" else 0.0
    return Bar("concurrency_limit", account.shown, AT_ONCE, 1, calls, calls, 1, now + BEAT_S, wait_s)


def turn_of(shape: Account, now: float) -> Bar:
    """Shaping: it waits for its turn."""
    (gauge,) = shape.requests
    at = gauge.allows_at(1)
    wait_s = shape.spec.wait_s if at <= now + shape.spec.wait_s else 0.0
    return Bar("request_limit", shape.shown, gauge.name, gauge.limit, gauge.used, gauge.held, 1, at, wait_s)
