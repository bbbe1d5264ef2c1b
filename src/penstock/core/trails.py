"""Trails: why each of the last calls went where it went, and what it waited for [R10]. A part of the Gate.

It is told by the parts that decide, decides nothing itself, and what it keeps is bounded by calls and by bytes. It is
a function of the same facts as the decisions, so a journal that is replayed gives the same trails again.
"""

import struct
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from msgspec.structs import replace

from penstock.base.errors import Label, Refusal
from penstock.base.nouns import PRIORITIES, CallRow
from penstock.core.attempts import may_repeat
from penstock.core.events import Failed
from penstock.core.fair import TYPICAL_OUTPUT
from penstock.core.flight import Flight
from penstock.core.limits.bars import Bar
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.reasons import MOST_LEFT, Known, aside, ill, left_out, owner, passed_over, snake, unfit, why_queued
from penstock.core.route.notes import Chooser, Notes, Scorers
from penstock.core.spec import ExplainSpec
from penstock.core.steps import (
    Barred,
    Chosen,
    Denied,
    Given,
    Hedged,
    Joined,
    LetIn,
    Lost,
    Moved,
    Note,
    Paused,
    Queued,
    Refused,
    Step,
    Stopped,
    Trail,
    Unqueued,
)

MOST_BYTES: Final = 64 << 10
"""A call that goes on and on is remembered by its beginning and its last step."""
TRAIL_BYTES: Final = 600
CHOSEN_BYTES: Final = 200
STEP_BYTES: Final = 200
NAME_BYTES: Final = 8
"""About what they take in memory (a test holds their sum against what Python says)."""
_MOST_KNOWN, _MOST_LABELS = 256, 32
_NO_NOTE: Final[Note] = ()
_NO_SCORERS: Final[tuple[tuple[str, float], ...]] = ()
_NO_PARTS: Final[list[list[float]]] = []
_NONE: Final[tuple[int, ...]] = (0,) * len(PRIORITIES)


class _Label(NamedTuple):
    """The names of a pipeline's picker and of some scorers."""

    scorers: Scorers
    pipeline: Chooser | None
    picker: str
    names: tuple[tuple[str, float], ...]
    drawn: Callable[[], Note] | None
    """What the picker has to say of its last lot."""


class Trails:
    """The last calls, and the pen that writes those in flight."""

    __slots__ = ("_bytes", "_known", "_label", "_labels", "_last", "_layouts", "_ring", "_served", "notes", "spec")

    def __init__(self, spec: ExplainSpec) -> None:
        self.spec = spec
        """May be replaced at any time; it holds from the next call that ends."""
        self.notes = Notes()
        self._ring: deque[Trail] = deque()
        self._bytes = 0
        self._last = Known((), (), (), 0, "", "", "")
        self._label = _Label((), None, "", (), None)
        self._labels: deque[_Label] = deque(maxlen=_MOST_LABELS)
        self._known: dict[tuple[str, str], Known] = {}
        self._layouts: dict[int, Callable[..., bytes]] = {}
        self._served: dict[str, list[int]] = {}
        """Pool -> calls that got a seat out of its queue, by priority."""

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return self._bytes

    # ===== for people =====

    def newest(self) -> Iterator[Trail]:
        """Calls that are over, the last first."""
        return reversed(self._ring)

    def find(self, id: str) -> Trail | None:
        """The last call with this id, ours or its client's."""
        return next((trail for trail in self.newest() if id in (trail.row.id, trail.row.client_id)), None)

    @staticmethod
    def live(flight: Flight, now: float) -> Trail:
        """A call that goes on."""
        row = flight.row(flight.state, 0, None, 0, "" if flight.seat is None else flight.seat.id, now)
        return _trail(flight, row, False)

    # ===== a call's way =====

    def barred(self, flight: Flight, bar: Bar, waits: bool, now: float) -> None:
        """A limit does not let it pass."""
        self._add(flight, Barred(
            now, flight.trail, _size(flight) + STEP_BYTES, bar.label, bar.who, bar.what, bar.limit, bar.used, bar.held,
            bar.need, waits,
        ))  # fmt: skip

    def let_in(self, flight: Flight, now: float) -> None:
        """It has waited for that, and passes."""
        self._add(flight, LetIn(now, flight.trail, _size(flight) + STEP_BYTES))

    def given(self, flight: Flight, how: str, of: str, age_s: float, now: float) -> None:
        """It gets another's answer, or an old one, or is the one that others wait for now."""
        self._add(flight, Given(now, flight.trail, _size(flight) + STEP_BYTES, how, of, age_s))

    def joined(self, flight: Flight, group: str, calls: int, now: float) -> None:
        """It goes together with others."""
        self._add(flight, Joined(now, flight.trail, _size(flight) + STEP_BYTES, group, calls))

    def shared(self, flight: Flight, carrier: Flight) -> None:
        """What its group has been through, it has."""
        steps, step = list[Step](), carrier.trail
        while step is not None:
            steps.append(step)
            step = step.before
        for step in reversed(steps):
            own = step.size - (0 if step.before is None else step.before.size)
            self._add(flight, replace(step, before=flight.trail, size=_size(flight) + own))

    def queued(self, flight: Flight, pool: Pool, model: str, now: float) -> None:
        """It has just joined the pool's line. Counts are of those before it."""
        call, counts, name = flight.call, pool.counts, pool.spec.name
        if flight.expected is None:
            flight.expected = pool.fair.expected(call)
        lead, weight = pool.fair.standing(call.tenant)
        why = why_queued(flight, pool, model)
        self._add(flight, Queued(
            at=now, before=flight.trail, size=_size(flight) + STEP_BYTES, pool=name, model=model, why=why,
            waiting=counts.calls - 1, better=sum(counts.by_priority[: call.priority]),
            equal=counts.by_priority[call.priority] - 1, own=counts.by_tenant[call.tenant] - 1, lead=lead,
            weight=weight, served=tuple(self._served.get(name, _NONE)), retry=flight.attempt > 0,
            left=self._of(pool, model).unfit if why == "nobody" else (flight.pin.id,) if flight.pin is not None else (),
        ))  # fmt: skip

    def unqueued(self, flight: Flight, pool: Pool, now: float) -> None:
        """It has just left the pool's line."""
        step, name = flight.trail, pool.spec.name
        while step is not None and not isinstance(step, Queued):
            step = step.before
        passed = _NONE
        if isinstance(step, Queued) and step.pool == name:
            served = zip(self._served.get(name, _NONE), step.served, strict=True)
            passed = tuple(max(0, new - old) for new, old in served)
        self._add(flight, Unqueued(
            at=now, before=flight.trail, size=_size(flight) + STEP_BYTES, waiting=pool.counts.calls, meanwhile=passed,
            overtaken=flight.overtaken, overtook=0 if flight.attempt else flight.overtook,
        ))  # fmt: skip

    def sent(self, flight: Flight, pool: Pool, seat: Seat, now: float) -> None:
        """It is about to be sent there: keep what the notes say of the choice."""
        notes, before = self.notes, flight.trail
        known = self._last
        if notes.considered is not known.usable:
            known = self._last = self._of(pool, flight.targets[flight.target].model)
        pipeline, found, size = notes.pipeline, notes.found, CHOSEN_BYTES
        names, left, left_count, numbers, note = known.names, known.unfit, known.unfit_count, b"", _NO_NOTE
        if pipeline is None or found is None:
            how, picker, scorers, names = "bond", "", _NO_SCORERS, (seat.id,)
            if pipeline is not None:
                how, note = "ring", owner(pipeline, flight.call)
                left = (*left, *passed_over(str(note[0]), seat, pool, known))
        else:
            how = "scores"
            label = self._label
            if label.scorers is not notes.scorers or label.pipeline is not pipeline:
                label = self._label = self._labelled(pipeline, notes.scorers)
            picker, scorers = label.picker, label.names
            if len(found) != len(known.names):
                names = tuple([each.id for each in found])
                left, left_count = left_out(notes, known, flight.tried, found)
                size += NAME_BYTES * (len(names) + len(left))
            if scorers:
                numbers = self._packed(notes.parts)
                notes.parts = _NO_PARTS  # kept until the next choice, its floats would cost that one a third of a µs
                size += len(numbers)
            if notes.filtered or label.drawn is not None:
                note = aside(notes, label.drawn)
        if before is not None:
            size += before.size
            if type(before) is Unqueued:
                self._serves(known.pool, flight.call.priority)
        step = Chosen(
            now, before, size, flight.attempt, seat.id, known.pool, known.model, known.strategy, how, picker, names,
            scorers, numbers, len(known.names), left, left_count, note, "" if seat.health.well else ill(seat),
        )  # fmt: skip
        flight.trail = step if size < MOST_BYTES else _without_the_one_before(step)

    def lost(self, flight: Flight, replica: str, event: Failed, now: float) -> None:
        """An attempt has failed."""
        self._add(flight, Lost(
            now, flight.trail, _size(flight) + STEP_BYTES, event.attempt, replica, event.label, event.status,
            event.retry_after_s,
        ))  # fmt: skip

    def paused(self, flight: Flight, until: float, now: float) -> None:
        """It waits for another try."""
        self._add(flight, Paused(at=now, before=flight.trail, size=_size(flight) + STEP_BYTES, until=until))

    def gave_up(self, flight: Flight, pool: Pool | None, row: Refusal, now: float) -> None:
        """There is no further attempt after a failure of this kind."""
        if pool is None:
            why = "gone"
        elif not may_repeat(row, flight.call.repeatable):
            why = "unrepeatable" if row.retryable else "useless"
        else:
            why = "attempts" if flight.target_attempts >= pool.spec.retries.attempts + flight.spared else "budget"
        self._add(flight, Denied(at=now, before=flight.trail, size=_size(flight) + STEP_BYTES, why=why))

    def hedged(self, flight: Flight, what: str, now: float) -> None:
        """Its attempt is slow to begin, and a second one was thought of."""
        self._add(flight, Hedged(now, flight.trail, _size(flight) + STEP_BYTES, what))

    def stopped(self, flight: Flight, attempt: int, seat: Seat, now: float) -> None:
        """The other of two attempts was quicker."""
        self._add(flight, Stopped(now, flight.trail, _size(flight) + STEP_BYTES, attempt, seat.id))

    def moved(self, flight: Flight, why: str, now: float) -> None:
        """Another target is its now."""
        pool, model = flight.targets[flight.target]
        self._add(flight, Moved(
            at=now, before=flight.trail, size=_size(flight) + STEP_BYTES, pool=pool, model=model, why=why
        ))  # fmt: skip

    def refused(self, flight: Flight, pool: Pool, model: str, label: Label, waiting: int, now: float) -> None:
        """The pool's queue did not take it. Told twice of the same (the first target is asked once more at the end), it
        is noted once."""
        call, counts, last = flight.call, pool.counts, flight.trail
        if isinstance(last, Refused) and (last.pool, last.label, last.at) == (pool.spec.name, label, now):
            return
        if flight.expected is None:
            flight.expected = pool.fair.expected(call)
        self._add(flight, Refused(
            at=now, before=flight.trail, size=_size(flight) + STEP_BYTES, pool=pool.spec.name, model=model,
            label=label, waiting=waiting, here=counts.calls, equal=counts.by_priority[call.priority],
            own=counts.by_tenant.get(call.tenant, 0), saturation=pool.shed.level,
        ))  # fmt: skip

    def over(self, flight: Flight, row: CallRow) -> None:
        """The call has ended with this row."""
        trail = _trail(flight, row, True)
        ring, spec = self._ring, self.spec
        ring.append(trail)
        held = self._bytes + trail.size
        while len(ring) > spec.calls or held > spec.memory_bytes:
            held -= ring.popleft().size
        self._bytes = held

    # ===== inside =====

    def _add(self, flight: Flight, step: Step) -> None:
        flight.trail = step if step.size < MOST_BYTES else _without_the_one_before(step)

    def _serves(self, name: str, priority: int) -> None:
        if name not in self._served:
            if len(self._served) >= _MOST_KNOWN:  # pools come and go with configurations
                self._served.clear()
            self._served[name] = list(_NONE)
        self._served[name][priority] += 1

    def _of(self, pool: Pool, model: str) -> Known:
        usable = pool.usable(model)
        known = self._known.get((pool.spec.name, model))
        if known is None or known.usable is not usable:
            here = {seat.id for seat in usable}
            others = [seat for seat in pool.seats if seat.id not in here]
            pairs = tuple(part for seat in others[:MOST_LEFT] for part in (seat.id, unfit(seat, pool, model)))
            tag = str(pool.spec.strategy.__struct_config__.tag)
            known = Known(
                usable,
                tuple(seat.id for seat in usable),
                pairs,
                len(others),
                pool.spec.name,
                model,
                tag,
                pool.spec.regions is not None,
            )
            if len(self._known) >= _MOST_KNOWN:  # names that clients made up must not pile up
                self._known.clear()
            self._known[pool.spec.name, model] = known
        return known

    def _labelled(self, pipeline: Chooser, scorers: Scorers) -> _Label:
        """The names of its picker and of these scorers, with the weights, whatever scorers there are."""
        for label in self._labels:
            if label.scorers is scorers and label.pipeline is pipeline:
                return label
        names = tuple((snake(type(scorer).__name__), weight) for weight, scorer in scorers)
        drawn = getattr(pipeline.picker, "drawn", None)
        label = _Label(scorers, pipeline, snake(type(pipeline.picker).__name__), names, drawn)
        self._labels.append(label)
        return label

    def _packed(self, parts: list[list[float]]) -> bytes:
        """Scores, scorer after scorer. Empty where a scorer's numbers are none: that must not cost a call."""
        count = len(parts) * len(parts[0])
        pack = self._layouts.get(count)
        if pack is None:
            pack = self._layouts[count] = struct.Struct(f"{count}f").pack
        try:
            if len(parts) == 4:  # the default strategy: written out, it costs three quarters
                a, b, c, d = parts
                return pack(*a, *b, *c, *d)
            if len(parts) == 5:
                a, b, c, d, e = parts
                return pack(*a, *b, *c, *d, *e)
            return pack(*chain.from_iterable(parts))
        except struct.error:
            return b""


def _size(flight: Flight) -> int:
    return 0 if flight.trail is None else flight.trail.size


def _without_the_one_before(step: Step) -> Step:
    """The step on top of the one before the last: what is in between is forgotten."""
    before = step.before
    if before is None:
        return step
    return replace(step, before=before.before, size=MOST_BYTES - 1)


def _trail(flight: Flight, row: CallRow, over: bool) -> Trail:
    last = flight.trail
    size = TRAIL_BYTES if last is None else TRAIL_BYTES + last.size
    call, expected = flight.call, flight.expected
    return Trail(
        row, last, over, size, call.prompt_tokens, TYPICAL_OUTPUT if expected is None else expected, call.max_tokens,
        call.body_bytes, call.session, call.latency_s, call.tier, len(call.prefix),
    )  # fmt: skip
