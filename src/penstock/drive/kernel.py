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

    __slots__ = ("callback",)

    def __init__(self, callback: Tick) -> None:
        self.callback: Tick | None = callback
        """None: it was taken back, or called."""

    def cancel(self) -> None:
        """The callback is not called any more."""
        self.callback = None


class Kernel:
    """Virtual time in seconds. `clock` and `call_at` are what a pump needs."""

    __slots__ = ("_halted", "_heap", "_sequence", "done", "now")

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        """The virtual time, for who reads it often; `clock` is the same as a call."""
        self._sequence = 0
        self._heap: list[tuple[float, int, Callable[[Any], object] | None, Any]] = []
        """When, in which order, what, and its argument; a timer stands for itself, without a what."""
        self.done = 0
        """Callbacks so far."""

    def clock(self) -> float:
        """The virtual time."""
        return self.now

    def at(self, when: float, action: Callable[[Argument], object], argument: Argument) -> None:
        """Call `action(argument)` at `when` (the past means now). Cheaper than a timer; cannot be taken back."""
        self._sequence = sequence = self._sequence + 1
        if when < self.now:
            when = self.now
        heappush(self._heap, (when, sequence, action, argument))

    def call_at(self, when: float, callback: Tick) -> Timer:
        """Call `callback()` at `when`, unless the timer that is returned is cancelled before."""
        timer = Timer(callback)
        self._sequence = sequence = self._sequence + 1
        if when < self.now:
            when = self.now
        heappush(self._heap, (when, sequence, None, timer))
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
        heap, now, still = self._heap, self.now, 0
        self._halted = False
        while heap and heap[0][0] <= until:
            when, _, action, argument = heappop(heap)
            if action is None and argument.callback is None:
                continue  # it was taken back: for nobody does time move on
            if when > now:
                self.now = now = when
                still = 0
            else:
                still += 1
                if still > STANDSTILL:
                    raise RuntimeError(
                        f"virtual time stands still at {now}: {action or argument.callback!r} comes again and again"
                    )
            self.done += 1
            if action is not None:
                action(argument)
            else:
                callback, argument.callback = argument.callback, None
                callback()
            if self._halted:
                return self.now
        if until != inf:
            self.now = max(self.now, until)
        return self.now
