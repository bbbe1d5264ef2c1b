"""The spool: hands what was decided to a thread that may block on a disk or a terminal, so that serving never does.

Bounded: when the thread cannot keep up, items are dropped and counted, never waited for. Putting costs an append: the
thread looks by itself every interval.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


def _one(_: object) -> int:
    return 1


class Spool(Generic[Item]):
    """Items go in on one side (callers take turns), `write` gets them in batches in a thread of its own."""

    __slots__ = (
        "_closing", "_interval_s", "_items", "_limit", "_look", "_put", "_size", "_thread", "_write", "_written",
        "dropped", "errors",
    )  # fmt: skip

    def __init__(
        self,
        write: Callable[[list[Item]], None],
        limit: int,
        interval_s: float = 0.2,
        size: Callable[[Item], int] = _one,
    ) -> None:
        self._write = write
        self._limit = limit
        self._interval_s = interval_s
        self._size = size
        self._items: deque[Item] = deque()
        self._put = 0
        self._written = 0
        self._look = threading.Event()
        self._closing = False
        self.dropped = 0
        """Items that found the spool full."""
        self.errors = 0
        """Batches that could not be written and are lost."""
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def put(self, item: Item, now: bool = False) -> bool:
        """Leave an item for the thread; with `now` it is looked at at once. False: full, it was dropped."""
        size = self._size(item)
        if self._put - self._written + size > self._limit or self._closing:
            self.dropped += 1
            return False
        self._put += size
        self._items.append(item)
        if now:
            self._look.set()
        return True

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything put so far is written. False: not in time."""
        goal, end = self._put, time.monotonic() + timeout_s
        while self._written < goal and time.monotonic() < end:
            self._look.set()
            time.sleep(0.001)
        return self._written >= goal

    def close(self, timeout_s: float = 5.0) -> bool:
        """Write what is left and end the thread; later items are dropped. False: it is stuck and is left behind."""
        self._closing = True
        self._look.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._look.wait(self._interval_s)
            self._look.clear()
            closing = self._closing
            self._drain()
            if closing:
                return

    def _drain(self) -> None:
        items = self._items
        while items:
            batch = [items.popleft() for _ in range(min(len(items), 1000))]
            try:
                self._write(batch)
            except Exception:  # the thread must outlive whatever is wrong with one batch or the file below
                self.errors += 1
            self._written += sum(map(self._size, batch))
