"""An asyncio event loop on virtual time, for tests of bodies and pumps: waiting costs nothing and is exact.

When nothing is ready, time jumps to the next timer. There are no sockets, no threads and no signals: whatever is done
in here is done by tasks and timers. Timers due at the same time run in the order in which they were set (asyncio's own
loop promises none), which is what makes a run on it repeatable and comparable to the kernel.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context
from math import ulp
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Timer(asyncio.TimerHandle):
    __slots__ = ("sequence",)
    sequence: int

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self.sequence) < (other.when(), other.sequence)


class _Jump:
    """Stands where a loop has its selector: instead of waiting for sockets it moves the time."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise RuntimeError("every task waits and no timer is set: nothing can ever happen on this virtual loop")
        if timeout > 0:
            self._loop.jump()
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. Its `time` and `call_at` are what a pump needs."""

    _scheduled: list[_Timer]

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self._selector = _Jump(self)
        self._timers = 0
        self._set(start)

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._virtual_now

    def jump(self) -> None:
        """Go to the next timer."""
        self._set(self._scheduled[0].when())

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's, the past means now; timers of the same time run in the order in which they were set."""
        if self.is_closed():
            raise RuntimeError("the loop is closed")
        self._timers += 1
        timer = _Timer(max(when, self._virtual_now), callback, args, self, context)
        timer.sequence = self._timers
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # as the base class does, for cancel()
        return timer

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        """Threads live in real time. Raises RuntimeError."""
        raise RuntimeError("a virtual loop has no threads")

    def _set(self, now: float) -> None:
        self._virtual_now = now
        # the base class runs timers earlier than time + resolution: one ulp makes that "at or before now"
        self._clock_resolution = ulp(now)

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in another thread."""


def run_virtual(main: Coroutine[Any, Any, Result], start: float = 0.0) -> Result:
    """Run a coroutine to its end on a virtual loop of its own."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
        return runner.run(main)
