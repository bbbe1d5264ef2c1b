"""A pool at work: its replicas' seats, its lines of waiting calls, its strategy and its retry budget.

Answers two questions for the Gate: which seats could serve this model, and which call is next. Decides nothing about
a call's fate.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from penstock.base.errors import Label
from penstock.base.nouns import Call, Usage
from penstock.base.rand import Rand
from penstock.core.ahead import ahead
from penstock.core.attempts import RetryBudget
from penstock.core.fair import Fair
from penstock.core.flight import Flight
from penstock.core.hedge import Hedging
from penstock.core.load import Seat
from penstock.core.order import EVERY
from penstock.core.outliers import Outliers, look_for_panic
from penstock.core.pins import Pins
from penstock.core.prefix import NOTHING
from penstock.core.queue import Counts, Line
from penstock.core.route.nearness import untried
from penstock.core.route.notes import Notes
from penstock.core.route.pipeline import Pipeline, build
from penstock.core.route.presets import P2CPeakEwma
from penstock.core.route.ramp import Ramp
from penstock.core.route.sticky import Sticky
from penstock.core.shed import NOBODY, Shed
from penstock.core.spec import PoolSpec


class Pool:
    """One pool's state."""

    __slots__ = (
        "_ahead", "_passed", "_ramp", "_rand", "_tells", "_usable", "budget", "counts", "decay_s", "fair", "hedging",
        "lines", "notes", "outliers", "panic", "pins", "pipeline", "seats", "shaken", "shed", "spec", "sticky",
    )  # fmt: skip

    def __init__(self, spec: PoolSpec, rand: Rand) -> None:
        self._rand = rand
        self.budget = RetryBudget()
        self.counts = Counts()
        self.fair = Fair(spec.queue, self.counts.by_tenant)
        self.shed = Shed(spec.queue.shed)
        self.outliers = Outliers(spec.outliers)
        self.panic = False
        """Most of its replicas seem ill, so ill health is not believed."""
        self._passed = 0
        """Seats since one was given out of order, to a band that had been passed over."""
        self.lines: dict[str, Line] = {}
        self.seats: list[Seat] = []
        self.shaken = False  # who may serve has changed since it was last looked who waits in vain
        self._usable: dict[str, list[Seat]] = {}
        self.spec = spec
        self.pipeline: Pipeline
        self.decay_s = 10.0
        self._ramp: Ramp | None = None
        self._tells = False
        """An engine has told which models or adapters it has in memory."""
        self.sticky: Sticky | None = None
        self.pins: Pins | None = None
        """None: nobody is ever pinned."""
        self.hedging: Hedging | None = None
        self.notes: Notes | None = None
        self.respec(spec)

    def respec(self, spec: PoolSpec) -> None:
        """New settings hold; what was learnt and who waits is kept. A strategy that did not change keeps its turns."""
        if not hasattr(self, "pipeline") or (spec.strategy, spec.regions) != (self.spec.strategy, self.spec.regions):
            self.pipeline = build(spec.strategy, self._rand, spec.regions)
            self.decay_s = spec.strategy.decay_s if isinstance(spec.strategy, P2CPeakEwma) else 10.0
            self.pipeline.take_notes(self.notes)
            if self._tells:
                self.pipeline.engines_tell()
        if spec.sticky is None:
            self.sticky = None
        elif self.sticky is None or spec.sticky != self.spec.sticky:
            self.sticky = Sticky(spec.sticky.ttl_s, spec.sticky.max_sessions)
        if spec.hedge is None:
            self.hedging = None
        elif self.hedging is None:
            self.hedging = Hedging(spec.hedge)
        else:
            self.hedging.spec = spec.hedge
        if not spec.slow_start.window_s:
            self._ramp = None
        elif self._ramp is None or spec.slow_start != self._ramp.spec:
            self._ramp = Ramp(spec.slow_start, self._rand.stream("ramp"))
        pins = Pins(spec.sticky, self.sticky, self.pipeline, spec.queue)  # nobody waits while settings change
        self.pins = pins if pins.wanted else None
        self._ahead = ahead(spec, self.pipeline)
        self.fair.respec(spec.queue)
        self.shed = Shed(spec.queue.shed)
        self.outliers.spec = spec.outliers
        self.spec = spec
        for seat in self.seats:
            seat.health.respec(spec.breaker, spec.probe)
        self.changed()

    def take_notes(self, notes: Notes | None) -> None:
        """Leave there from now on what is chosen among."""
        self.notes = notes
        self.pipeline.take_notes(notes)

    # ===== seats =====

    def changed(self) -> None:
        """Somebody's health, models or membership changed: what was worked out about seats holds no more."""
        self._usable.clear()
        self.shaken = True
        if self.panic or self.spec.panic.below:
            self.panic = look_for_panic(self.seats, self.spec.panic.below)
        if self.pins is not None:
            self.pins.stale = True
        if self.fair.bounds:
            self.fair.seated(sum(seat.seats for seat in self.seats if seat.health.usable))
        self.pipeline.changed(self.seats)
        if self._ramp is not None:
            self._ramp.changed()
        for seat in self.seats:
            seat.times_whole = self.pipeline.times_whole

    def cached(self, flight: Flight, usage: Usage, seat: Seat) -> None:
        """An answer tells how much of its prompt was cached."""
        if flight.cached.owner != seat.id:  # one of two attempts, and the other one was the last to be sent
            flight.cached = NOTHING
        if self.pipeline.prefix is not None:
            model = flight.targets[flight.target].model
            self.pipeline.prefix.index.ended(model, flight.call.prompt_bytes, flight.cached, usage, seat.cache)

    def engines_tell(self) -> None:
        """An engine told which models or adapters it has in memory."""
        if not self._tells:
            self._tells = True
            self.pipeline.engines_tell()

    def usable(self, model: str) -> list[Seat]:
        """Seats that can serve the model now or as soon as one frees. Backups only while no primary can."""
        found = self._usable.get(model)
        if found is None:
            fit = [seat for seat in self.seats if seat.health.usable and self.serves(seat, model)]
            found = [seat for seat in fit if not seat.replica.backup] or fit
            if len(self._usable) > 4096:  # names that clients made up must not pile up
                self._usable.clear()
            self._usable[model] = found
        return found

    def serves(self, seat: Seat, model: str) -> bool:
        """Whether it has the model, well or ill."""
        if seat.replica.compatibility and seat.replica.compatibility.get(model) == "unsupported":
            return False
        if seat.replica.models:
            return not model or model in seat.replica.models
        if self.spec.models or not model:
            return True
        return seat.listed is not None and model in seat.listed

    def settled(self) -> bool:
        """Whether all replicas have said which models they serve: then a model unknown so far does not exist."""
        return bool(self.seats) and all(seat.replica.models or seat.listed is not None for seat in self.seats)

    def models(self) -> list[str]:
        """Served names: the configured ones, or all that the replicas list."""
        listed = {name: None for seat in self.seats for name in seat.replica.models or seat.listed or ()}
        return sorted(self.spec.models or listed)

    def choose(self, call: Call, model: str, tried: frozenset[str] | None, now: float) -> Seat | None:
        """A free seat for the call; None: it has to wait. Replicas that failed it come last."""
        seats: Sequence[Seat] = self.usable(model)
        if self.full:
            return None
        if tried:
            seats = untried(seats, tried, self.seats, self.spec.regions is not None)
        if self._ramp is not None and now < self._ramp.until:
            seats = self._ramp.thin(call, seats, self.seats, now)
        if self.notes is not None:
            self.notes.begin(seats)
        pipeline = self.pipeline
        if pipeline.by_model and call.model != model:
            call = replace(call, model=model)
        if self.sticky is not None and call.session:
            return self.sticky.choose(call, seats, pipeline, now)
        return pipeline.choose(call, seats, now)

    @property
    def full(self) -> bool:
        """As many calls are in flight as it may have at once, whatever seats there are."""
        most = self.spec.queue.max_in_flight
        return most is not None and sum([seat.in_flight for seat in self.seats]) >= most

    def take(self, flight: Flight, model: str, now: float) -> Seat | None:
        """A free seat for a call that was never sent: its own replica's, where it is pinned to one."""
        pins = self.pins
        if pins is not None and not flight.loose:
            pin = pins.of(flight.call, model, self.usable(model), now)
            if pin is not None:
                seat = pin[0]
                closed = self.shed.closed(self.seats, now) if self.shed.active else NOBODY
                if seat.in_flight >= seat.health.limit or pins.waits(seat, closed) or self.full:
                    return None
                self._note_pin(model)
                pins.took(flight.call, model, seat, now)
                return seat
        return self.choose(flight.call, model, None, now)

    @property
    def holds_back(self) -> bool:
        """Whether calls may wait here beside a free seat, with no fact about calls to end that."""
        return self.shed.active or self.fair.kept

    def patience_s(self, call: Call) -> float:
        """How long the call may wait: as the pool says, longer where a first replica must be started, and never longer
        than its client can wait for the whole answer."""
        queue = self.spec.queue
        longest_s = queue.timeout_s if self.seats else max(queue.timeout_s, queue.waiting_room_s)
        return longest_s if call.latency_s is None else min(longest_s, call.latency_s)

    def second(self, flight: Flight, first: Seat, now: float) -> Seat | None:
        """A free seat for a hedge: at another replica, which has not failed the call, where it takes nothing from
        anybody: nobody waits in the pool, and its engines are not near collapse. A session stays where it is, and a
        pinned call has no other replica."""
        if self.counts.calls or self.full or not self.shed.at_ease(self.seats, now):
            return None
        shunned = {first.id, *(flight.tried or ())}
        call, model = flight.call, flight.targets[flight.target].model
        if self.pins is not None and not flight.loose and self.pins.of(call, model, self.usable(model), now):
            return None
        seats: Sequence[Seat] = [seat for seat in self.usable(model) if seat.id not in shunned]
        if seats and self._ramp is not None and now < self._ramp.until:
            seats = self._ramp.thin(call, seats, self.seats, now)
        if self.notes is not None:
            self.notes.begin(seats, None, first.id)
        if self.pipeline.by_model and call.model != model:
            call = replace(call, model=model)
        return self.pipeline.choose(call, seats, now) if seats else None

    def untried(self, flight: Flight) -> bool:
        """Whether a usable replica is left that has not failed this call."""
        tried = flight.tried or frozenset()
        return any(seat.id not in tried for seat in self.usable(flight.targets[flight.target].model))

    # ===== lines =====

    def may_pass(self, call: Call, model: str, now: float) -> bool:
        """Whether the call may have a free seat at once: nobody is overtaken but those that are held back; who waits
        beside the line holds nobody up."""
        line = self.lines.get(model)
        if self.fair.caps and self.fair.keeps(call.tenant, now):
            return False
        if not self.shed.active:
            return line is None or not line.fresh or (self.fair.kept and not line.order.open(NOBODY))
        closed = self.shed.closed(self.seats, now)
        return not closed[call.priority] and (line is None or not line.order.open(closed))

    def refuses(self, call: Call, now: float) -> bool:
        """Whether the pool is too near to collapse to take a call of this priority even into its queue."""
        return self.shed.refuses and self.shed.closed(self.seats, now)[call.priority]

    def refusal(self, flight: Flight, model: str, now: float) -> Label | None:
        """Why this call may not wait; None: it may."""
        refusal = self.counts.refusal(self.spec.queue, flight)
        if refusal is None and self.pins is not None and not flight.loose:
            pin = self.pins.of(flight.call, model, self.usable(model), now)
            if pin is not None and pin[0].queue_full(now):
                return "queue_full"
        return refusal

    def push(self, flight: Flight, model: str, now: float) -> float | None:
        """Let the call wait. Where it waits for one replica, how long it may, in seconds."""
        pin_wait_s = None
        if self.pins is None or (pin_wait_s := self._push_pinned(self.pins, flight, model, now)) is None:
            self._push_line(flight, model, now)
        self.counts.add(flight)
        return pin_wait_s

    def _push_line(self, flight: Flight, model: str, now: float) -> None:
        line = self.lines.get(model)
        if line is None:
            line = self.lines[model] = Line(self.spec.queue)
        line.push(flight, self.fair.waits(flight.call.tenant, flight.arrived, now), now)

    def _push_pinned(self, pins: Pins, flight: Flight, model: str, now: float) -> float | None:
        """Into its replica's line, if it has one; who was admitted before and finds it full is pinned no more."""
        if flight.attempt or flight.loose:
            return None
        pin = pins.of(flight.call, model, self.usable(model), now)
        if pin is None:
            return None
        if pin[0].queue_full(now):
            flight.loose = True
            return None
        pins.push(flight, pin[0], self.fair.waits(flight.call.tenant, flight.arrived, now), now)
        return pin[1]

    def unpin(self, flight: Flight, model: str, now: float) -> None:
        """The call has waited long enough for its replica: from now on it waits for any."""
        if self.pins is not None and flight.pin is not None:
            self.pins.given_up(flight.call, model, flight.pin)
            self.pins.drop(flight, flight.pin)
            flight.loose = True
            self._push_line(flight, model, now)

    def _unpin_lost(self, pins: Pins, now: float) -> None:
        """Who waits for a replica that cannot serve them any more waits for any: their session or key moves."""
        pins.stale = False
        for seat, line in list(pins.lines.items()):
            for flight in list(line):
                model = flight.targets[flight.target].model
                if seat not in self.usable(model):
                    pins.drop(flight, seat)
                    self._push_line(flight, model, now)

    def drop(self, flight: Flight, model: str) -> None:
        """The call waits no more."""
        if self.pins is not None and flight.pin is not None:
            self.pins.drop(flight, flight.pin)
            self.counts.drop(flight)
            return
        line = self.lines[model]
        line.drop(flight)
        self.counts.drop(flight)
        if not line:
            del self.lines[model]

    def next(self, now: float) -> tuple[Flight, Seat | None] | None:
        """The call that is next among those that a free seat can serve, and that seat: retried calls first. No seat:
        the call has come to be pinned to a busy replica meanwhile, and should wait for that one."""
        pins = self.pins
        if pins is not None and pins.stale:
            self._unpin_lost(pins, now)
        if self.full:
            return None
        for model, line in self.lines.items():
            found = self._next_retry(model, line, now) if line.retries else None
            if found is not None:
                return found
        if self.fair.caps:
            self.fair.look(now)
        closed = self.shed.closed(self.seats, now) if self.shed.active else NOBODY
        owing = self._passed + 1 >= EVERY
        lines = list(self.lines.values())
        if pins is not None:
            lines += [line for seat, line in pins.lines.items() if seat.in_flight < seat.health.limit]
        heads = [
            (head, line) for line in lines if line.fresh and (head := line.order.head(closed, owing, now)) is not None
        ]
        if len(heads) > 1:
            heads.sort(key=lambda item: item[0].rank)
        for head, line in heads:
            flight = head.flight
            model = flight.targets[flight.target].model
            if self._ahead is not None:
                flight = self._ahead.pick(flight, line.order, self.usable(model), model, now)
            if pins is None:
                seat = self.choose(flight.call, model, None, now)
            else:
                seat = self._seat_for_head(pins, flight, model, now)
                if seat is None and not flight.loose and pins.of(flight.call, model, self.usable(model), now):
                    return flight, None
            if seat is not None:
                line.order.served(flight, now)
                self._passed = 0 if head.aged else self._passed + 1
                return flight, seat
        return None

    def _seat_for_head(self, pins: Pins, flight: Flight, model: str, now: float) -> Seat | None:
        """As `choose`, for the head of a line: the replica whose line it stands in, or that it has come to be pinned to
        since it began to wait, unless too many wait there."""
        seat = flight.pin
        if seat is None and not flight.loose:
            pin = pins.of(flight.call, model, self.usable(model), now)
            if pin is not None:
                seat = pin[0]
                if seat.in_flight >= seat.health.limit:
                    if not seat.queue_full(now):
                        return None
                    flight.loose, seat = True, None
        if seat is None:
            return self.choose(flight.call, model, None, now)
        self._note_pin(model)
        pins.took(flight.call, model, seat, now)
        return seat

    def _note_pin(self, model: str) -> None:
        if self.notes is not None:
            self.notes.begin(self.usable(model), self.pipeline if self.sticky is None else None)

    def _next_retry(self, model: str, line: Line, now: float) -> tuple[Flight, Seat] | None:
        full: set[frozenset[str] | None] = set()  # after a replica's death hundreds wait who all tried the same
        for flight in line.retries.values():
            if flight.tried not in full:
                seat = self.choose(flight.call, model, flight.tried, now)
                if seat is not None:
                    return flight, seat
                full.add(flight.tried)
        return None
