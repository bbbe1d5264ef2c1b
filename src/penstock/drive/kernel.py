"""The kernel: virtual time as a heap of callbacks, so that an hour of traffic is a second of computing.

It offers a clock and timers, so that a pump runs on it exactly as it runs on an event loop, and `at` for a world that
tells facts later. Whatever is due at the same time happens in the order in which it was scheduled. It knows no machine.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any, TypeVar

from penstock.drive.pump import Tick

Argument = TypeVar("Argument")

STANDSTILL = 1_000_000
"""So many callbacks without time moving on mean that some machine asks to be woken for ever."""


class Timer:
    """A callback that can be taken back."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Tick) -> None:
        self._callback: Tick | None = callback

    def cancel(self) -> None:
        """The callback is not called any more."""
        self._callback = None

    def fire(self, _: None) -> None:
        """Its time has come."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Kernel:
    """Virtual time in seconds. `clock` and `call_at` are what a pump needs."""

    __slots__ = ("_halted", "_heap", "_now", "_sequence", "done")

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._sequence = 0
        self._heap: list[tuple[float, int, Callable[[Any], object], Any]] = []
        self.done = 0
        """Callbacks so far."""

    def clock(self) -> float:
        """The virtual time."""
        return self._now

    def at(self, when: float, action: Callable[[Argument], object], argument: Argument) -> None:
        """Call `action(argument)` at `when` (the past means now). Cheaper than a timer; cannot be taken back."""
        self._sequence += 1
        heappush(self._heap, (max(when, self._now), self._sequence, action, argument))

    def call_at(self, when: float, callback: Tick) -> Timer:
        """Call `callback()` at `when`, unless the timer that is returned is cancelled before."""
        timer = Timer(callback)
        self.at(when, timer.fire, None)
        return timer

    def pending(self) -> int:
        """Callbacks that are still to come, cancelled ones included."""
        return len(self._heap)

    def halt(self) -> None:
        """Let `run` return after the callback that is being called: whoever waits for something has seen it."""
        self._halted = True

    def run(self, until: float = inf) -> float:
        """Let time pass until nothing is left, up to and including `until`, or until `halt`; returns the time reached.

        Raises RuntimeError when a million callbacks pass without time moving on.
        """
        heap, now, still = self._heap, self._now, 0
        self._halted = False
        while heap and heap[0][0] <= until:
            when, _, action, argument = heappop(heap)
            if when > now:
                self._now = now = when
                still = 0
            else:
                still += 1
                if still > STANDSTILL:
                    raise RuntimeError(f"virtual time stands still at {now}: {action!r} comes again and again")
            self.done += 1
            action(argument)
            if self._halted:
                return self._now
        if until != inf:
            self._now = max(self._now, until)
        return self._now
