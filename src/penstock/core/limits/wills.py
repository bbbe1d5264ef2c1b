"""Wills: the last word about a process that has died without one, said by whoever saw its messages and can read its
sheet.

A process that ends says what it has used and that it keeps nothing. One that is killed cannot; without a last word all
that it had would count as used once its lease is over. Its sheet tells what it had spent at most (`base.ports.Sheet`),
its messages what the store knows of that: the difference is used, now, and all else is free.
"""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from penstock.base.leases import AccountKey, Ask, Question, Want
from penstock.core.limits.spans import AT_ONCE

NOW: Final = 1 << 53
"""A stretch of time that is not there yet: the store takes the present one."""
MOST_ASKS: Final = 256
"""Accounts in a message."""
LASTS_S: Final = 1.0

Spent = Callable[[AccountKey, str], int | None]
"""What stands on the sheet about an account's limit; None: nothing does."""


class _Said:
    """What a process said of an account."""

    __slots__ = ("ask", "told")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        """Last."""
        self.told: dict[str, int] = {}
        """In all, by limit."""


class Will:
    """What one process said."""

    __slots__ = ("_end", "_said", "number")

    def __init__(self) -> None:
        self.number = 0
        """Of its last message."""
        self._end = 0
        self._said: dict[AccountKey, _Said] = {}

    def hear(self, question: Question) -> None:
        """It says this: remembered before it is passed on."""
        if question.number <= self.number:
            return  # overtaken: the store forgets it as well
        self.number = question.number
        for ask in question.asks:
            said = self._said.get(ask.account)
            if said is None:
                said = self._said[ask.account] = _Said(ask)
            elif ask.batch <= said.ask.batch:
                said.ask = ask
                continue  # said before: the same once more
            said.ask = ask
            for want in ask.wants:
                said.told[want.what] = said.told.get(want.what, 0) + sum(amount for _, amount in want.used)

    def last_words(self, peer: str, spent: Spent) -> Iterator[Question]:
        """To be told to the store in this order, and all once more where that fails: it counts once. First what it said
        last, for nobody knows whether that was heard; then what it did not live to say."""
        if not self._end:
            self._end = self.number + 2
        every = [(said, self._wants(said, spent)) for said in self._said.values()]
        lives = [(said, wants) for said, wants in every if wants is not None]
        for at in range(0, len(lives), MOST_ASKS):
            some = lives[at : at + MOST_ASKS]
            asks = tuple(replace(said.ask, wants=tuple(map(_again, said.ask.wants))) for said, _ in some)
            yield self._question(peer, asks)
            yield self._question(peer, tuple(Ask(said.ask.account, self._end, wants) for said, wants in some))

    def _question(self, peer: str, asks: tuple[Ask, ...]) -> Question:
        self.number += 1
        return Question(peer, self.number, LASTS_S, asks)

    @staticmethod
    def _wants(said: _Said, spent: Spent) -> tuple[Want, ...] | None:
        wants = []
        for want in said.ask.wants:
            rest = 0
            if want.what != AT_ONCE:
                total = spent(said.ask.account, want.what)
                if total is None:
                    return None  # nobody knows: what it had counts as used, once its lease is over
                rest = max(0, total - said.told.get(want.what, 0))
            wants.append(Want(want.what, want.limit, ((NOW, rest),) if rest else ()))
        return tuple(wants)


def _again(want: Want) -> Want:
    """What was said, with all that may have been granted for it: nobody else must have that before the last word."""
    return replace(want, kept=want.kept + max(want.least, want.due) + want.ahead, least=0, due=0, ahead=0)
