"""Until when attempts must have begun: one alarm for all of an engine's, because nearly all begin in time."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from penstock.drive.kernel import Kernel

Item = TypeVar("Item")


class Deadlines(Generic[Item]):
    """Items and their times, which are added in the order in which they will be due (later ones may come earlier by
    what their settings differ, and are then looked at with the one before them)."""

    __slots__ = ("_due", "_in_time", "_kernel", "_late", "_watching")

    def __init__(self, kernel: Kernel, in_time: Callable[[Item], bool], late: Callable[[Item], None]) -> None:
        """`in_time`: whether it has begun, or nobody waits for it any more; `late`: hears of one that has not."""
        self._kernel = kernel
        self._in_time = in_time
        self._late = late
        self._due: deque[tuple[float, Item]] = deque()
        """The earliest first; those that were in time may stand in it for a while."""
        self._watching = False

    def add(self, item: Item, until: float) -> None:
        """It must have begun by then."""
        due = self._due
        while due and self._in_time(due[0][1]):
            due.popleft()
        due.append((until, item))
        if not self._watching:
            self._watching = True
            self._kernel.at(until, self._look, None)

    def _look(self, _: None) -> None:
        due, now = self._due, self._kernel.now
        while due and (due[0][0] <= now or self._in_time(due[0][1])):
            item = due.popleft()[1]
            if not self._in_time(item):
                self._late(item)
        self._watching = bool(due)
        if due:
            self._kernel.at(due[0][0], self._look, None)
