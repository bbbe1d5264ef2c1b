"""Bars: why a call may not pass now, and when it may. Worked out only for calls that may not: it may take its time."""

from math import ceil, inf
from typing import Final, NamedTuple

from penstock.base.errors import Label
from penstock.core.limits.account import Account, Purse
from penstock.core.limits.charges import NANO
from penstock.core.limits.windows import Gauge

_LABELS: Final[dict[str, Label]] = {"requests": "request_limit", "tokens": "token_limit", "budget": "budget_spent"}


class Bar(NamedTuple):
    """Why a call may not pass."""

    label: Label
    who: str
    """Whose limit: "tenant acme"; empty: nobody's."""
    what: str
    """Which one: "tokens per minute"."""
    limit: float
    used: float
    held: float
    """The part of it that calls in flight may give back."""
    need: float
    at: float
    """When it can pass at the latest, if nothing more is taken; infinity: never."""
    wait_s: float
    """How long it may wait for that; 0: not at all."""

    def retry_after_s(self, now: float) -> float | None:
        """What its client is told; None: there is no use in trying again."""
        return None if self.at == inf else max(0.0, self.at - now)

    def detail(self, now: float) -> str:
        """The reason in words."""
        if self.label == "no_price":
            return f"The model {self.what!r} has no price here, and a budget applies."
        if self.label == "limits_away":
            return f"The store of shared limits cannot be reached, and {self.who} is limited. Please try again later."
        if self.label == "concurrency_limit":
            return f"Too many requests at once for {self.who}: limit {self.limit:,.0f}. Please try again later."
        numbers = f"limit {_shown(self.limit)}, used {_shown(self.used)}, requested {_shown(self.need)}"
        if self.at == inf:
            return f"The request alone is larger than the limit of {self.who} on {self.what}: {numbers}. Ask for less."
        again = f"Please try again in {duration(max(0.0, self.at - now))}."
        return f"Limit reached for {self.who} on {self.what}: {numbers}. {again}"


def _shown(number: float) -> str:
    return f"{number:,.6f}".rstrip("0").rstrip(".")


_OF_A_SECOND: Final = ("s", *(f".{millis:03}".rstrip("0") + "s" for millis in range(1, 1000)))
"""How a number of seconds ends, by the milliseconds beyond: every answer says it, and formats cost a microsecond."""


def duration(seconds: float) -> str:
    """A time as OpenAI writes it in its headers and errors: 12ms, 1s, 6m0s, 2h0m0s. Rounded up to a millisecond."""
    millis = ceil(seconds * 1000)
    if millis < 1000:
        return f"{millis}ms"
    whole = millis // 1000
    minutes = whole // 60
    text = f"{whole % 60}{_OF_A_SECOND[millis % 1000]}"
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60}m{text}"
    return f"{minutes}m{text}" if minutes else text


def bar_of(purse: Purse, tokens: int, money: int, now: float) -> Bar | None:
    """What keeps a call from passing that needs so much; of several limits the one that does for longest."""
    found: list[Bar | None] = []
    for account in purse.accounts:
        for gauges, need in ((account.requests, 1), (account.tokens, tokens), (account.budgets, money)):
            found += [_by_gauge(account, gauge, need, now) for gauge in gauges if gauge.over(need, now)]
        if account.full:
            found.append(_crowded(account, now))
    bars = [bar for bar in found if bar is not None]
    if not bars:
        return None
    worst = max(bars, key=lambda bar: bar.at)
    return worst._replace(wait_s=min(bar.wait_s for bar in bars))


def _by_gauge(owner: Account, gauge: Gauge, need: int, now: float) -> Bar | None:
    budget = gauge.is_money
    if budget and owner.spec.over_budget != "stop":
        return _crowded(owner, now) if owner.spec.over_budget == "throttle" and owner.calls else None
    unit = NANO if budget else 1
    label = _LABELS[gauge.name.partition(" ")[0]]
    at = gauge.allows_at(need) if need <= gauge.limit else inf
    if at == inf and gauge.limit:
        label = "too_large"
    wait_s = owner.spec.wait_s
    if at == inf or (gauge.firm(need) and (owner.spec.over_limit == "refuse" or at > now + wait_s)):
        wait_s = 0.0
    return Bar(
        label,
        owner.shown,
        gauge.name,
        gauge.limit / unit,
        gauge.used / unit,
        gauge.held / unit,
        need / unit,
        at,
        wait_s,
    )


def _crowded(account: Account, now: float) -> Bar:
    spec, most = account.spec, account.spec.concurrency or 1
    wait_s = spec.wait_s if spec.over_limit == "queue" else 0.0
    return Bar(
        "concurrency_limit", account.shown, "calls at once", most, account.calls, account.calls, 1, now + 1.0, wait_s
    )
