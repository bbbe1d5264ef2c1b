"""Bookings: a reader of the journal that writes down, before anybody is told, how each call ended and what it cost.

The observer of a turn comes before its orders, so the record of a call is there before the last byte of its answer can
be written; `commit` puts what a turn of the event loop ended on disk, and the outbox calls it before it writes. It is
on the path of every call: one encoding, one check sum, and a share of one write.

Attempts that nobody is billed for are written down as well, with the call that they were made for.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from penstock.base.entries import CALL, OVERHEAD, UPKEEP, Entry, Overhead, Upkeep
from penstock.base.nouns import CallRow
from penstock.core.effects import Adopt, Cancel, Carry, Effect, Record, Send
from penstock.core.events import ClientGone, Event, Failed
from penstock.drive.segments import Segments
from penstock.telemetry.attempts import Name, moved, taken

_encode = msgspec.json.Encoder().encode
HEDGE_LOST: Final = "hedge_lost"
LEFT: Final = "left"


class _Lost(NamedTuple):
    """An attempt that ended without an answer."""

    attempt: int
    replica: str
    at: float
    seconds: float
    what: str


class Bookings:
    """The reader, over the segments that outlive the process."""

    __slots__ = ("_aboard", "_call_soon", "_due", "_group_of", "_lost", "_put", "_segments", "_sent", "regions")

    def __init__(self, segments: Segments, call_soon: Callable[[Callable[[], object]], object]) -> None:
        self._segments = segments
        self._put = segments.put
        self._call_soon = call_soon
        self._due = False
        self._sent: dict[Name, tuple[str, float]] = {}
        """Call (first attempt) or (call, attempt) -> replica, and when it was sent; until the call is over."""
        self._lost: dict[str, list[_Lost]] = {}
        self._aboard: dict[str, dict[str, None]] = {}
        """Group -> the calls that go with it."""
        self._group_of: dict[str, str] = {}
        self.regions: Mapping[str, str] = {}
        """Replica -> where it stands."""

    def observe(self, now: float, event: Event, effects: list[Effect]) -> None:
        """Read one turn."""
        if type(event) is Failed:
            self._ended(event.id, event.attempt, event.label, now, event)
        for effect in effects:
            kind = type(effect)
            if kind is Record:
                self._over(effect.row, event)  # type: ignore[union-attr]
            elif kind is Send:
                call, attempt = effect.id, effect.attempt  # type: ignore[union-attr]
                self._sent[call if attempt == 1 else (call, attempt)] = (effect.replica, now)  # type: ignore[union-attr]
            elif kind is Cancel:
                what = LEFT if type(event) is ClientGone else HEDGE_LOST
                self._ended(effect.id, effect.attempt, what, now, event)  # type: ignore[union-attr]
            elif kind is Carry:
                self._carried(effect)  # type: ignore[arg-type]
            elif kind is Adopt:
                self._adopted(effect.id, effect.by)  # type: ignore[union-attr]

    def _adopted(self, call: str, by: str) -> None:
        """The attempts of a call are another's from now on, those that failed as well."""
        moved(self._sent, call, by)
        if self._lost and (lost := self._lost.pop(call, None)) is not None:
            self._lost[by] = lost

    def commit(self) -> None:
        """Put on disk what was booked."""
        if self._due:
            self._due = not self._segments.commit()

    def upkeep(self, span: Upkeep) -> None:
        """What the fleet was for a while."""
        self._book(UPKEEP, span)

    def _book(self, kind: bytes, what: Entry | Overhead | Upkeep) -> None:
        self._put(kind, _encode(what))
        if not self._due:
            self._due = True
            self._call_soon(self.commit)

    def _over(self, row: CallRow, event: Event) -> None:
        call = row.id
        attempts = row.attempts
        if self._group_of and (group := self._group_of.pop(call, None)) is not None:
            del self._aboard[group][call]
        if attempts:
            self._sent.pop(call, None)
            for attempt in range(2, attempts + 1):
                self._sent.pop((call, attempt), None)
            if self._lost and (lost := self._lost.pop(call, None)) is not None:
                self._book_lost(row, event, lost)
        self._book(CALL, Entry(row, self.regions.get(row.replica, "")))

    def _carried(self, order: Carry) -> None:
        """A group of calls is sent as one, or is over."""
        for call in self._aboard.pop(order.id, ()):
            self._group_of.pop(call, None)
        if order.aboard:
            self._aboard[order.id] = dict.fromkeys(one.id for one in order.aboard)
            self._group_of.update(dict.fromkeys(self._aboard[order.id], order.id))
        else:
            taken(self._sent, order.id)

    def _ended(self, call: str, attempt: int, what: str, now: float, event: Event) -> None:
        sent = self._sent.get(call if attempt == 1 else (call, attempt))
        if sent is not None and call in self._aboard:  # written down once, with one of those that it was for
            call = event.id if type(event) is ClientGone else next(iter(self._aboard[call]), "")
        if sent is not None and call:  # else it is a benchmark's, or told of a call that is over
            self._lost.setdefault(call, []).append(_Lost(attempt, sent[0], sent[1], now - sent[1], what))

    def _book_lost(self, row: CallRow, event: Event, lost: list[_Lost]) -> None:
        """All of them but the one that is the call's own: that failed when its answer had begun, or that was under way
        when the client left."""
        own = 0
        if type(event) is Failed:
            own = event.attempt if row.ttft_s is not None else 0
        elif type(event) is ClientGone:
            own = max((one.attempt for one in lost if one.what == LEFT), default=0)
        for one in lost:
            if one.attempt != own:
                region = self.regions.get(one.replica, "")
                self._book(OVERHEAD, Overhead(
                    row.id, one.attempt, one.at, one.seconds, row.tenant, row.key, row.model, row.pool, one.replica,
                    region, one.what,
                ))  # fmt: skip
