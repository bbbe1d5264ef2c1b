"""The one shape that every deciding part of Penstock has.

A machine never blocks, never reads a clock, never does I/O, and is never re-entered: a pump (`penstock.drive`) owns it,
tells it one fact at a time and performs the orders that come back. Time is an argument, always named `now`, always
last: seconds on one axis that never goes back.
"""

from typing import Protocol, TypeVar

Fact = TypeVar("Fact", contravariant=True)
Order = TypeVar("Order")  # a list of orders is invariant


class Machine(Protocol[Fact, Order]):
    """Facts in, orders out."""

    def on(self, event: Fact, now: float) -> list[Order]:
        """Take one fact and return the orders that follow from it, in the order in which they must be performed."""
        ...

    def next_wake(self) -> float | None:
        """When the machine wants a `Woke` fact, in the same seconds as `now`; None while it waits for nothing.

        A pump may wake it late, never early: it passes `max(wake, clock)` as `now`.
        """
        ...
