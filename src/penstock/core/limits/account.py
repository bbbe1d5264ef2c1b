"""Accounts: what one tenant, key, model or everybody may use and has used; purses, the accounts that pay for a call;
and holds, what it takes from them until it is over."""

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.core.limits.charges import NANO
from penstock.core.limits.parts import Axis, Money, Part
from penstock.core.limits.slots import Slots
from penstock.core.limits.spec import RateSpec, ShapingSpec
from penstock.core.limits.windows import Calendar, Gauge, Pour, Window

SHARE: Final = 4
_RATES: Final = [
    (f"{what}_per_{period}", what, period)
    for what in ("requests", "tokens")
    for period in ("second", "minute", "hour", "day")
    if f"{what}_per_{period}" in RateSpec.__struct_fields__
]
_BUDGETS: Final = [(f"budget_per_{period}", period) for period in ("day", "month")]


class Account:
    """One of those who pay."""

    __slots__ = ("_gauges", "axis", "budgets", "calls", "kind", "model", "name", "requests", "slots", "spec", "tokens")

    def __init__(self, kind: str, name: str, model: str, spec: RateSpec, axis: Axis | None = None) -> None:
        self.axis = axis
        """Where its limits are shared with other processes: their clock."""
        self.slots: Slots | None = None
        """Then the calls that it may have at once are a limit like the others."""
        self.kind = kind
        """tenant, key, or everybody."""
        self.name = name
        self.model = model
        """The one model that it is for; empty: all."""
        self.calls = 0
        """In flight."""
        self._gauges: dict[str, Gauge] = {}
        self.spec: RateSpec
        self.requests: list[Gauge]
        self.tokens: list[Gauge]
        self.budgets: list[Gauge]
        self.respec(spec)

    def respec(self, spec: RateSpec) -> None:
        """Other limits hold from now on; what was used of those that stay is kept."""
        self.spec = spec
        gauges: dict[str, Gauge] = {}
        self.requests, self.tokens, self.budgets = [], [], []
        for field, what, period in _RATES:
            limit: int | None = getattr(spec, field)
            if limit is not None:
                gauge = self._gauges.get(field) or self._open(f"{what} per {period}", limit, period, money=False)
                self._keep(field, gauge, limit, gauges)
                (self.requests if what == "requests" else self.tokens).append(gauge)
        for field, period in _BUDGETS:
            money: float | None = getattr(spec, field)
            if money is not None:
                gauge = self._gauges.get(field) or self._open(f"budget per {period}", 0, period, money=True)
                self._keep(field, gauge, round(money * NANO), gauges)
                self.budgets.append(gauge)
        self._gauges = gauges
        if self.axis is not None:
            self._share_slots(self.axis, spec.concurrency)

    def _open(self, what: str, limit: int, period: str, *, money: bool) -> Gauge:
        if self.axis is not None:
            part = (Money if money else Part)(what, limit, self.axis)
            part.open_row((self.kind, self.name, self.model))
            return part
        return Calendar(what, limit, period) if money else Window(what, limit, period)

    def _share_slots(self, axis: Axis, most: int | None) -> None:
        if most is None:
            self.slots = None
            return
        if self.slots is None:
            self.slots = Slots(most, axis, self)
        self.slots.relimit(most)
        self.requests.append(self.slots)

    @staticmethod
    def _keep(field: str, gauge: Gauge, limit: int, gauges: dict[str, Gauge]) -> None:
        gauge.relimit(limit)
        gauges[field] = gauge

    @property
    def shown(self) -> str:
        """Whose it is, in words."""
        who = f"{self.kind} {self.name}" if self.name else self.kind
        return f"{who} and model {self.model}" if self.model else who

    @property
    def full(self) -> bool:
        """As many calls are in flight as may be."""
        most = self.spec.concurrency
        return most is not None and self.calls >= most

    @property
    def idle(self) -> bool:
        """Nothing would be lost with it."""
        return not self.calls and all(gauge.pristine for gauge in self.gauges())

    def gauges(self) -> Iterator[Gauge]:
        """All its windows."""
        yield from self._gauges.values()

    def parts(self) -> list[Part]:
        """Those of its limits that are shared with other processes."""
        parts = [gauge for gauge in self._gauges.values() if isinstance(gauge, Part)]
        return parts if self.slots is None else [*parts, self.slots]


class Shape(Account):
    """All calls to one model with one priority: they come one after the other."""

    __slots__ = ("_pour",)

    def __init__(self, priority: str, model: str, spec: ShapingSpec) -> None:
        super().__init__("priority", priority, model, RateSpec())
        self._pour = Pour("requests in a burst", spec.burst, spec.per_second)
        self.requests.append(self._pour)
        self.reshape(spec)

    def reshape(self, spec: ShapingSpec) -> None:
        """They come so from now on; what came before is kept."""
        self.spec = RateSpec(over_limit="queue", wait_s=spec.wait_s)
        self._pour.limit, self._pour.per_second = spec.burst, spec.per_second

    def gauges(self) -> Iterator[Gauge]:
        """All its windows."""
        yield from self.requests


class Purse:
    """The accounts that pay for calls of one tenant with one key to one model, and all their windows."""

    __slots__ = (
        "accounts",
        "budgets",
        "crowded",
        "least_budget",
        "least_tokens",
        "noted",
        "requests",
        "tokens",
        "told",
        "usual_output",
    )  # fmt: skip

    def __init__(self, accounts: Sequence[Account], default_output: int) -> None:
        self.accounts = tuple(accounts)
        self.requests = [gauge for account in accounts for gauge in account.requests]
        self.told = [
            gauge for account in accounts for gauge in account.requests
            if not isinstance(account, Shape) and gauge is not account.slots
        ]  # fmt: skip
        """Those on requests that are the client's own."""
        self.tokens = [gauge for account in accounts for gauge in account.tokens]
        self.budgets = [gauge for account in accounts for gauge in account.budgets]
        self.crowded = [one for one in accounts if one.spec.concurrency is not None and one.slots is None]
        """Those that bound how many calls they have at once."""
        self.noted = any(isinstance(gauge, Part) and gauge.row >= 0 for one in accounts for gauge in one.gauges())
        """What calls spend stands on a sheet."""
        self.least_tokens = min((gauge.limit for gauge in self.tokens), default=0)
        stopping = [account for account in accounts if account.spec.over_budget == "stop"]
        self.least_budget = min((gauge.limit for account in stopping for gauge in account.budgets), default=0)
        self.usual_output = min(default_output, max(1, self.least_tokens // SHARE)) if self.tokens else default_output
        """Tokens of an answer where the call does not say: the default, and a share of the least limit at most, else a
        small limit would let nobody in beside it."""

    def passes(self, tokens: int, money: int, now: float) -> bool:
        """Whether so much, and one more call, is within all limits."""
        for gauge in self.requests:
            if now >= gauge.until:
                gauge.roll(now)
            if gauge.used >= gauge.limit:
                return False
        for gauge in self.tokens:
            if now >= gauge.until:
                gauge.roll(now)
            if gauge.used + tokens > gauge.limit:
                return False
        for gauge in self.budgets:
            if now >= gauge.until:
                gauge.roll(now)
            if gauge.used + money > gauge.limit:
                return False
        return not (self.crowded and any(account.full for account in self.crowded))


class Hold:
    """What a call in flight holds."""

    __slots__ = ("budgets", "money", "output", "purse", "requests", "spent", "tokens", "used_tokens")

    def __init__(self, purse: Purse, tokens: int, money: int, output: int) -> None:
        self.purse = purse
        self.tokens = tokens
        self.money = money
        self.output = output
        """Tokens of its answer, among the tokens."""
        self.spent = False
        """It stands on the sheet."""
        # what `Gauge.take` does, written out: every call does it for every window
        self.requests = [gauge.bucket or gauge.begin() for gauge in purse.requests]
        for bucket in self.requests:
            bucket.used += 1
            bucket.gauge.used += 1
        self.used_tokens = [gauge.bucket or gauge.begin() for gauge in purse.tokens]
        for bucket in self.used_tokens:
            bucket.used += tokens
            bucket.held += tokens
            gauge = bucket.gauge
            gauge.used += tokens
            gauge.held += tokens
        self.budgets = [gauge.take(money, money) for gauge in purse.budgets]
        for account in purse.accounts:
            account.calls += 1

    def spend(self) -> None:
        """It goes to an engine, or gets an answer: from now on it may be used up, whatever becomes of this process."""
        if not self.spent:
            self.spent = True
            self._note(1, self.tokens, self.money)

    def _note(self, requests: int, tokens: int, money: int) -> None:
        for buckets, amount in ((self.requests, requests), (self.used_tokens, tokens), (self.budgets, money)):
            for bucket in buckets:
                if isinstance(bucket.gauge, Part):
                    bucket.gauge.spend(bucket, amount)

    def settle(self, served: bool, tokens: int, money: int) -> None:
        """Charge this, and give back the rest."""
        if self.purse.noted:
            spent = (1, self.tokens, self.money) if self.spent else (0, 0, 0)
            self._note(int(served) - spent[0], tokens - spent[1], money - spent[2])
        if not served:
            for bucket in self.requests:
                bucket.change(-1, 0)
        held = self.tokens
        for bucket in self.used_tokens:
            bucket.change(tokens - held, -held)
        held = self.money
        for bucket in self.budgets:
            bucket.change(money - held, -held)
        for account in self.purse.accounts:
            account.calls -= 1
