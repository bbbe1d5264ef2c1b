"""Made-up conversations: turns whose prompts are all that was said before, and one thing more.

The stream is open loop: a turn comes when the answer before it would be out at a guessed pace, plus a pause to think.
Requests carry session, turn and pause, so that who plays them may wait for the real answers instead. Memory grows with
the sessions that are open, never with those that are over.
"""

import heapq
import math
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

from msgspec import Meta, field

from penstock.base.rand import Rand
from penstock.base.units import Seconds
from penstock.workload import draws
from penstock.workload.arrivals import Arrivals
from penstock.workload.formats import MAX_TOKENS
from penstock.workload.lengths import Independent, Length, LogNormal, Read, Sizes
from penstock.workload.prefixes import BlockTokens, Shared, beginnings, session_blocks
from penstock.workload.request import NS, Request
from penstock.workload.synthetic import Who


class Sessions(Who, frozen=True, kw_only=True, tag="sessions"):
    """Conversations of several turns; labels are drawn once a session."""

    arrivals: Annotated[Arrivals, Meta(description="when sessions begin")]
    turns: Annotated[Length, Meta(description="turns of a session; below 1 counts as 1")] = field(
        default_factory=lambda: LogNormal(median=3, sigma=0.8, high=50)
    )
    sizes: Annotated[Sizes, Meta(description="tokens of what is said and answered in one turn")] = field(
        default_factory=lambda: Independent(prompt=LogNormal(median=60, sigma=1.0, high=8192))
    )
    opening: Annotated[Length | None, Meta(description="tokens that the first turn brings along (a document)")] = None
    shared: Annotated[Shared | None, Meta(description="system prompts at the beginning; none: none")] = None
    think_s: Annotated[Seconds, Meta(description="median pause between an answer and the next turn")] = field(
        default=20.0, name="think"
    )
    think_sigma: Annotated[float, Meta(ge=0, le=5, description="standard deviation of the pause's logarithm")] = 1.0
    token_s: Annotated[Seconds, Meta(description="guess of the time per token of an answer")] = field(
        default=0.02, name="token_time"
    )
    max_context_tokens: Annotated[
        int, Meta(ge=1, le=MAX_TOKENS, description="a session ends before the turn whose prompt would pass it")
    ] = 32_768
    block_tokens: BlockTokens = 64

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival. Raises TraceError where a file is used."""
        return islice(_Play(self, rand, read).requests(), self.requests)

    def chosen(self, rand: Rand, read: Read) -> dict[str, Any]:
        """What the seed and the files decided beyond the spec."""
        shared = {} if self.shared is None else self.shared.chosen(rand, self.block_tokens)
        return self.sizes.chosen(rand, read) | shared


class _Open:
    """A session that goes on."""

    __slots__ = ("blocks", "context", "labels", "number", "think_ns", "turn", "turns")

    def __init__(self, number: int, labels: tuple[str, str, str, int], context: int, turns: int) -> None:
        self.number, self.labels, self.context, self.turns = number, labels, context, turns
        self.turn = self.think_ns = 0
        self.blocks: tuple[int, ...] = ()
        """Of the shared prompt that it begins with."""


class _Play:
    """One run through the sessions of a spec."""

    def __init__(self, spec: Sessions, rand: Rand, read: Read) -> None:
        self._spec = spec
        self._starts = spec.within(spec.arrivals.times(rand.stream("arrivals"), read))
        self._end_ns = math.inf if spec.duration_s is None else spec.duration_s * NS
        self._labels = spec.labels(rand)
        self._turns = spec.turns.sampler(rand.stream("turns"))
        self._pair = spec.sizes.pairs(rand, read)
        self._opening = spec.opening.sampler(rand.stream("opening")) if spec.opening is not None else lambda: 0
        self._normal = draws.normal(rand.stream("think"))
        self._begin = beginnings(spec.shared, rand, spec.block_tokens)
        self._waiting: list[tuple[int, int, _Open]] = []

    def requests(self) -> Iterator[Request]:
        """All requests, by arrival."""
        number, start_ns = 0, next(self._starts, None)
        while self._waiting or start_ns is not None:
            if start_ns is not None and (not self._waiting or start_ns <= self._waiting[0][0]):
                request = self._turn(start_ns, self._opened(number))
                number, start_ns = number + 1, next(self._starts, None)
            else:
                at_ns, _, session = heapq.heappop(self._waiting)
                request = self._turn(at_ns, session)
            if request is not None:
                yield request

    def _opened(self, number: int) -> _Open:
        tokens, blocks = self._begin()
        session = _Open(number, next(self._labels), tokens + self._opening(), max(self._turns(), 1))
        session.blocks = blocks
        return session

    def _turn(self, at_ns: int, session: _Open) -> Request | None:
        """The session's next request; None: its context is full. The turn after it is put into the queue."""
        spec, size = self._spec, self._spec.block_tokens
        said, output = self._pair()
        prompt = max(session.context + said, 1)
        if prompt > spec.max_context_tokens:
            if session.turn:
                return None
            prompt = spec.max_context_tokens
        whole = (prompt + output) // size
        leading = session.blocks[:whole]
        blocks = leading + session_blocks(session.number, len(leading), whole)
        turn, think_ns = session.turn, session.think_ns
        session.turn, session.context = turn + 1, prompt + output
        if session.turn < session.turns:
            self._push(at_ns + int(output * spec.token_s * NS), session)
        tenant, model, adapter, rank = session.labels
        return Request(
            at_ns, prompt, output, blocks, size if blocks else 0, f"s{session.number}", tenant, model, adapter, rank,
            turn, think_ns, spec.deadline_ns(),
        )  # fmt: skip

    def _push(self, answered_ns: int, session: _Open) -> None:
        think_ns = int(self._spec.think_s * math.exp(self._spec.think_sigma * self._normal()) * NS)
        if answered_ns + think_ns <= self._end_ns:
            heapq.heappush(self._waiting, (answered_ns + think_ns, session.number, session))
            session.think_ns = think_ns
