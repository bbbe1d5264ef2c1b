"""Calls that are pinned to one replica and wait for that one [Q4, R2, R9]: a line a replica, beside those of models.

Off unless a session or a key is to stay where it is. A pinned call holds nobody up: it leaves the line of its model,
and its replica's line has the same order of classes and tenants. It stops being pinned when its replica cannot take it
any more (ill, draining, gone), when it has waited long enough, or when an attempt has failed: then any may serve it.
"""

from msgspec.structs import replace

from penstock.base.nouns import Call
from penstock.core.fair import Flow
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.queue import Line
from penstock.core.route.hashed import Around
from penstock.core.route.pipeline import Pipeline
from penstock.core.route.sticky import Sticky
from penstock.core.spec import QueueSpec, StickySpec


class Pins:
    """Which replica a call is pinned to, and the calls that wait for theirs."""

    __slots__ = ("_around", "_hash_wait_s", "_pipeline", "_queue", "_session_wait_s", "_sticky", "lines", "stale")

    def __init__(self, spec: StickySpec | None, sticky: Sticky | None, pipeline: Pipeline, queue: QueueSpec) -> None:
        self._sticky = sticky
        self._session_wait_s = spec.pin_wait_s if spec is not None and spec.pin else None
        """None: a session is a preference only."""
        self._around: Around | None = pipeline.placer
        self._hash_wait_s = self._around.pin_wait_s if self._around is not None else None
        self._pipeline = pipeline
        self._queue = queue
        self.lines: dict[Seat, Line] = {}
        self.stale = False
        """Somebody's health, models or membership changed since the lines were last looked through."""

    @property
    def wanted(self) -> bool:
        """Whether any call is ever pinned here."""
        return self._session_wait_s is not None or self._hash_wait_s is not None

    def of(self, call: Call, model: str, usable: list[Seat], now: float) -> tuple[Seat, float] | None:
        """The replica that a call is pinned to, and how long it may wait for it; None: any replica may serve it."""
        sticky = self._sticky
        if sticky is not None and call.session:
            if self._session_wait_s is None:
                return None  # its session prefers a replica, whatever the strategy would say
            seat = sticky.bound(self._named(call, model), now)
            if seat is not None and seat in usable:
                return seat, self._session_wait_s
        if self._around is not None and self._hash_wait_s is not None:
            key = self._around.key(call)
            seat = None if key is None else self._around.owner(key, usable)
            if seat is not None:
                return seat, self._hash_wait_s
        return None

    def took(self, call: Call, model: str, seat: Seat, now: float) -> None:
        """The call goes to the replica that it was pinned to."""
        if self._sticky is not None and call.session:
            self._sticky.keep(self._named(call, model), seat, now)

    def given_up(self, call: Call, model: str, seat: Seat) -> None:
        """The call has waited long enough for its replica: its session need not return there."""
        if self._sticky is not None and call.session:
            self._sticky.forget(self._named(call, model), seat)

    def _named(self, call: Call, model: str) -> Call:
        return replace(call, model=model) if self._pipeline.by_model and call.model != model else call

    # ===== lines =====

    def push(self, flight: Flight, seat: Seat, flow: Flow, now: float) -> None:
        """Let the call wait for its replica."""
        line = self.lines.get(seat)
        if line is None:
            line = self.lines[seat] = Line(self._queue)
        flight.pin = seat
        line.push(flight, flow, now)
        seat.pinned_calls(1)

    def drop(self, flight: Flight, seat: Seat) -> None:
        """The call waits for its replica no more."""
        line = self.lines[seat]
        line.drop(flight)
        flight.pin = None
        seat.pinned_calls(-1)
        if not line:
            del self.lines[seat]

    def waits(self, seat: Seat, closed: tuple[bool, ...]) -> bool:
        """Whether somebody waits for this replica and is not held back."""
        line = self.lines.get(seat)
        return line is not None and line.order.open(closed)
