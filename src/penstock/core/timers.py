"""Alarms of the Gate: one heap, one wake. Knows nothing of what an alarm is for."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_SLACK = 64
"""Cancelled alarms that may lie in the heap before it is rebuilt."""


class Timers(Generic[Key]):
    """At most one alarm a key. Cancelling is O(1); the heap is rebuilt when mostly cancelled alarms lie in it."""

    __slots__ = ("_count", "_heap", "_when")

    def __init__(self) -> None:
        self._when: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: Key) -> bool:
        return key in self._when

    def set(self, key: Key, when: float) -> None:
        """Ring for this key at `when`, instead of any earlier wish for it."""
        self._count += 1
        self._when[key] = (when, self._count)
        heappush(self._heap, (when, self._count, key))
        if len(self._heap) > 2 * len(self._when) + _SLACK:
            self._heap = [(when, count, key) for key, (when, count) in self._when.items()]
            heapify(self._heap)

    def cancel(self, key: Key) -> None:
        """Do not ring for this key."""
        self._when.pop(key, None)

    def next(self) -> float | None:
        """When the next alarm rings."""
        heap, when = self._heap, self._when
        while heap:
            at, count, key = heap[0]
            if when.get(key) == (at, count):
                return at
            heappop(heap)
        return None

    def due(self, now: float) -> list[tuple[float, Key]]:
        """Take out all alarms up to `now`, each with the time it was set for, in that order."""
        rung: list[tuple[float, Key]] = []
        while (at := self.next()) is not None and at <= now:
            key = heappop(self._heap)[2]
            del self._when[key]
            rung.append((at, key))
        return rung
