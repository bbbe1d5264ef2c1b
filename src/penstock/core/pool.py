"""A pool at work: its replicas' seats, its lines of waiting calls, its strategy and its retry budget.

Answers two questions for the Gate: which seats could serve this model, and which call is next. Decides nothing about
a call's fate.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from penstock.base.nouns import Call, PoolView, Usage
from penstock.base.rand import Rand
from penstock.core.attempts import RetryBudget
from penstock.core.fair import Fair
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.order import EVERY
from penstock.core.queue import Counts, Line
from penstock.core.route.pipeline import Pipeline, build
from penstock.core.route.presets import P2CPeakEwma
from penstock.core.route.ramp import Ramp
from penstock.core.route.sticky import Sticky
from penstock.core.shed import NOBODY, Shed, saturation
from penstock.core.spec import PoolSpec


class Pool:
    """One pool's state."""

    __slots__ = (
        "_passed", "_ramp", "_rand", "_tells", "_usable", "budget", "counts", "decay_s", "fair", "lines", "pipeline",
        "seats", "shed", "spec", "sticky",
    )  # fmt: skip

    def __init__(self, spec: PoolSpec, rand: Rand) -> None:
        self._rand = rand
        self.budget = RetryBudget()
        self.counts = Counts()
        self.fair = Fair(spec.queue, self.counts.by_tenant)
        self.shed = Shed(spec.queue.shed)
        self._passed = 0
        """Seats since one was given out of order, to a band that had been passed over."""
        self.lines: dict[str, Line] = {}
        self.seats: list[Seat] = []
        self._usable: dict[str, list[Seat]] = {}
        self.spec = spec
        self.pipeline: Pipeline
        self.decay_s = 10.0
        self._ramp: Ramp | None = None
        self._tells = False
        """An engine has told which models or adapters it has in memory."""
        self.sticky: Sticky | None = None
        self.respec(spec)

    def respec(self, spec: PoolSpec) -> None:
        """New settings hold; what was learnt and who waits is kept. A strategy that did not change keeps its turns."""
        if not hasattr(self, "pipeline") or spec.strategy != self.spec.strategy:
            self.pipeline = build(spec.strategy, self._rand)
            self.decay_s = spec.strategy.decay_s if isinstance(spec.strategy, P2CPeakEwma) else 10.0
            if self._tells:
                self.pipeline.engines_tell()
        if spec.sticky is None:
            self.sticky = None
        elif self.sticky is None or spec.sticky != self.spec.sticky:
            self.sticky = Sticky(spec.sticky.ttl_s, spec.sticky.max_sessions)
        if not spec.slow_start.window_s:
            self._ramp = None
        elif self._ramp is None or spec.slow_start != self._ramp.spec:
            self._ramp = Ramp(spec.slow_start, self._rand.stream("ramp"))
        self.fair.respec(spec.queue)
        self.shed = Shed(spec.queue.shed)
        self.spec = spec
        for seat in self.seats:
            seat.health.respec(spec.breaker, spec.probe)
        self.changed()

    # ===== seats =====

    def changed(self) -> None:
        """Somebody's health, models or membership changed: what was worked out about seats holds no more."""
        self._usable.clear()
        self.pipeline.changed(self.seats)
        if self._ramp is not None:
            self._ramp.changed()
        for seat in self.seats:
            seat.times_whole = self.pipeline.times_whole

    def cached(self, flight: Flight, usage: Usage, seat: Seat) -> None:
        """An answer tells how much of its prompt was cached."""
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
            fit = [seat for seat in self.seats if seat.health.usable and self._serves(seat, model)]
            found = [seat for seat in fit if not seat.replica.backup] or fit
            if len(self._usable) > 4096:  # names that clients made up must not pile up
                self._usable.clear()
            self._usable[model] = found
        return found

    def _serves(self, seat: Seat, model: str) -> bool:
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
        if tried:
            seats = [seat for seat in seats if seat.id not in tried] or seats
        if self._ramp is not None and now < self._ramp.until:
            seats = self._ramp.thin(call, seats, self.seats, now)
        pipeline = self.pipeline
        if pipeline.by_model and call.model != model:
            call = replace(call, model=model)
        if self.sticky is not None and call.session:
            return self.sticky.choose(call, seats, pipeline, now)
        return pipeline.choose(call, seats, now)

    def untried(self, flight: Flight) -> bool:
        """Whether a usable replica is left that has not failed this call."""
        tried = flight.tried or frozenset()
        return any(seat.id not in tried for seat in self.usable(flight.targets[flight.target].model))

    # ===== lines =====

    def may_pass(self, call: Call, model: str, now: float) -> bool:
        """Whether the call may have a free seat at once: nobody is overtaken but those that are held back; who waits
        beside the line holds nobody up."""
        line = self.lines.get(model)
        if not self.shed.active:
            return line is None or not line.fresh
        closed = self.shed.closed(self.seats, now)
        return not closed[call.priority] and (line is None or not line.order.open(closed))

    def refuses(self, call: Call, now: float) -> bool:
        """Whether the pool is too near to collapse to take a call of this priority even into its queue."""
        return self.shed.refuses and self.shed.closed(self.seats, now)[call.priority]

    def push(self, flight: Flight, model: str, now: float) -> None:
        """Let the call wait."""
        line = self.lines.get(model)
        if line is None:
            line = self.lines[model] = Line(self.spec.queue)
        line.push(flight, self.fair.flow(flight.call.tenant, now), now)
        self.counts.add(flight)

    def drop(self, flight: Flight, model: str) -> None:
        """The call waits no more."""
        line = self.lines[model]
        line.drop(flight)
        self.counts.drop(flight)
        if not line:
            del self.lines[model]

    def next(self, now: float) -> tuple[Flight, Seat] | None:
        """The call that is next among those that a free seat can serve, and that seat: retried calls first."""
        for model, line in self.lines.items():
            found = self._next_retry(model, line, now) if line.retries else None
            if found is not None:
                return found
        closed = self.shed.closed(self.seats, now) if self.shed.active else NOBODY
        owing = self._passed + 1 >= EVERY
        heads = [
            (head, model, line)
            for model, line in self.lines.items()
            if line.fresh and (head := line.order.head(closed, owing, now)) is not None
        ]
        if len(heads) > 1:
            heads.sort(key=lambda item: item[0].rank)
        for head, model, line in heads:
            seat = self.choose(head.flight.call, model, None, now)
            if seat is not None:
                line.order.served(head.flight, now)
                self._passed = 0 if head.aged else self._passed + 1
                return head.flight, seat
        return None

    def _next_retry(self, model: str, line: Line, now: float) -> tuple[Flight, Seat] | None:
        full: set[frozenset[str] | None] = set()  # after a replica's death hundreds wait who all tried the same
        for flight in line.retries.values():
            if flight.tried not in full:
                seat = self.choose(flight.call, model, flight.tried, now)
                if seat is not None:
                    return flight, seat
                full.add(flight.tried)
        return None

    # ===== for people =====

    def view(self, models: list[str], now: float) -> PoolView:
        """What the admin API and the metrics show."""
        waiting = [line.head_at() for line in self.lines.values()]
        return PoolView(
            name=self.spec.name,
            strategy=str(self.spec.strategy.__struct_config__.tag),
            models=models,
            queued=self.counts.calls,
            queued_bytes=self.counts.bytes,
            oldest_s=now - min(waiting) if waiting else 0.0,
            queued_by_priority=self.counts.shown_by_priority(),
            queued_by_tenant=self.counts.shown_by_tenant(),
            fairness=self.fair.index(now),
            saturation=saturation(self.seats, self.shed.spec, now),
            in_flight=sum(seat.in_flight for seat in self.seats),
            seats=sum(seat.health.limit for seat in self.seats),
            replicas=len(self.seats),
            healthy=sum(seat.health.usable for seat in self.seats),
        )
