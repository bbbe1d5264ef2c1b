"""Who may enter. What a call may need is held when it enters, all of it or nothing, and settled when it is over.

Nothing waits here and nobody is refused here: this file knows accounts and amounts. That ids of clients are in flight
once [Q3] is its business as well.
"""

from math import inf

from penstock.base.errors import Label
from penstock.base.nouns import AccountView, Call, GaugeView, Rates, Usage
from penstock.core.flight import Flight
from penstock.core.limits.account import Account, Hold, Purse
from penstock.core.limits.bars import Bar, bar_of
from penstock.core.limits.charges import NANO, charge, cost, most_output
from penstock.core.limits.estimates import Estimates
from penstock.core.limits.room import Lane, Room
from penstock.core.limits.spec import LimitsSpec, RateSpec
from penstock.core.limits.windows import tightest

MOST_PURSES = 4096
_NONE = (None, None, None)


class Limits:
    """What calls in flight hold of their tenants' allowances, and who waits for some."""

    __slots__ = (
        "_accounts", "_estimates", "_holds", "_ids", "_now", "_purses", "_shared", "_spec", "freed",
        "on", "room",
    )  # fmt: skip

    def __init__(self) -> None:
        self._ids: set[tuple[str, str]] = set()
        self._spec: LimitsSpec | None = None
        self._accounts: dict[tuple[str, str, str], Account] = {}
        """By kind (tenant, key, everybody), name, and model, where it is one model's."""
        self._purses: dict[Lane, Purse | None] = {}
        """None: nothing limits them."""
        self.on = False
        """Somebody is limited, or something has a price."""
        self._shared = False
        """There are limits that all tenants share: what one gives back another may take."""
        self._estimates = Estimates()
        self._holds = 0
        self._now = -inf
        self.room = Room()
        self.freed: list[str] = []
        """Tenants of whom calls wait, and for whom something may have come free since it was last asked."""

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def holds(self) -> int:
        """Calls in flight that hold something."""
        return self._holds

    def respec(self, spec: LimitsSpec | None) -> None:
        """Other limits hold from now on. What was used is kept, and what calls in flight hold."""
        self.freed += self.room.tenants()
        if spec == self._spec:
            return
        self._spec = spec
        self.on = spec is not None
        self._shared = spec is not None and spec.everybody is not None
        self._purses.clear()
        self._accounts = {name: account for name, account in self._accounts.items() if not account.idle}

    # ===== a call comes and goes =====

    def enter(self, call: Call) -> Label | None:
        """Take its client's id; why not, otherwise."""
        if call.client_id:
            mark = (call.tenant, call.client_id)
            if mark in self._ids:
                return "duplicate_request_id"
            self._ids.add(mark)
        return None

    def leave(self, call: Call) -> None:
        """Give back what `enter` took."""
        if call.client_id:
            self._ids.discard((call.tenant, call.client_id))

    def hold(self, flight: Flight, now: float) -> Bar | None:
        """Take what the call may need, all or nothing; what bars it, otherwise."""
        spec = self._spec
        if spec is None or not flight.targets:
            return None
        purse = self._purse(self.lane(flight), spec)
        if purse is None:
            return None
        now = self._now = max(self._now, now)
        tokens = money = output = 0
        if purse.tokens or purse.budgets:
            output = most_output(flight.call, purse.usual_output(spec.default_max_tokens))
            if purse.budgets:
                for _, model in flight.targets:
                    if model not in spec.prices and spec.unknown_price == "refuse":
                        return Bar("no_price", "", model, 0, 0, 0, 0, inf, 0.0)
            tokens, money = self._needs(flight, purse, output, spec)
        for gauge in purse.requests:
            if gauge.over(1, now):
                return bar_of(purse, tokens, money, now)
        for gauge in purse.tokens:
            if gauge.over(tokens, now):
                return bar_of(purse, tokens, money, now)
        for gauge in purse.budgets:
            if gauge.over(money, now) and (bar := bar_of(purse, tokens, money, now)) is not None:
                return bar
        for account in purse.crowded:
            if account.full:
                return bar_of(purse, tokens, money, now)
        self._take(flight, Hold(purse, tokens, money, output, now))
        return None

    def _take(self, flight: Flight, hold: Hold) -> None:
        purse = hold.purse
        for gauge in purse.requests:
            gauge.take(1, 0)
        for gauge in purse.tokens:
            gauge.take(hold.tokens, hold.tokens)
        for gauge in purse.budgets:
            gauge.take(hold.money, hold.money)
        for account in purse.accounts:
            account.calls += 1
        self._holds += 1
        flight.hold = hold

    def _needs(self, flight: Flight, purse: Purse, output: int, spec: LimitsSpec) -> tuple[int, int]:
        """Tokens and money to hold: what will hardly be passed, or all of the limit where the usual guess is within it:
        whoever is alone may pass."""
        guess = flight.call.prompt_tokens
        prompt = self._estimates.high(flight.targets[0].model, guess)
        tokens = prompt + output
        if purse.tokens and tokens > purse.least_tokens:
            tokens = max(guess + output, purse.least_tokens)
        if not purse.budgets:
            return tokens, 0
        prices = [spec.prices.get(model) for _, model in flight.targets]
        money = max(cost(price, prompt, output) for price in prices)
        if money > purse.least_budget:
            money = max(max(cost(price, guess, output) for price in prices), min(money, purse.least_budget))
        return tokens, money

    def settle(self, flight: Flight, outcome: str, status: int, usage: Usage | None, relayed: int, sent: bool) -> None:
        """The call is over: charge what it used, give back the rest."""
        spec, call = self._spec, flight.call
        hold = flight.hold
        model = flight.targets[0].model if flight.targets else ""
        if usage is not None:
            self._estimates.learn(model, call.prompt_tokens, usage.prompt_tokens)
        used = charge(
            call, outcome, status, usage, relayed, begun=flight.began is not None, sent=sent,
            prompt=self._estimates.typical(model, call.prompt_tokens), output=0 if hold is None else hold.output,
        )  # fmt: skip
        money = 0
        if spec is not None and spec.prices and flight.targets:
            price = spec.prices.get(flight.targets[flight.target].model)
            money = cost(price, used.prompt, used.completion, used.cached)
            flight.cost = money / NANO
        if hold is not None:
            flight.hold = None
            self._give_back(hold, used.served, used.tokens, money)
            if len(self.room):
                self.freed += self.room.tenants() if self._shared else (call.tenant,)

    def _give_back(self, hold: Hold, served: bool, tokens: int, money: int) -> None:
        purse, at = hold.purse, hold.at
        if not served:
            for gauge in purse.requests:
                gauge.change(at, -1, 0)
        for gauge in purse.tokens:
            gauge.change(at, tokens - hold.tokens, -hold.tokens)
        for gauge in purse.budgets:
            gauge.change(at, money - hold.money, -hold.money)
        for account in purse.accounts:
            account.calls -= 1
        self._holds -= 1

    # ===== accounts =====

    @staticmethod
    def lane(flight: Flight) -> Lane:
        """Whose call it is, and for which model."""
        call = flight.call
        return call.tenant, call.key, flight.targets[0].model, call.tier

    def _purse(self, lane: Lane, spec: LimitsSpec) -> Purse | None:
        try:
            return self._purses[lane]
        except KeyError:
            return self._open(lane, spec)

    def _open(self, lane: Lane, spec: LimitsSpec) -> Purse | None:
        tenant, key, model, tier = lane
        accounts: list[Account] = []
        allowance = spec.tenants.get(tenant) or (spec.tiers.of(tier) if spec.tiers is not None else None)
        for kind, name, given in (
            ("tenant", tenant, allowance), ("key", key, spec.keys.get(key)), ("everybody", "", spec.everybody)
        ):  # fmt: skip
            if given is not None:
                accounts.append(self._account(kind, name, "", given))
                if model in given.models:
                    accounts.append(self._account(kind, name, model, given.models[model]))
        if len(self._purses) >= MOST_PURSES:
            self._purses.clear()
        purse = self._purses[lane] = Purse(accounts) if accounts else None
        return purse

    def _account(self, kind: str, name: str, model: str, spec: RateSpec) -> Account:
        account = self._accounts.get((kind, name, model))
        if account is None:
            account = self._accounts[kind, name, model] = Account(kind, name, model, spec)
        elif account.spec != spec:
            account.respec(spec)
        return account

    # ===== for people =====

    def rates(self, flight: Flight, now: float) -> Rates | None:
        """What the call's client is told of its limits; None: it has none."""
        spec = self._spec
        if spec is None or not flight.targets:
            return None
        purse = self._purse(self.lane(flight), spec)
        if purse is None or not (purse.requests or purse.tokens):
            return None
        now = max(self._now, now)
        return Rates(*(tightest(purse.requests, now) or _NONE), *(tightest(purse.tokens, now) or _NONE))

    def views(self, now: float) -> list[AccountView]:
        """Every account as it stands: those that the settings name, and those of whom calls have come."""
        spec, now = self._spec, max(self._now, now)
        if spec is None:
            return []
        for kind, given in (("tenant", spec.tenants), ("key", spec.keys)):
            for name, allowance in given.items():
                self._account(kind, name, "", allowance)
        return [self._view(account, now) for account in self._accounts.values()]

    def _view(self, account: Account, now: float) -> AccountView:
        limits = []
        for gauge in account.gauges():
            gauge.roll(now)
            unit = NANO if gauge.is_money else 1
            limits.append(GaugeView(
                what=gauge.name, limit=gauge.limit / unit, used=gauge.used / unit, held=gauge.held / unit,
                left=gauge.left / unit, free_s=gauge.free_at(now) - now,
            ))  # fmt: skip
        waiting = self.room.waiting(account.name) if account.kind == "tenant" and not account.model else 0
        return AccountView(
            kind=account.kind, name=account.name, model=account.model, in_flight=account.calls, waiting=waiting,
            concurrency=account.spec.concurrency, limits=limits,
        )  # fmt: skip
