"""A group of calls whose requests go to a replica as one: one attempt, and its answer taken apart for all of them.

To the attempt it is an owner like any call; what would go to a client is kept here until it is whole. What cannot be
taken apart is told as a failure, and the Gate tries each call alone. Which calls go together is not decided here.
"""

import logging
from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol

from penstock.adapters.wire.response import ResponseHead
from penstock.base.errors import Label
from penstock.core.effects import Aboard, Carry, Send
from penstock.core.events import Ended, Failed
from penstock.gateway.call.attempt import Attempt
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.call.grouping import joined, parts_of
from penstock.gateway.call.owner import Owner
from penstock.gateway.fleet.pool import Pool
from penstock.gateway.plane import Plane

log = logging.getLogger("penstock.gateway")

MAX_ANSWER_BYTES = 8 << 20
"""A larger answer is not taken apart: that would hold up everybody else."""


class Yard(Plane, Protocol):
    """The data plane, as a carriage sees it."""

    @property
    def exchanges(self) -> Mapping[str, Exchange]:
        """The calls in progress."""
        ...


class _Kept:
    """Stands where an attempt expects a client's connection."""

    __slots__ = ("deadline", "full", "pieces", "size", "write")

    def __init__(self) -> None:
        self.deadline = inf
        self.write: Callable[[bytes], None] = self.put
        self.pieces: list[bytes] = []
        self.size = 0
        self.full = False

    def put(self, data: bytes) -> None:
        """Keep it."""
        self.size += len(data)
        self.full = self.full or self.size > MAX_ANSWER_BYTES
        if self.full:
            self.pieces.clear()
        else:
            self.pieces.append(data)


class Carriage(Owner[Attempt]):
    """One group on its way."""

    __slots__ = ("_aboard", "_attempt", "_kept", "_response", "_weights", "yard")

    _response: ResponseHead

    def __init__(self, yard: Yard, order: Carry) -> None:
        self.id = order.id
        self.yard = yard
        self.plane = yard
        self.pulse = yard.pulse
        self.wants_usage = False
        self.winner = None
        self.client = self._kept = _Kept()
        self._aboard: tuple[Aboard, ...] = order.aboard
        self._weights: list[int] = []
        self._attempt: Attempt | None = None

    @property
    def slow(self) -> bool:
        """What comes is kept as fast as it comes."""
        return False

    @property
    def gzip(self) -> bool | None:
        """Each call gets its part as its client likes."""
        return None

    @property
    def http10(self) -> bool:
        """Pieces of an answer come without the marks of chunks."""
        return True

    def send(self, order: Send, pool: Pool | None) -> None:
        """Make the attempt."""
        first = next((self.yard.exchanges[one.id] for one in self._aboard if one.id in self.yard.exchanges), None)
        if pool is None or first is None:
            self.plane.tell(Failed(self.id, order.attempt, "connect_refused"))
            return
        self.head = first.head
        self._attempt = Attempt(self, order, pool)
        self._attempt.start()

    def drop(self) -> None:
        """Stop; nothing more is told."""
        attempt, self._attempt, self.winner = self._attempt, None, None
        if attempt is not None:
            attempt.drop()

    def expire(self, now: float) -> None:
        """Look whether it takes too long."""
        if self._attempt is not None and self._kept.deadline <= now:
            self._attempt.expire(now)
            if self._attempt is not None:
                self._kept.deadline = self._attempt.deadline()

    # ===== of the attempt =====

    def request(self, order: Send) -> bytes:
        """One body for all that are still there; the others' answers are nobody's."""
        exchanges = self.yard.exchanges
        here = [(one, exchanges[one.id]) for one in self._aboard if one.id in exchanges]
        requests = [(one, each.body, each.item_at) for one, each in here if each.body is not None]
        self._aboard = tuple([one for one, _, _ in requests])
        self._weights = [at[3] - at[2] - 2 for _, _, at in requests]
        if not requests:
            return b""
        first = exchanges[self._aboard[0].id]
        body, first.body = first.body, joined([(body, at) for _, body, at in requests])
        try:
            return first.request(order)
        finally:
            first.body = body

    def release_body(self) -> None:
        """Kept: each call may yet be tried alone."""

    def answer_head(self, response: ResponseHead, framing: bytes) -> bytes:
        """Each call gets a head of its own."""
        self._response = response
        return b""

    def answer_instead(self, status: int, payload: bytes) -> None:
        """An engine's complaint in place of a stream: nobody asked for one."""

    def failed(self, attempt: Attempt, label: Label, status: int, retry_after_s: float | None) -> None:
        """The attempt has failed."""
        if attempt is self._attempt:
            self._attempt = self.winner = None
            self.plane.tell(Failed(self.id, attempt.number, label, status, retry_after_s))

    def answered(self, ended: Ended) -> None:
        """The answer is whole: each call gets its part, then the group is over."""
        attempt, self._attempt, self.winner = self._attempt, None, None
        if attempt is None:
            return
        parts = None
        if ended.status == 200 and not self._kept.full and not attempt.response.encoded:
            parts = parts_of(b"".join(self._kept.pieces), self._weights)
            if parts is None:
                log.warning("replica %s did not answer a list of %d as expected: each is asked alone",
                            attempt.pool.replica.id, len(self._weights))  # fmt: skip
        if parts is None:
            self.plane.tell(Failed(self.id, ended.attempt, "bad_request", ended.status))
            return
        exchanges = self.yard.exchanges
        for one, part in zip(self._aboard, parts, strict=True):
            exchange = exchanges.get(one.id)
            if exchange is not None:
                exchange.rates = one.rates
                exchange.take_part(attempt, attempt.response, part.body, part.usage, one.queue_s)
        self.plane.tell(ended)
