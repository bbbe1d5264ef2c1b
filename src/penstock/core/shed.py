"""How near to collapse a pool's engines are, by their own numbers, and which priorities are kept away for it [Q5]."""

from collections.abc import Sequence
from typing import Final

from penstock.base.nouns import PRIORITIES
from penstock.core.load import Seat
from penstock.core.spec import ShedSpec

LOOK_S: Final = 0.1
"""What was worked out holds for so long: engines are asked every few seconds, a large fleet takes a while to add up."""
AGAIN_S: Final = 0.5
"""Who is held back is looked at again so often: numbers get better, or stale, without any fact about a call."""
NOBODY: Final[tuple[bool, ...]] = (False,) * len(PRIORITIES)


def saturation(seats: Sequence[Seat], spec: ShedSpec, now: float) -> float:
    """Mean over usable replicas of max(waiting / limit, KV usage / limit); 1 is saturated. Stale numbers count as 0."""
    usable = total = 0.0
    for seat in seats:
        if seat.health.usable:
            usable += 1
            if seat.stats is not None and now < seat.stats_until:
                total += max((seat.stats.waiting or 0) / spec.waiting, (seat.stats.kv_usage or 0.0) / spec.kv_usage)
    return total / usable if usable else 0.0


class Shed:
    """The gate of one pool: open, or closed to some priorities."""

    __slots__ = ("_at", "_ceilings", "_closed", "active", "level", "refuses", "spec")

    def __init__(self, spec: ShedSpec) -> None:
        self.spec = spec
        self.active = spec.mode != "off"
        self.refuses = spec.mode == "refuse"
        self._ceilings = (float("inf"), spec.high, spec.normal, spec.low, spec.batch)
        self._closed = NOBODY
        self.level = 0.0
        """The saturation that was last worked out."""
        self._at = float("-inf")

    @property
    def shut(self) -> tuple[bool, ...]:
        """Who was kept away when it was last looked at."""
        return self._closed

    def at_ease(self, seats: Sequence[Seat], now: float) -> bool:
        """Whether there is room for work that nobody may need: nobody is kept away and engines are not saturated."""
        return saturation(seats, self.spec, now) < 1.0 and not (self.active and any(self.closed(seats, now)))

    def closed(self, seats: Sequence[Seat], now: float) -> tuple[bool, ...]:
        """For each priority, whether it is kept away now."""
        if now >= self._at + LOOK_S:
            level = self.level = saturation(seats, self.spec, now)
            self._closed = tuple(level >= ceiling for ceiling in self._ceilings) if level else NOBODY
            self._at = now
        return self._closed
