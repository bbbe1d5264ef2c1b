"""What a pool has spent this month, and how many replicas what is left is enough for [A5].

The least that the pool must have is paid for until the end of the month before anything else is. What is left beside
that may be spent as fast as it is needed, but never more than an hour ahead; so a pool that is near its end comes down
to its least, step by step, and stays there. Where not even the least can be paid, what there is is spread over the rest
of the month. The number falls at once and rises once an hour at most, so that a pool does not swing at the edge of it.
"""

from math import floor

from msgspec import Struct

from penstock.core.limits.windows import bounds

HOUR_S = 3600.0
MONTHS_KEPT = 3
LAST_S = 2.5e11
"""The year 9892: calendars end in 9999."""
SAVED_EVERY_S = 60.0


class Purse(Struct, frozen=True, tag="spent"):
    """What must survive a restart of the gateway."""

    spent: dict[str, float]
    """Month, by the second since 1970 that it began -> money."""
    at_s: float
    """By the wall clock: what was spent until then is in it."""


class Budget:
    """One pool's."""

    __slots__ = ("_at", "_most", "_rose_at", "_saved_at", "_spent", "_wall_s", "max_monthly_cost")

    def __init__(self, max_monthly_cost: float | None) -> None:
        self.max_monthly_cost = max_monthly_cost
        """None: as much as it takes."""
        self._spent: dict[int, float] = {}
        self._at: float | None = None
        """When it was charged last, None: never; and by the wall clock."""
        self._wall_s = 0.0
        self._most: int | None = None
        self._rose_at = 0.0
        self._saved_at: float | None = None

    # ===== what was spent =====

    def restore(self, purse: Purse) -> None:
        """Another life of the gateway has left this."""
        self._spent = {int(month): money for month, money in purse.spent.items()}
        self._wall_s = purse.at_s

    def charge(self, hourly_cost: float, wall_s: float, now: float) -> None:
        """Replicas that cost so much an hour together were there since the last time, also while nobody looked. A clock
        that jumped spends nothing: the shorter of the two times counts."""
        wall_s = min(max(wall_s, 0.0), LAST_S)
        gone_s = max(0.0, wall_s - self._wall_s) if self._wall_s else 0.0
        if self._at is not None:
            gone_s = min(gone_s, max(0.0, now - self._at))
        self._at, self._wall_s = now, wall_s
        begin_s, _ = bounds("month", wall_s)
        this_month_s = min(gone_s, wall_s - begin_s)
        month = int(begin_s)
        self._spent[month] = self._spent.get(month, 0.0) + hourly_cost * this_month_s / HOUR_S
        while len(self._spent) > MONTHS_KEPT:
            del self._spent[min(self._spent)]

    def spent(self) -> float:
        """In this month."""
        return self._spent.get(int(bounds("month", self._wall_s)[0]), 0.0)

    def purse(self) -> Purse:
        """What must survive."""
        return Purse({str(month): money for month, money in self._spent.items()}, self._wall_s)

    def due(self, now: float) -> bool:
        """Whether it is time to write it down."""
        if self.max_monthly_cost is None or (self._saved_at is not None and 0 <= now - self._saved_at < SAVED_EVERY_S):
            return False
        self._saved_at = now
        return True

    # ===== what is left =====

    def most(self, least: int, hourly_cost: float, now: float) -> int | None:
        """The most replicas, at so much an hour each, of which the pool has `least` at least; None: no such bound."""
        if self.max_monthly_cost is None or hourly_cost <= 0 or self._at is None:
            self._most = None
            return None
        enough = self._enough(least, hourly_cost)
        if self._most is None or enough < self._most or (enough > self._most and not 0 <= now - self._rose_at < HOUR_S):
            self._most, self._rose_at = enough, now
        return self._most

    def _enough(self, least: int, hourly_cost: float) -> int:
        assert self.max_monthly_cost is not None
        _, ends_s = bounds("month", self._wall_s)
        hours = max(1.0 / 60, (ends_s - self._wall_s) / HOUR_S)
        left = max(0.0, self.max_monthly_cost - self.spent())
        free = left - least * hourly_cost * hours
        if free < 0:
            return floor(left / (hourly_cost * hours) + 1e-9)
        return least + floor(free / (hourly_cost * min(1.0, hours)) + 1e-9)
