"""The pump: owns one machine, tells it one fact at a time, performs its orders in order, wakes it when it asked.

The same pump runs on asyncio (the clock and the timers of an event loop) and on the kernel (those of virtual time):
what happens in production and what happens in a simulation differ in nothing but the two functions handed in. It knows
the shape of a machine and nothing of its vocabulary. This is the hot path: no closure, no task, no future per fact.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final, Generic, Protocol, TypeVar

from penstock.base.machine import Machine

Fact = TypeVar("Fact")
Order = TypeVar("Order")

SLACK_S: Final = 0.001
"""A timer that fires this much too early counts as on time: event loops round to a millisecond, and arming the rest of
one again would only spin."""
BUG_PAUSE_S: Final = 0.1
"""After a bug the machine is woken no sooner than this, so that one that cannot make progress does not take the CPU."""

Clock = Callable[[], float]
Tick = Callable[[], object]


class Handle(Protocol):
    """A timer that can be taken back."""

    def cancel(self) -> None:
        """The callback is not called any more."""
        ...


CallAt = Callable[[float, Tick], Handle]
Observe = Callable[[float, Any, list[Any]], None]


def log_bug(what: object, error: Exception) -> None:
    """The way of production with a bug: the log gets it, with its trace, and the next fact is served."""
    logging.getLogger("penstock.drive").error(
        "bug while handling %s: %s", type(what).__name__, type(error).__name__, exc_info=error
    )


def raise_bug(what: object, error: Exception) -> None:
    """The way of tests and simulations with a bug: stop at once. Raises the error itself."""
    raise error


def monotonic_clock(loop: asyncio.AbstractEventLoop) -> tuple[Clock, CallAt]:
    """A clock in seconds since the epoch that never goes back, and timers of `loop` on the same axis.

    The epoch is read once: later corrections of the wall clock do not move the axis. The loop's own `time()` is not
    used, because uvloop's has a resolution of a millisecond and stands still during an iteration.
    """
    monotonic, call_later = time.monotonic, loop.call_later
    offset_s = time.time() - monotonic()

    def clock() -> float:
        return monotonic() + offset_s

    def call_at(when: float, callback: Tick) -> Handle:
        return call_later(max(0.0, when - offset_s - monotonic()), callback)

    return clock, call_at


class Pump(Generic[Fact, Order]):
    """Turns one machine.

    `perform` does one order, at once and without blocking; what comes of it is told as facts, later or right away.
    `clock` is the time in seconds and `call_at(when, callback)` a timer on the same axis. `observe(now, event,
    effects)` sees every turn before its orders are performed. `woke` is the fact for a wake-up. `on_bug(fact or
    order, error)` hears of exceptions.
    """

    __slots__ = (
        "_armed", "_busy", "_call_at", "_clock", "_inbox", "_next_wake", "_not_before", "_now", "_observe", "_on",
        "_on_bug", "_perform", "_timer", "_woke", "machine",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine[Fact, Order],
        perform: Callable[[Order], None],
        clock: Clock,
        call_at: CallAt,
        observe: Callable[[float, Fact, list[Order]], None],
        woke: Fact,
        on_bug: Callable[[object, Exception], None] = log_bug,
    ) -> None:
        self.machine = machine
        self._on = machine.on
        self._next_wake = machine.next_wake
        self._perform = perform
        self._clock = clock
        self._call_at = call_at
        self._observe = observe
        self._woke = woke
        self._on_bug = on_bug
        self._inbox: deque[Fact] = deque()
        self._busy = False
        self._now = clock()
        self._armed = inf
        self._timer: Handle | None = None
        self._not_before = -inf

    def now(self) -> float:
        """The time on the machine's axis; never less than what it was told last."""
        return max(self._clock(), self._now)

    def tell(self, event: Fact) -> None:
        """Tell the machine a fact. From inside a turn (an order that is performed tells something): after that turn."""
        if self._busy:
            self._inbox.append(event)
            return
        self._busy = True
        try:
            self._turn(event)
            inbox = self._inbox
            while inbox:
                self._turn(inbox.popleft())
        finally:
            self._busy = False
        try:
            wake = self._next_wake()
        except Exception as error:  # as in a turn
            self._on_bug(event, error)
            return
        if wake is not None and wake < self._armed:
            self._arm(wake)

    def close(self) -> None:
        """Take back the timer. Facts are still handled; wake-ups come again with the next of them."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._armed = None, inf

    def _turn(self, event: Fact) -> None:
        now = self._clock()
        if now < self._now:
            now = self._now
        else:
            self._now = now
        try:
            orders = self._on(event, now)
        except Exception as error:  # one request's bug must not end the process
            self._not_before = now + BUG_PAUSE_S
            self._on_bug(event, error)
            return
        try:
            self._observe(now, event, orders)
        except Exception as error:  # a reader's bug must not cost a call
            self._on_bug(event, error)
        for order in orders:
            try:
                self._perform(order)
            except Exception as error:  # the other orders are still owed
                self._on_bug(order, error)

    def _arm(self, wake: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if wake < self._not_before:
            wake = self._not_before
        self._armed = wake
        self._timer = self._call_at(wake, self._fire)

    def _fire(self) -> None:
        reached, told = self._armed, self._now
        self._timer, self._armed = None, inf
        now = self._clock()
        try:
            wake = self._next_wake()
        except Exception as error:  # as in a turn
            self._on_bug(self._woke, error)
            return
        if wake is None:
            return
        if (wake > reached and wake > told and wake > now) or wake > now + SLACK_S:
            self._arm(wake)
            return
        if wake > told:
            self._now = wake
        self.tell(self._woke)
