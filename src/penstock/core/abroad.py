"""Abroad: answers that the calls of one worker have in common with those of others. A part of the Gate.

Which worker's call leads, a register knows that all of them ask (`cache.register`); and the bytes go from worker to
worker outside. Here is what a Gate says to another worker that wants what it has, and when it is bound to nobody any
more. To the call that leads, a worker that follows is one follower, without a row: its calls have theirs at home [C2].
"""

from typing import Final

from penstock.base.errors import REFUSALS, Label
from penstock.core.cache.cache import Cache
from penstock.core.effects import Effect, Hand, LookUp, Release
from penstock.core.events import ClientGone, Unwanted, Wanted
from penstock.core.flight import Flight, Sharing

MOST_ASKS: Final = 3
"""How often others are asked for the calls of one key in a row, each time because what was to be had was not; then one
of them is sent."""


class Abroad:
    """Other workers that follow calls of this one, and those that are asked."""

    __slots__ = ("_follows", "mark")

    def __init__(self) -> None:
        self._follows: dict[str, Sharing] = {}
        """By the names of other workers' wishes."""
        self.mark = 0
        """Of so many Invalidated it has heard, where they are counted."""

    # ===== others want something =====

    def wanted(self, cache: Cache | None, event: Wanted, out: list[Effect], now: float) -> None:
        """Another worker's calls want an answer."""
        by, key = event.by, event.key
        entry = None if cache is None else cache.index.get(key, now)
        if entry is not None:
            age_s, left_s = now - entry.at, entry.until - now
            out.append(Hand(by, "hit", key, "", age_s, left_s, entry.tags, self.mark))
            return
        sharing = None if cache is None or not cache.beside else cache.sharings.get(key)
        if sharing is None or sharing.brought:
            out.append(Hand(by, "none"))
        elif sharing.hurries or sharing.leader.call.priority <= event.priority:
            sharing.abroad[by] = None
            self._follows[by] = sharing
            out.append(Hand(by, "coalesced", key, sharing.leader.call.id, mark=self.mark))
        else:
            out.append(Hand(by, "none"))  # it is more urgent than those, and would wait behind them

    def unwanted(self, event: Unwanted) -> ClientGone | None:
        """It does not any more. What went on for others alone ends with the last of them: as if its client left now."""
        sharing = self._follows.pop(event.by, None)
        if sharing is None:
            return None
        del sharing.abroad[event.by]
        if sharing.left is None or sharing.abroad:
            return None
        return ClientGone(sharing.leader.call.id, sharing.left)

    # ===== others are asked =====

    @staticmethod
    def asks(cache: Cache, flight: Flight, sharing: Sharing, out: list[Effect]) -> None:
        """Before it leads, other workers and the store are asked."""
        flight.move("looking")
        call = flight.call
        if not cache.beside:
            out.append(LookUp(call.id, sharing.key))
            return
        sharing.asked, sharing.looking = call.id, True
        sharing.asks += 1
        out.append(LookUp(call.id, sharing.key, call.priority))

    def asks_again(self, cache: Cache | None, flight: Flight, sharing: Sharing, out: list[Effect]) -> bool:
        """What another worker was to bring is not to be had, or who asked is over before there was an answer: whether
        somebody else may have it by now."""
        if cache is None or not cache.beside or sharing.asks >= MOST_ASKS or not sharing.keep:
            return False
        if sharing.asked:
            if not sharing.looking:
                return False
            out.append(Release(sharing.key, sharing.asked, kept=False))
        self.asks(cache, flight, sharing, out)
        return True

    # ===== it is over =====

    def dissolve(self, sharing: Sharing, out: list[Effect], outcome: str = "ok", status: int = 0) -> None:
        """Nobody here leads with it any more. Other workers that follow have its whole answer (ok), or are told."""
        if sharing.asked:
            out.append(Release(sharing.key, sharing.asked, sharing.kept))
            sharing.asked = ""
        if not sharing.abroad:
            return
        for by in sharing.abroad:
            del self._follows[by]
            if outcome != "ok":
                out.append(_failure(by, outcome, status))
        sharing.abroad.clear()


def failed_by_replicas(outcome: str) -> bool:
    """It would fail others as well: replicas did it, and it has had all its chances."""
    row = REFUSALS.get(outcome)
    return row is not None and (row.blames_replica or row.type == "upstream_error")


def _failure(by: str, outcome: str, status: int) -> Hand:
    if not failed_by_replicas(outcome):
        return Hand(by, "none")
    label: Label = outcome  # type: ignore[assignment]
    return Hand(by, "failed", label=label, status=status)
