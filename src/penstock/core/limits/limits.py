"""Who may enter. What a call may need is held when it enters, all of it or nothing, and settled when it is over.

Nothing waits here and nobody is refused here: this file knows accounts and amounts. That ids of clients are in flight
once [Q3] is its business as well.
"""

from math import inf
from typing import Final

from penstock.base.errors import Label
from penstock.base.leases import AccountKey
from penstock.base.nouns import PRIORITIES, AccountView, Call, GaugeView, Rates, Usage
from penstock.base.ports import Sheet
from penstock.core.flight import Flight
from penstock.core.limits.account import Account, Hold, Purse, Shape
from penstock.core.limits.bars import Bar, bar_of
from penstock.core.limits.charges import NANO, Price, charge, cost, most_output, price_of
from penstock.core.limits.clients import Clients
from penstock.core.limits.estimates import Estimates
from penstock.core.limits.leases import Leases, Tenure
from penstock.core.limits.parts import scarcest
from penstock.core.limits.recall import Recollection
from penstock.core.limits.room import Lane, Room
from penstock.core.limits.spec import LimitsSpec, RateSpec, ShapingSpec, SharedSpec
from penstock.core.limits.windows import tightest

MOST_PURSES: Final = 4096


class Limits:
    """What calls in flight hold of their tenants' allowances, and who waits for some."""

    __slots__ = (
        "_accounts", "_clients", "_estimates", "_former", "_holds", "_ids", "_prices", "_purses", "_shaped", "_shared",
        "_spec", "asking", "ended", "freed", "given_free", "leases", "on", "recollection", "room", "sheet",
    )  # fmt: skip

    def __init__(self) -> None:
        self._ids: set[tuple[str, str]] = set()
        self._spec: LimitsSpec | None = None
        self._clients: Clients | None = None
        """None: no plain rate is asked for."""
        self._accounts: dict[tuple[str, str, str], Account] = {}
        """By kind (tenant, key, everybody, priority), name, and model, where it is one model's."""
        self._former: dict[tuple[str, str, str], Account] = {}
        """The same by earlier settings: where there are limits for them again, what was used counts."""
        self._purses: dict[Lane, Purse | None] = {}
        """None: nothing limits them."""
        self.on = False
        """Somebody is limited, or something has a price."""
        self.given_free = True
        """An answer that was not generated for its call costs a request and nothing else."""
        self._shaped = False
        """Priorities are told apart."""
        self._shared = False
        """There are limits that all tenants share: what one gives back another may take."""
        self._estimates = Estimates()
        self._holds = 0
        self._prices: dict[str, Price] = {}
        self.recollection = Recollection()
        """What was used before this process began, until its account opens."""
        self.room = Room()
        self.freed: list[str] = []
        """Tenants of whom calls wait, and for whom something may have come free since it was last asked."""
        self.asking: dict[AccountKey, Tenure] = {}
        """What the store of shared limits is to be told and asked."""
        self.leases: Leases | None = None
        """Where limits are shared with other processes."""
        self.ended: Leases | None = None
        """Where they no longer are: what is still to be given back."""
        self.sheet: Sheet | None = None
        """Where what was spent of shared limits is noted; see `note_on`."""

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def holds(self) -> int:
        """Calls in flight that hold something."""
        return self._holds

    def respec(self, spec: LimitsSpec | None, now: float = 0.0) -> None:
        """Other limits hold from now on. What was used is kept as long as it counts, and what calls in flight hold."""
        self.freed += self.room.tenants()
        if spec == self._spec:
            return
        self._spec = spec
        self._share(None if spec is None else spec.shared)
        self.on = spec is not None
        self._prices = {} if spec is None else {model: price_of(price) for model, price in spec.prices.items()}
        self._shaped = spec is not None and spec.shaping is not None
        self._shared = self._shaped or (spec is not None and spec.everybody is not None)
        per_s = None if spec is None else spec.per_client
        if per_s is None:
            self._clients = None
        elif self._clients is None or self._clients.per_s != per_s:
            self._clients = Clients(per_s)
        self._purses.clear()
        former = self._former | self._accounts
        shared = self.leases is not None
        self._former = {
            whose: account for whose, account in former.items()
            if (isinstance(account, Shape) or (account.axis is not None) == shared)
            and not self._forgets(whose, account, now)
        }  # fmt: skip
        self._accounts = {}

    def _forgets(self, whose: AccountKey, account: Account, now: float) -> bool:
        """Whether nothing of it counts any more: keys come and go, and what they had must not stay for ever."""
        for gauge in account.gauges():
            if now >= gauge.until:
                gauge.roll(now)
        return account.idle and (self.leases is None or self.leases.forget(whose))

    def _share(self, shared: SharedSpec | None) -> None:
        """Limits are shared so from now on. Where they begin to be, or cease, windows begin anew."""
        if shared is None:
            self.ended, self.leases = self.leases, None
        elif self.leases is None:
            self.leases = Leases(shared, self.room, self.asking)
            self.leases.axis.sheet = self.sheet
        else:
            self.leases.respec(shared)

    def note_on(self, sheet: Sheet) -> None:
        """Note there what is spent of shared limits, from before the first call on."""
        self.sheet = sheet
        if self.leases is not None:
            self.leases.axis.sheet = sheet

    def recall(self) -> None:
        """Something is recalled: accounts that are open have it at once. Shared ones have it of their store."""
        if self.leases is not None:
            return
        for whose, account in (self._former | self._accounts).items():
            self.recollection.give(whose, account)

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

    def too_fast(self, call: Call, client: str, now: float) -> Bar | None:
        """Whether a single client sends more calls a second than any may; then the call is not counted."""
        clients = self._clients
        if clients is None or (wait_s := clients.wait_s(client or call.key or call.tenant, now)) == 0.0:
            return None
        return Bar(
            "request_limit", "client", "requests per second", clients.per_s, clients.per_s, 0, 1, now + wait_s, 0.0
        )

    def hold(self, flight: Flight, now: float, *, given: bool = False) -> Bar | None:
        """Take what the call may need, all or nothing; what bars it, otherwise. `given`: nothing is made for it."""
        spec = self._spec
        if spec is None or not flight.targets:
            return None
        purse = self._purse(self.lane(flight), spec)
        if purse is None:
            return None
        tokens = money = output = 0
        if (purse.tokens or purse.budgets) and not (given and self.given_free):
            output = most_output(flight.call, purse.usual_output)
            if purse.budgets and spec.unknown_price == "refuse":
                for _, model in flight.targets:
                    if model not in self._prices:
                        return Bar("no_price", "", model, 0, 0, 0, 0, inf, 0.0)
            tokens, money = self._needs(flight, purse, output)
        if purse.passes(tokens, money, now) or (bar := self._bar(flight, purse, tokens, money, now)) is None:
            flight.hold = Hold(purse, tokens, money, output)
            self._holds += 1
            return None
        return bar

    def _bar(self, flight: Flight, purse: Purse, tokens: int, money: int, now: float) -> Bar | None:
        if self.leases is None:
            return bar_of(purse, tokens, money, now)
        return self.leases.bar(purse, self.lane(flight), tokens, money, now)

    def _needs(self, flight: Flight, purse: Purse, output: int) -> tuple[int, int]:
        """Tokens and money to hold: what will hardly be passed, or all of the limit where the usual guess is within it:
        whoever is alone may pass."""
        guess = flight.call.prompt_tokens
        prompt = self._estimates.high(flight.targets[0].model, guess)
        tokens = prompt + output
        if tokens > purse.least_tokens and purse.tokens:
            tokens = max(guess + output, purse.least_tokens)
        if not purse.budgets:
            return tokens, 0
        money = self._dearest(flight, prompt, output)
        if money > purse.least_budget:
            money = max(self._dearest(flight, guess, output), min(money, purse.least_budget))
        return tokens, money

    def _dearest(self, flight: Flight, prompt: int, output: int) -> int:
        """What it costs at most, whichever of its targets serves it."""
        prices, targets = self._prices, flight.targets
        if len(targets) == 1:
            return cost(prices.get(targets[0].model), prompt, output)
        return max([cost(prices.get(model), prompt, output) for _, model in targets])

    def settle(
        self, flight: Flight, outcome: str, status: int, usage: Usage | None, relayed: int, sent: bool
    ) -> Usage | None:
        """The call is over: charge what it used, give back the rest. What it was charged, where that is an estimate."""
        call, hold, targets = flight.call, flight.hold, flight.targets
        model = targets[0].model if targets else ""
        billed = None
        if usage is not None and outcome == "ok" and status < 400:
            served, prompt, completion = True, usage.prompt_tokens, usage.completion_tokens
            cached = usage.cached_tokens
            self._estimates.learn(model, call.prompt_tokens, prompt)
        else:
            served, prompt, completion, cached = charge(
                call, outcome, status, relayed, begun=flight.began is not None, sent=sent,
                prompt=self._estimates.typical(model, call.prompt_tokens), output=0 if hold is None else hold.output,
            )  # fmt: skip
            if prompt or completion:
                billed = Usage(prompt, completion, cached)
        money = 0
        if self._prices and targets:
            price = self._prices.get(targets[flight.target].model)
            money = cost(price, prompt, completion, cached)
            flight.cost = money / NANO
        if hold is not None:
            flight.hold = None
            hold.settle(served, prompt + completion, money)
            self._holds -= 1
            if len(self.room):
                self.free(call.tenant)
        return billed

    def settle_free(self, flight: Flight, outcome: str) -> None:
        """The call is over, and nothing was generated for it: it counts as a request where it got something."""
        if flight.hold is not None:
            self.release(flight, counts=outcome == "ok" or flight.began is not None)
            if len(self.room):
                self.free(flight.call.tenant)

    def hand_over(self, flight: Flight, heir: Flight) -> None:
        """What is held for an answer is held for the call that has it from now on. Of limits that only the heir has
        (its key's) it is taken as well, whether it fits or not: so much will be charged to them."""
        mine, theirs = flight.hold, heir.hold
        if theirs is None or not self.given_free:  # who has no limits holds nothing; else each holds all that it needs
            return
        if mine is not None and mine.purse is theirs.purse:
            flight.hold, heir.hold = theirs, mine
            return
        if mine is None:
            output = most_output(heir.call, theirs.purse.usual_output)
            tokens, money = self._needs(heir, theirs.purse, output)
        else:
            output, tokens, money = mine.output, mine.tokens, mine.money
            mine.settle(False, 0, 0)
            flight.hold = Hold(mine.purse, 0, 0, 0)
        theirs.settle(False, 0, 0)
        heir.hold = Hold(theirs.purse, tokens, money, output)

    def release(self, flight: Flight, *, counts: bool = False) -> None:
        """Give back what it holds, but for the request itself where that `counts`."""
        hold = flight.hold
        if hold is not None:
            flight.hold = None
            hold.settle(counts, 0, 0)
            self._holds -= 1

    def free(self, tenant: str) -> None:
        """Something may have come free for this tenant's calls, and, where tenants share it, for all that wait."""
        self.freed += self.room.tenants() if self._shared else (tenant,)

    # ===== accounts =====

    def lane(self, flight: Flight) -> Lane:
        """Whose call it is, and for which model."""
        call = flight.call
        return call.tenant, call.key, flight.targets[0].model, call.tier, call.priority if self._shaped else 0

    def _purse(self, lane: Lane, spec: LimitsSpec) -> Purse | None:
        try:
            return self._purses[lane]
        except KeyError:
            return self._open(lane, spec)

    def _open(self, lane: Lane, spec: LimitsSpec) -> Purse | None:
        tenant, key, model, tier, priority = lane
        accounts: list[Account] = []
        allowance = spec.tenants.get(tenant) or (spec.tiers.of(tier) if spec.tiers is not None else None)
        for kind, name, given in (
            ("tenant", tenant, allowance), ("key", key, spec.keys.get(key)), ("everybody", "", spec.everybody)
        ):  # fmt: skip
            if given is not None:
                accounts.append(self._account(kind, name, "", given))
                if model in given.models:
                    accounts.append(self._account(kind, name, model, given.models[model]))
        if spec.shaping is not None:
            accounts.append(self._shape(PRIORITIES[priority], model, spec.shaping))
        if len(self._purses) >= MOST_PURSES:
            self._purses.clear()
        purse = self._purses[lane] = Purse(accounts, spec.default_max_tokens) if accounts else None
        return purse

    def _account(self, kind: str, name: str, model: str, spec: RateSpec) -> Account:
        whose = kind, name, model
        account = self._accounts.get(whose)
        if account is None:
            axis = None if self.leases is None else self.leases.axis
            account = self._former.pop(whose, None) or Account(kind, name, model, spec, axis)
            self._accounts[whose] = account
            if self.recollection and axis is None:
                self.recollection.give(whose, account)
        if account.spec != spec:
            account.respec(spec)
        return account

    def _shape(self, priority: str, model: str, spec: ShapingSpec) -> Account:
        whose = "priority", priority, model
        account = self._accounts.get(whose)
        if account is None:
            former = self._former.pop(whose, None)
            account = self._accounts[whose] = former if isinstance(former, Shape) else Shape(priority, model, spec)
            account.reshape(spec)
        return account

    # ===== for people =====

    def goes(self, flight: Flight, now: float) -> Rates | None:
        """A call that holds something goes to an engine or gets an answer: see `rates`."""
        if flight.hold is not None and flight.hold.purse.noted:
            flight.hold.spend()
        return self.rates(flight, now)

    def rates(self, flight: Flight, now: float) -> Rates | None:
        """What the call's client is told of its limits; None: it has none."""
        spec = self._spec
        if spec is None or not flight.targets:
            return None
        purse = self._purse(self.lane(flight), spec)
        if purse is None or not (purse.told or purse.tokens):
            return None
        if self.leases is None:
            requests, tokens = tightest(purse.told, now), tightest(purse.tokens, now)
        else:
            requests, tokens = scarcest(purse.told), scarcest(purse.tokens)
        if tokens is None:
            assert requests is not None
            return Rates(requests.limit, requests.left, requests.free_at(now) - now, None, None, None)
        if requests is None:
            return Rates(None, None, None, tokens.limit, tokens.left, tokens.free_at(now) - now)
        return Rates(
            requests.limit, requests.left, requests.free_at(now) - now, tokens.limit, tokens.left,
            tokens.free_at(now) - now,
        )  # fmt: skip

    def views(self, now: float) -> list[AccountView]:
        """Every account as it stands: those that the settings name, and those of whom calls have come."""
        spec = self._spec
        if spec is None:
            return []
        for kind, given in (("tenant", spec.tenants), ("key", spec.keys)):
            for name, allowance in given.items():
                self._account(kind, name, "", allowance)
        return [self._view(account, now) for account in self._accounts.values()]

    def _view(self, account: Account, now: float) -> AccountView:
        limits = []
        for gauge in account.gauges():
            used, held, left, free_s = gauge.shown(now)
            unit = NANO if gauge.is_money else 1
            limits.append(GaugeView(
                what=gauge.name, limit=gauge.limit / unit, used=used / unit, held=held / unit, left=left / unit,
                free_s=free_s,
            ))  # fmt: skip
        waiting = self.room.waiting(account.name) if account.kind == "tenant" and not account.model else 0
        return AccountView(
            kind=account.kind, name=account.name, model=account.model, in_flight=account.calls, waiting=waiting,
            concurrency=account.spec.concurrency, limits=limits,
        )  # fmt: skip
