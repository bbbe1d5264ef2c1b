"""Alarms of the Gate: one heap, one wake. Knows nothing of what an alarm is for."""

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_SLACK: Final = 64
"""Cancelled alarms that may lie in the heap before it is rebuilt."""


class Timers(Generic[Key]):
    """At most one alarm a key. Cancelling is O(1); the heap is rebuilt when mostly cancelled alarms lie in it."""

    __slots__ = ("_count", "_head", "_heap", "_when")

    def __init__(self) -> None:
        self._when: dict[Key, tuple[float, int, Key]] = {}
        """The alarm of each key; what lies in the heap and not here was cancelled."""
        self._heap: list[tuple[float, int, Key]] = []
        self._head: tuple[float, int, Key] | None = None
        """The earliest, as of the last look."""
        self._count = 0

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: Key) -> bool:
        return key in self._when

    def set(self, key: Key, when: float) -> None:
        """Ring for this key at `when`, instead of any earlier wish for it."""
        self._count += 1
        alarm = self._when[key] = (when, self._count, key)
        heappush(self._heap, alarm)
        if self._head is not None and when < self._head[0]:
            self._head = alarm
        if len(self._heap) > 2 * len(self._when) + _SLACK:
            self._heap = list(self._when.values())
            heapify(self._heap)

    def _stands(self, alarm: tuple[float, int, Key]) -> bool:
        """Nobody has cancelled or moved it. (By its number: compiled, a tuple has no identity.)"""
        now = self._when.get(alarm[2])
        return now is not None and now[1] == alarm[1]

    def cancel_at(self, key: Key) -> float | None:
        """Do not ring for this key; when it would have rung."""
        alarm = self._when.pop(key, None)
        return None if alarm is None else alarm[0]

    def cancel(self, key: Key) -> None:
        """Do not ring for this key."""
        self._when.pop(key, None)

    def next(self) -> float | None:
        """When the next alarm rings."""
        head = self._head
        if head is not None and self._stands(head):
            return head[0]
        heap = self._heap
        while heap:
            head = heap[0]
            if self._stands(head):
                self._head = head
                return head[0]
            heappop(heap)
        self._head = None
        return None

    def due(self, now: float) -> Iterator[tuple[float, Key]]:
        """All alarms up to `now`, each with the time it was set for, in that order. Those that are cancelled or moved
        by what is done about one before them do not ring."""
        rung: list[tuple[float, int, Key]] = []
        heap, when = self._heap, self._when
        while heap:
            alarm = heap[0]
            if self._stands(alarm):
                if alarm[0] > now:
                    break
                rung.append(alarm)
            heappop(heap)
        self._head = None
        for alarm in rung:
            if self._stands(alarm):
                del when[alarm[2]]
                yield alarm[0], alarm[2]
