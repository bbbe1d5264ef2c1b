"""The engine inside: a Batcher on the event loop's time, and who waits for which of its sequences."""

import asyncio
from collections import deque

from msgspec import Struct

from penstock.drive.pump import Pump, monotonic_clock
from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.words import Abort, Emit, Event, Finish, Order, Slowed, Submit, WhyNot, Woke

SEEN_KEPT = 100_000


class Job(Struct, frozen=True):
    """One sequence to run."""

    prompt_tokens: int
    max_tokens: int
    hashes: tuple[int, ...]
    stops: bool = False
    """It ends by itself (reason "stop") when its tokens are out, rather than at its limit."""


class Seen(Struct, kw_only=True):
    """One request as this replica saw it: its own account of what it did and for whom, for who wants to compare."""

    id: str
    path: str
    user: str = ""
    """The `user` of its body: for whom."""
    outcome: str = "running"
    """running, finished, aborted or rejected."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Tokens generated, whether or not anybody read them."""
    cached_tokens: int = 0
    """Of the prompt, where it came to its end."""


class Ticket:
    """One request's sequences, as far as they have come."""

    __slots__ = ("_changed", "_open", "emitted", "finished", "gone", "ids", "rejected", "seen")

    def __init__(self, ids: list[str], seen: Seen) -> None:
        self.ids = ids
        self.seen = seen
        self.emitted = [0] * len(ids)
        """Tokens that are out, by sequence."""
        self.finished: list[Finish | None] = [None] * len(ids)
        self.rejected: WhyNot | None = None
        self.gone = False
        """The client left."""
        self._open = len(ids)
        self._changed = asyncio.Event()

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self._open == 0

    async def changed(self) -> None:
        """Wait until there is more. The engine always makes progress, and a client that leaves ends the wait."""
        await self._changed.wait()
        self._changed.clear()

    def take(self, index: int, order: Order) -> None:
        """Note what the engine says of one sequence."""
        if isinstance(order, Emit):
            self.emitted[index] += order.tokens
            self.seen.completion_tokens += order.tokens
        else:
            self._open -= 1
            if isinstance(order, Finish):
                self.finished[index] = order
                self.seen.cached_tokens += order.cached_tokens
            else:
                self.rejected = order.why
        self._changed.set()


class Replica:
    """A Batcher, its pump, and the tickets of the requests in flight."""

    def __init__(self, spec: EngineSpec) -> None:
        self.batcher = Batcher(spec)
        self.seen: deque[Seen] = deque(maxlen=SEEN_KEPT)
        self.in_flight = 0
        self._pump: Pump[Event, Order] | None = None
        self._tickets: dict[str, tuple[Ticket, int]] = {}
        self._number = 0

    def open(self, request_id: str, path: str, jobs: list[Job], user: str = "") -> Ticket:
        """Hand the sequences of one request to the engine. Look at `rejected` before waiting."""
        seen = Seen(id=request_id, path=path, user=user, prompt_tokens=sum(job.prompt_tokens for job in jobs))
        ids = [str(self._number + offset) for offset in range(len(jobs))]
        self._number += len(jobs)
        self.seen.append(seen)
        self.in_flight += 1
        ticket = Ticket(ids, seen)
        pump = self._started()
        for index, (job, name) in enumerate(zip(jobs, ids)):
            self._tickets[name] = (ticket, index)
            reason = "stop" if job.stops else "length"
            pump.tell(Submit(name, job.prompt_tokens, job.max_tokens, job.hashes, reason))  # type: ignore[arg-type]
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The client left, in whatever phase: the engine stops working for it."""
        ticket.gone = True
        for name in ticket.ids:
            if name in self._tickets:
                self._started().tell(Abort(name))

    def close(self, ticket: Ticket) -> None:
        """The request is over, on whatever way; what still runs of it is stopped."""
        complete = ticket.over and not ticket.gone
        self.leave(ticket)
        ticket.seen.outcome = "rejected" if ticket.rejected else "finished" if complete else "aborted"
        self.in_flight -= 1

    def slow_down(self, factor: float) -> None:
        """Every step takes so many times as long from now on."""
        self._started().tell(Slowed(factor))

    def catch_up(self) -> None:
        """Bring the engine up to now, so that its numbers are of now."""
        self._started().tell(Woke())

    def stop(self) -> None:
        """Take the timer back."""
        if self._pump is not None:
            self._pump.close()

    def _started(self) -> Pump[Event, Order]:
        if self._pump is None:
            clock, call_at = monotonic_clock(asyncio.get_running_loop())
            self._pump = Pump(self.batcher, self._perform, clock, call_at, _unobserved, Woke())
        return self._pump

    def _perform(self, order: Order) -> None:
        name = order.id
        ticket, index = self._tickets[name]
        if not isinstance(order, Emit):
            del self._tickets[name]
        ticket.take(index, order)


def _unobserved(now: float, event: Event, orders: list[Order]) -> None:
    """An emulator keeps no journal: /metrics and the list of what it saw tell enough."""
