"""What was used before this process began: it counts in the windows of a day, an hour, a calendar day and month.

Accounts open with their first call, so what is recalled waits here for its account. Windows of a minute or a second are
not recalled: it is told by quarters of an hour, and a restart takes longer than most of them.
"""

from collections.abc import Callable, Iterable
from typing import Final

from penstock.base.entries import Used
from penstock.base.leases import AccountKey
from penstock.core.limits.account import Account
from penstock.core.limits.windows import Calendar, Window

LEAST_BUCKET_S: Final = 60.0
"""Of the windows that it counts in."""


def accounts_of(used: Used, model: str) -> list[AccountKey]:
    """Whose limits a line concerns, with the name by which limits know its model."""
    owners = (("tenant", used.tenant), ("key", used.key), ("everybody", ""))
    return [(kind, name, which) for kind, name in owners for which in ("", model)]


class _Past:
    """Of one account."""

    __slots__ = ("amounts", "at", "day", "month")

    def __init__(self) -> None:
        self.amounts: dict[float, tuple[int, int]] = {}
        """When -> requests and tokens."""
        self.at = 0.0
        self.day = self.month = 0
        """Money, of the day and the month of `at`."""

    def add(self, used: Used) -> None:
        """Take a line."""
        if used.requests or used.tokens:
            requests, tokens = self.amounts.get(used.at, (0, 0))
            self.amounts[used.at] = (requests + used.requests, tokens + used.tokens)
        if used.day or used.month:
            self.at = used.at
            self.day += used.day
            self.month += used.month

    def give(self, account: Account) -> None:
        """Count it in the account's windows."""
        for at, (requests, tokens) in sorted(self.amounts.items()):
            for gauges, amount in ((account.requests, requests), (account.tokens, tokens)):
                for gauge in gauges:
                    if isinstance(gauge, Window) and gauge.bucket_s >= LEAST_BUCKET_S:
                        gauge.recall(amount, at)
        for gauge in account.budgets:
            if isinstance(gauge, Calendar):
                gauge.recall(self.day if gauge.period == "day" else self.month, self.at)


class Recollection:
    """What waits for its account."""

    __slots__ = ("_past",)

    def __init__(self) -> None:
        self._past: dict[AccountKey, _Past] = {}

    def __len__(self) -> int:
        return len(self._past)

    def take(self, lines: Iterable[Used], served: Callable[[str], str]) -> None:
        """Remember these. `served`: the name by which limits know the model that a client named."""
        for used in lines:
            for whose in accounts_of(used, served(used.model)):
                past = self._past.get(whose)
                if past is None:
                    past = self._past[whose] = _Past()
                past.add(used)

    def give(self, whose: AccountKey, account: Account) -> None:
        """The account is open: what was used is its own."""
        past = self._past.pop(whose, None)
        if past is not None:
            past.give(account)
