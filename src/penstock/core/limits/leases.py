"""Leases: what this process asks of the store of shared limits, and when.

Calls are let in from what was granted before, so far from a limit no call waits for the store. One message at a time is
under way, for all accounts that have something to say: calls that wait, leases that run low, use that was not told,
leases that lie idle and go back.
"""

from math import inf
from typing import Final, NamedTuple

from penstock.base.leases import AccountKey, Ask, Grant
from penstock.core.effects import Effect, Lease, Return
from penstock.core.events import Leased, LeaseLost
from penstock.core.limits.account import Account, Purse
from penstock.core.limits.bars import Bar
from penstock.core.limits.lease_bars import BEAT_S, TICK_S, bar_of, leasing, one_at_a_time, turn_of, within_share
from penstock.core.limits.parts import FRESH_S, Axis, Part
from penstock.core.limits.room import Lane, Room
from penstock.core.limits.slots import Slots
from penstock.core.limits.spec import SharedSpec

TELL_S: Final = 0.5
"""How late it hears at most of what was used."""
IDLE_S: Final = 1.0
"""A lease of which nothing was used for so long goes back; sooner where little is left of a limit."""
AGAIN_S: Final = 0.5
"""How often a store is tried that does not answer."""
MOST_ASKS: Final = 256
"""Accounts in a message."""


class Demand(NamedTuple):
    """What the first call of a lane waits for."""

    purse: Purse
    tokens: int
    money: int
    only: tuple[AccountKey, ...]
    """The accounts that keep it waiting, where that is known: of others it needs nothing before."""


class Tenure:
    """An account that has leases, or wants some."""

    __slots__ = ("account", "active_at", "batch", "epoch", "key", "least", "mark", "sent_at", "told")

    def __init__(self, key: AccountKey, account: Account, now: float) -> None:
        self.key = key
        self.account = account
        self.active_at = now
        self.mark = -1
        """What was used when it was looked at last."""
        self.sent_at = -inf
        self.epoch: float | None = None
        self.batch = 0
        """The message in which this was told first:"""
        self.told: dict[str, tuple[tuple[int, int], ...]] = {}
        """what was used, until the store is known to have heard it."""
        self.least: dict[str, int] = {}
        """What was asked for in the message that is under way."""

    def hungry(self) -> bool:
        """Whether more is needed of one of its limits."""
        return any(part.hungry for part in self.account.parts())

    def hear(self, epoch: float, grants: tuple[Grant, ...], expires: float, now: float) -> None:
        """The store has answered."""
        told, self.told = self.told, {}
        if self.epoch is not None and epoch != self.epoch:
            for part in self.account.parts():
                part.tell_again(told.get(part.name, ()))
        self.epoch = epoch
        by_name = {grant.what: grant for grant in grants}
        for part in self.account.parts():
            if part.name in by_name:
                part.hear(by_name[part.name], self.least.get(part.name, 0), expires, now)


class Leases:
    """All leases of this process."""

    __slots__ = (
        "_active", "_demands", "_known", "_number", "_room", "_sent", "_sent_at", "asking", "away", "axis", "retry_at",
        "spec", "under_way",
    )  # fmt: skip

    def __init__(self, spec: SharedSpec, room: Room, asking: dict[AccountKey, Tenure]) -> None:
        self.spec = spec
        self.axis = Axis(spec)
        self.asking = asking
        """Accounts that have something to say in the next message."""
        self.away = False
        """The store has not answered the last message."""
        self.retry_at = -inf
        self.under_way = 0
        """The number of the message that was not answered yet; 0: there is none."""
        self._room = room
        self._known: dict[AccountKey, Tenure] = {}
        self._active: dict[AccountKey, Tenure] = {}
        """Those that have a lease, or want one, or have something to tell."""
        self._demands: dict[Lane, Demand] = {}
        self._number = 0
        self._sent: list[Tenure] = []
        self._sent_at = 0.0

    def respec(self, spec: SharedSpec) -> None:
        """They are shared otherwise from now on."""
        self.spec = self.axis.absence.spec = spec

    def forget(self, key: AccountKey) -> bool:
        """Nobody uses this account now; False: it has a lease, wants one or has something to tell."""
        if key in self._active or key in self.asking:
            return False
        self._known.pop(key, None)
        return True

    # ===== calls =====

    def bar(self, purse: Purse, lane: Lane, tokens: int, money: int, now: float) -> Bar | None:
        """What keeps a call from passing for which too little is left of a lease, or of the reserve within one; None:
        it passes."""
        bars: list[Bar] = []
        denied: list[AccountKey] = []
        waits: list[tuple[Account, Part, int]] = []
        for account in purse.accounts:
            if account.axis is None:
                bars += [turn_of(account, now) for gauge in account.requests if gauge.over(1, now)]
                continue
            if account.spec.over_budget == "throttle" and account.calls and self._spent(account, money, now):
                bars.append(one_at_a_time(account, now))
            before = len(bars)
            for part, need in needs(account, tokens, money):
                bar = self._of_part(account, part, need, now)
                if bar is not None:
                    bars.append(bar)
                elif part.hungry:
                    self._ask(account, now)
                    if need > part.balance and _stops(account, part):
                        waits.append((account, part, need))
            if len(bars) > before:
                denied.append(key_of(account))
        if bars:
            worst = max(bars, key=lambda bar: bar.at)._replace(wait_s=min(bar.wait_s for bar in bars))
            if worst.wait_s > 0:
                self._demands[lane] = Demand(purse, tokens, money, tuple(denied))
            return worst
        if not waits:
            self._demands.pop(lane, None)
            return None
        self._demands[lane] = Demand(purse, tokens, money, ())
        return leasing(*waits[0], now)

    def _spent(self, account: Account, money: int, now: float) -> bool:
        return any(gauge.over(money, now) for gauge in account.budgets)

    def _of_part(self, account: Account, part: Part, need: int, now: float) -> Bar | None:
        """Why so much may not be taken of a limit now; None: it may, or the store is to be asked."""
        if now >= part.until:
            part.roll(now)
        part.open_reserve()
        if need <= part.balance:
            return None
        if _stops(account, part) and need > part.shared:
            return bar_of(account, part, need, inf, 0.0)
        if self.away:
            return self._without_store(account, part, need, now)
        if need > part.room(now) and _stops(account, part):
            return within_share(account, part, need, now)
        if not part.denies(need, now):
            part.hungry = True
            return None
        return self._denied(account, part, need, now) if _stops(account, part) else None

    def _without_store(self, account: Account, part: Part, need: int, now: float) -> Bar | None:
        self._ask(account, now)
        if self.axis.absence.local and not part.alone:
            part.go_alone(now)
            part.roll(now)
        part.hungry = False
        if need <= part.balance or not _stops(account, part):
            return None
        if not part.alone or now < part.shares_at:
            return bar_of(account, part, need, now + BEAT_S, 0.0)._replace(label="limits_away")
        return bar_of(account, part, need, max(now + BEAT_S, part.alone_until(now)), 0.0)

    @staticmethod
    def _denied(account: Account, part: Part, need: int, now: float) -> Bar:
        spec = account.spec
        wait_s, at = spec.wait_s, max(part.allows_at(need), now + TICK_S)
        if isinstance(part, Slots):
            at = now + BEAT_S
            wait_s = wait_s if spec.over_limit == "queue" else min(wait_s, TELL_S)  # a lease of another may lie idle
        elif part.firm(need) and (spec.over_limit == "refuse" or at > now + wait_s):
            wait_s = 0.0
        return bar_of(account, part, need, at, wait_s)

    # ===== messages =====

    def _ask(self, account: Account, now: float) -> None:
        key = key_of(account)
        tenure = self._known.get(key)
        if tenure is None:
            tenure = self._known[key] = Tenure(key, account, now)
        tenure.active_at = now
        self._active[key] = self.asking[key] = tenure

    def order(self, out: list[Effect], now: float) -> None:
        """Say what there is to say, unless a message is under way."""
        if self.under_way or now < self.retry_at:
            return
        asked = list(self.asking.values())[:MOST_ASKS]
        self._number += 1
        asks = tuple(self._say(tenure, now) for tenure in asked)
        for tenure in asked:
            del self.asking[tenure.key]
        self.under_way, self._sent, self._sent_at = self._number, asked, now
        out.append(Lease(self._number, self.spec.lease_s, asks))

    def give_back(self, out: list[Effect], now: float) -> None:
        """Limits are no longer shared, or the process ends: tell what was used, and that nothing is needed."""
        self._demands.clear()
        self.asking.clear()
        if self._active:
            self._number += 1
            asks = tuple(self._say(tenure, now, idle=True) for tenure in self._active.values())
            out.append(Return(self._number, self.spec.lease_s, asks))
        self._active.clear()
        self.under_way = 0

    def _say(self, tenure: Tenure, now: float, idle: bool = False) -> Ask:
        idle = idle or now >= tenure.active_at + IDLE_S
        parts = tenure.account.parts()
        if not tenure.told:
            tenure.told = {part.name: told for part in parts if (told := part.tell())}
            tenure.batch = self._number
        tenure.sent_at = now
        tenure.least.clear()
        wants = []
        for part in parts:
            least, due = self._wanted(tenure, part)
            wants.append(part.want(tenure.told.get(part.name, ()), least, due, idle, now))
            tenure.least[part.name] = least
        return Ask(tenure.key, tenure.batch, tuple(wants))

    def _wanted(self, tenure: Tenure, part: Part) -> tuple[int, int]:
        """The least that a call needs that waits for this limit, and all that those that wait need."""
        least = due = 0
        account = tenure.account
        for lane, demand in self._demands.items():
            count = self._room.count(lane)
            if count and account in demand.purse.accounts and (not demand.only or tenure.key in demand.only):
                need = next((need for one, need in needs(account, demand.tokens, demand.money) if one is part), 0)
                if need:
                    least = min(least or need, need)
                    due += need * count
        return least, min(due, part.shared)

    def heard(self, event: Leased, now: float) -> list[str]:
        """The store has answered: whose waiting calls may pass now."""
        if event.number != self.under_way:
            return []
        was_away, self.away = self.away, False
        self.axis.absence.heard(self._sent_at, event.now - self._sent_at, now)
        sent, self._sent = self._sent, []
        self.under_way, self.retry_at = 0, -inf
        self.axis.ahead = event.now - self._sent_at
        tenures = {tenure.key: tenure for tenure in sent}
        for answer in event.answers:
            tenure = tenures.pop(answer.account, None)
            if tenure is not None:
                tenure.hear(answer.epoch, answer.grants, self._sent_at + self.spec.lease_s, now)
        self.asking.update(tenures)
        heard = {answer.account for answer in event.answers}
        if was_away:
            self._end_alone()
            self.asking.update({key: tenure for key, tenure in self._active.items() if key not in heard})
            return self._room.tenants()
        return [
            lane[0] for lane, demand in self._demands.items()
            if any(key_of(account) in heard for account in demand.purse.accounts)
        ]  # fmt: skip

    def _end_alone(self) -> None:
        for tenure in self._known.values():
            for part in tenure.account.parts():
                if part.alone:
                    part.end_alone()

    def lost(self, event: LeaseLost, now: float) -> list[str]:
        """The store did not answer: whose waiting calls must be looked at."""
        if event.number != self.under_way:
            return []
        self.axis.absence.lost(now)
        self.under_way, self.retry_at = 0, now + AGAIN_S
        self.asking.update({tenure.key: tenure for tenure in self._sent})
        self._sent = []
        if self.away:
            return []
        self.away = True
        return self._room.tenants()

    # ===== time =====

    def busy(self) -> bool:
        """Whether there is anything to look at. What may go on without the store must know at once when it goes, and
        when it is back."""
        return bool(self._active) or self.axis.absence.local

    def silent(self, now: float) -> bool:
        """Whether the store is to be asked only whether it is there."""
        return self.axis.absence.local and not self.under_way and now >= self._sent_at + self._beat_s()

    def _beat_s(self) -> float:
        return AGAIN_S if self.away else min(BEAT_S, self.spec.lease_s / 3)

    def pause_s(self, now: float) -> float:
        """Until there is something to look at again."""
        if self._active:
            return TICK_S
        return AGAIN_S if self.under_way else max(TICK_S, self._sent_at + self._beat_s() - now)

    def tick(self, now: float) -> None:
        """Look at all leases: what goes back, what is to be told, who asks once more."""
        self._demands = {lane: demand for lane, demand in self._demands.items() if self._room.busy(lane)}
        waits = {key_of(account) for demand in self._demands.values() for account in demand.purse.accounts}
        sent = {tenure.key for tenure in self._sent}
        for tenure in list(self._active.values()):
            parts = tenure.account.parts()
            mark = sum(part.used for part in parts)
            if mark != tenure.mark:
                tenure.mark, tenure.active_at = mark, now
            if tenure.key in self.asking or tenure.key in sent:
                continue
            kept = any(part.kept() or part.balance > 0 for part in parts)
            if tenure.key in waits:
                if now >= tenure.sent_at + TICK_S:
                    self.asking[tenure.key] = tenure
            elif not kept and not tenure.told and not any(part.untold() for part in parts):
                del self._active[tenure.key]
            elif now >= tenure.sent_at + self._patience_s(tenure, parts, now):
                self.asking[tenure.key] = tenure

    def _patience_s(self, tenure: Tenure, parts: list[Part], now: float) -> float:
        if any(part.untold() for part in parts):
            return TELL_S
        scarce = any(part.free <= part.size or now < part.denied_at + BEAT_S for part in parts)
        if scarce and now >= tenure.active_at + FRESH_S and any(part.balance > 0 for part in parts):
            return FRESH_S
        return min(BEAT_S, self.spec.lease_s / 3)


def key_of(account: Account) -> AccountKey:
    """By which name the store knows it."""
    return account.kind, account.name, account.model


def needs(account: Account, tokens: int, money: int) -> list[tuple[Part, int]]:
    """What a call takes of each limit of an account."""
    amounts = (("requests", 1), ("tokens", tokens), ("budgets", money))
    return [(gauge, need) for name, need in amounts for gauge in getattr(account, name) if isinstance(gauge, Part)]


def _stops(account: Account, part: Part) -> bool:
    return not part.is_money or account.spec.over_budget == "stop"
