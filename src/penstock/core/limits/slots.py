"""Slots: this process's part of the calls that an account may have at once, where processes share limits."""

from typing import Final, Protocol

from penstock.base.leases import Grant
from penstock.core.limits.parts import Axis, Drawn, Part
from penstock.core.limits.spans import AT_ONCE

LONG_S: Final = 60.0
"""Without a store, calls of others that began before it went are taken to be over after so long."""


class Counted(Protocol):
    """Who has calls."""

    calls: int


class Slots(Part):
    """It has no window: what is in flight is what the account says."""

    __slots__ = ("_granted", "_owner")

    def __init__(self, limit: int, axis: Axis, owner: Counted) -> None:
        super().__init__(AT_ONCE, limit, axis)
        self._owner = owner
        self._granted = 0
        self.bucket = Drawn(self, 0)
        self.bucket.gone = True

    def roll(self, now: float) -> None:
        """See `Gauge`. `until` stays in the past, so that it is asked every time."""
        self.set((self._alone(now) if self.alone else 0 if now >= self.expires else self._granted) - self._owner.calls)

    def _alone(self, now: float) -> int:
        absence = self._axis.absence
        share = absence.share(self.limit)
        return share if now >= self.shares_at else min(share, self._granted + absence.own_aside(self.limit))

    def kept(self) -> int:
        """See `Part`."""
        return self._owner.calls

    def used_here(self) -> int:
        """See `Part`."""
        return self._owner.calls

    def untold(self) -> bool:
        """See `Part`."""
        return False

    def hear(self, grant: Grant, least: int, expires: float, now: float) -> None:
        """See `Part`."""
        super().hear(grant, least, expires, now)
        self._granted = min(grant.granted, self._owner.calls + self.room(now))
        self.set(self._granted - self._owner.calls)

    def go_alone(self, now: float) -> None:
        """See `Part`."""
        since = self._axis.absence.since
        self.alone = True
        self.shares_at = (now if since is None else since) + self._axis.absence.spec.lease_s + LONG_S

    def end_alone(self) -> None:
        """See `Part`."""
        self.alone = False

    def alone_until(self, now: float) -> float:
        """See `Part`: a call may end at any time."""
        return now
