"""Absence: what a process may use of limits that it shares while their store is away, and just after (`away: local`).

Nobody can be asked then, so it may only use what is certain, whatever the others do. What they may have been granted
before the store went is not known here, and counts as used until none of it counts any more. So there are three times:

- at first, only what was set aside: a part of each limit that the store never grants to anybody;
- then this process's share of the limit: by now all others have no more than theirs;
- back: what the store grants, but within the share, until all the others must have told what they used meanwhile. Who
  was away for longer than a window stays within it for another one: some may have died with what they knew. A process
  that is new waits for so long.

That holds where the store is away for all. A process that is cut off alone, for longer than a window, is not known to
the others, which go on with all of the limit.
"""

from math import inf
from typing import Final

from penstock.core.limits.spans import AT_ONCE, Span, span_of
from penstock.core.limits.spec import SharedSpec
from penstock.core.limits.windows import PERIODS

RETURN_S: Final = 5.0
"""Within that all that live have heard the store again: they try twice a second, and wait for a second."""
FEW: Final = 100
"""Of a limit below it one at most is set aside."""
LIMITS: Final[tuple[str, ...]] = (
    *(f"{what} per {period}" for what in ("requests", "tokens") for period in PERIODS),
    "budget per day", "budget per month", AT_ONCE,
)  # fmt: skip


def counts_until(span: Span, at: float, ahead: float) -> float:
    """When nothing that was used by then counts any more. The span's clock is ahead of ours by so much."""
    return span.free_at(span.index(at + ahead)) - ahead


class Absence:
    """What this process knows of the store's being away; all its accounts share it."""

    __slots__ = ("_within", "back_at", "heard_at", "new_until", "since", "spec")

    def __init__(self, spec: SharedSpec) -> None:
        self.spec = spec
        self.heard_at = -inf
        """When the last message was sent that it answered: it was there then."""
        self.since: float | None = None
        """When it was found to be away; None: it is there, for all that is known."""
        self.back_at = -inf
        """When it was there again last."""
        self.new_until = -inf
        """Until when nothing is used: in the place of a process that is new another may just have died, whose use
        somebody is about to tell."""
        self._within: dict[str, float] = {}
        """Limit -> until when this process stays within its share of it."""

    @property
    def local(self) -> bool:
        """Whether anything is served without it."""
        return self.spec.away == "local"

    def lost(self, now: float) -> None:
        """It did not answer."""
        if self.since is None:
            self.since = now

    def heard(self, sent_at: float, ahead: float, now: float) -> None:
        """It did, what was said then."""
        missed = self.since is not None
        if self.local and self.heard_at == -inf:
            self.new_until = now + RETURN_S
        if self.local and (missed or now > self.heard_at + self.spec.lease_s):
            for what in LIMITS:
                span, end = span_of(what), now + RETURN_S
                if missed and (self.heard_at == -inf or now >= self._shares_at(span, self.heard_at, ahead)):
                    end = max(end, counts_until(span, now, ahead))
                self._within[what] = max(end, self._within.get(what, -inf))
        if missed:
            self.back_at = now
        self.heard_at, self.since = sent_at, None

    def within(self, what: str) -> float:
        """Until when this process stays within its share of a limit, whatever it is granted."""
        return self._within.get(what, -inf)

    def again(self, span: Span, ahead: float, now: float) -> bool:
        """Whether it was there not long ago, for a moment that others may have missed: they may serve their shares."""
        return now < self._shares_at(span, self.back_at, ahead) if self.back_at > -inf else False

    def shares_at(self, span: Span, ahead: float, now: float) -> float:
        """From when on it may use its share without the store."""
        return self._shares_at(span, now if self.since is None else self.since, ahead)

    def _shares_at(self, span: Span, at: float, ahead: float) -> float:
        return counts_until(span, at + self.spec.lease_s, ahead)

    # ===== how much =====

    def aside(self, limit: int) -> int:
        """What of a limit is never granted."""
        part = int(self.spec.aside * limit) if self.local else 0
        return part if limit >= FEW else min(part, 1)

    def share(self, limit: int) -> int:
        """What of a limit is this process's own."""
        return int(self.spec.share * limit)

    def room(self, what: str, limit: int, used: int, now: float) -> int:
        """How much of a limit it may have at most, where so much was used here."""
        if now < self.new_until:
            return 0
        return limit if now >= self.within(what) else max(0, self.share(limit) - used)

    def own_aside(self, limit: int) -> int:
        """What of it is so at once: nothing where it has never heard the store, for one that was here before it may
        have used that."""
        return 0 if self.heard_at == -inf else int(self.spec.share * self.aside(limit))
