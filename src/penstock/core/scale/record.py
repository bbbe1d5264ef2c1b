"""What is remembered of a pool's scaling: every decision with its inputs, its reason and what bounded it, and every
step of a replica's life. Bounded: decisions that say the same again are counted, not kept.
"""

from collections import deque

from msgspec import Struct
from msgspec.structs import replace

KEPT = 500
"""Entries remembered a pool."""


class Reading(Struct, frozen=True, kw_only=True):
    """One metric, and how many replicas it wants."""

    metric: str
    value: float | None
    """As it was seen, a replica; None: it could not be read."""
    target: float
    wants: int | None
    """Replicas in all; None: it cannot say."""
    missing: int = 0
    """Ready replicas of which it could not be read."""
    urgent: bool = False
    """It is obeyed without `up`'s stabilisation and pace, and what it wants is not shrunk below."""
    why: str = ""
    """In words, where value and target do not say it."""


class Decision(Struct, frozen=True, kw_only=True, tag=True):
    """How many replicas a pool should have, and why."""

    pool: str
    at: float
    was: int
    wanted: int
    recommended: int | None
    """What the metrics alone say; None: they cannot."""
    reason: str
    bounds: tuple[str, ...]
    """What kept it from the recommendation."""
    alarm: str = ""
    """Something that a person should look at; empty: nothing."""
    readings: tuple[Reading, ...] = ()
    queued: int = 0
    ready: int = 0
    coming: int = 0
    """Ordered, starting or loading."""
    draining: int = 0
    others: int = 0
    """Replicas of the pool that somebody else runs."""
    times: int = 1
    """How often in a row it was decided so."""
    since: float = 0.0
    """When it was first decided so."""


class Step(Struct, frozen=True, kw_only=True, tag=True):
    """A replica moved on in its life."""

    pool: str
    at: float
    unit: str
    was: str
    now: str
    why: str = ""
    failed: bool = False
    """It went wrong."""


class History:
    """The last entries of one pool."""

    __slots__ = ("_entries",)

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[Decision | Step] = deque(maxlen=kept)

    def add(self, entry: Decision | Step) -> None:
        """Remember it. A decision that changes nothing and says what the last entry says stands for both."""
        last = self._entries[-1] if self._entries else None
        if isinstance(entry, Decision) and isinstance(last, Decision) and _same(entry, last):
            entry = replace(entry, times=last.times + 1, since=last.since)
            self._entries.pop()
        self._entries.append(entry)

    def newest(self, last: int) -> list[Decision | Step]:
        """So many of the last entries, the newest first."""
        entries = list(self._entries)[-last:] if last > 0 else []
        return entries[::-1]

    def decision(self) -> Decision | None:
        """The last decision."""
        return next((entry for entry in reversed(self._entries) if isinstance(entry, Decision)), None)


def _same(one: Decision, other: Decision) -> bool:
    return (
        one.was == one.wanted == other.was == other.wanted
        and one.recommended == other.recommended
        and one.bounds == other.bounds
        and one.alarm == other.alarm
    )
