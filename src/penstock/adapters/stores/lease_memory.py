"""Shared limits in the memory of one process: for several gateways within it, and what the other stores are held to."""

from collections.abc import Callable

from penstock.base.leases import Question, Reply
from penstock.core.limits.book import LeaseBook


class LeaseMemory:
    """A book and a clock."""

    def __init__(self, book: LeaseBook, clock: Callable[[], float]) -> None:
        self._book = book
        self._clock = clock

    async def exchange(self, question: Question) -> Reply:
        """See `LeaseStore`."""
        return self._book.exchange(question, self._clock())

    async def close(self) -> None:
        """See `LeaseStore`."""
