"""Benchmarks: which replicas owe one, when it may take a seat, and what becomes of its result [F4]. A part of the Gate.

A replica that has become usable owes one while no call has been measured there. It waits for a free seat and for lines
without a waiting call; a call that would have to wait ends it, and it is begun anew later. Everything goes through one
alarm per replica: whatever changes sets it to now, and `rang` brings about what should be.
"""

from typing import Final, Literal

from penstock.base.nouns import BenchmarkView
from penstock.core.effects import BENCHMARK, Bench, Cancel, Effect, Probe
from penstock.core.events import Benched
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.spec import BenchmarkSpec
from penstock.core.timers import Timers

AGAIN_S: Final = 1.0
"""How often it is looked whether one that is owed may begin."""
GRACE_S: Final = 5.0
"""Whoever performs a benchmark ends it at its time limit; so long after that its seat is taken back all the same."""
AT_ONCE: Final = 16
"""Benchmarks that run at the same time: a fleet that starts is not asked as a whole in one moment."""

_Alarm = tuple[str, str]


class _Known:
    """What is known of the benchmarks of one replica."""

    __slots__ = ("at", "number", "result", "tried", "until")

    def __init__(self) -> None:
        self.number = 0
        """Of the one that runs; 0: none does."""
        self.until = 0.0
        self.tried = 0
        """For which of its returns to service the last one came to an end, well or not."""
        self.result: Benched | None = None
        self.at = 0.0
        """When the result came."""


class Benches:
    """The benchmarks of all replicas in the fleet."""

    __slots__ = ("_count", "_known", "_timers", "running")

    def __init__(self, timers: Timers[_Alarm]) -> None:
        self._timers = timers
        self._known: dict[str, _Known] = {}
        self._count = 0
        self.running: dict[str, Seat] = {}
        """Whose seat is taken."""

    # ===== when to look =====

    def hurry(self, seat: Seat, spec: BenchmarkSpec, now: float) -> None:
        """Something about this replica of the fleet has changed: look at it."""
        if spec.enabled or seat.id in self.running:
            self._timers.set(("bench", seat.id), now)
        else:
            self._timers.cancel(("bench", seat.id))

    def make_way(self, pool: str, now: float) -> None:
        """A call of this pool has to wait."""
        for seat in self.running.values():
            if seat.pool == pool:
                self._timers.set(("bench", seat.id), now)

    # ===== what should be =====

    def rang(self, seat: Seat, pool: Pool, out: list[Effect], now: float) -> bool:
        """The alarm of a replica; whether a seat came free."""
        known = self._known.get(seat.id)
        if known is not None and known.number:
            if now >= known.until:
                self.benched(Benched(seat.id, known.number, detail="no answer"), pool, out, now)
                return True
            if self._may_go_on(seat, pool):
                self._timers.set(("bench", seat.id), known.until)
                return False
            self._end(seat, known, out)
            self._again(seat, pool, known, now)
            return True
        if not self._owes(seat, pool, known):
            return False
        model = _model(seat, pool)
        if model is None or len(self.running) >= AT_ONCE or not _has_room(seat, pool):
            self._again(seat, pool, known, now)
        else:
            self._begin(seat, pool, model, out, now)
        return False

    def _owes(self, seat: Seat, pool: Pool, known: _Known | None) -> bool:
        untried = known is None or known.tried != seat.health.returns
        return pool.spec.benchmark.enabled and seat.health.usable and untried and not seat.measured

    @staticmethod
    def _may_go_on(seat: Seat, pool: Pool) -> bool:
        return pool.spec.benchmark.enabled and seat.health.limit > 0 and not pool.counts.calls

    def _again(self, seat: Seat, pool: Pool, known: _Known | None, now: float) -> None:
        if self._owes(seat, pool, known):
            self._timers.set(("bench", seat.id), now + AGAIN_S)

    def _begin(self, seat: Seat, pool: Pool, model: str, out: list[Effect], now: float) -> None:
        spec = pool.spec.benchmark
        self._count += 1
        known = self._known.setdefault(seat.id, _Known())
        known.number, known.until = self._count, now + spec.timeout_s + GRACE_S
        self.running[seat.id] = seat
        seat.in_flight += 1
        self._timers.set(("bench", seat.id), known.until)
        asked = Bench(known.number, model, spec.prompt_tokens, spec.output_tokens, spec.repeats)
        out.append(Probe(seat.id, "bench", spec.timeout_s, asked))

    def _end(self, seat: Seat, known: _Known, out: list[Effect] | None) -> None:
        """Give its seat back; with `out`, stop it at its engine as well."""
        if out is not None:
            out.append(Cancel(BENCHMARK + seat.id, known.number))
        known.number = 0
        del self.running[seat.id]
        seat.in_flight -= 1

    def leave(self, seat: Seat, out: list[Effect]) -> None:
        """The replica is no longer in the fleet."""
        self._timers.cancel(("bench", seat.id))
        known = self._known.pop(seat.id, None)
        if known is not None and known.number:
            self._end(seat, known, out)

    # ===== results =====

    def benched(self, event: Benched, pool: Pool, out: list[Effect] | None, now: float) -> bool:
        """A benchmark is over; with `out`, stop it at its engine as well. False: it was given up before, and what came
        of it means nothing."""
        known = self._known.get(event.replica)
        seat = self.running.get(event.replica)
        if known is None or seat is None or known.number != event.number:
            return False
        self._end(seat, known, out)
        self._timers.cancel(("bench", seat.id))
        known.tried, known.result, known.at = seat.health.returns, event, now
        if event.ok and event.ttft_s is not None:
            whole_s = None
            if event.tokens_per_s:
                whole_s = event.ttft_s + pool.spec.benchmark.answer_tokens / event.tokens_per_s
            seat.prime(event.ttft_s, whole_s, now)
        return True

    def view(self, seat: Seat, now: float) -> BenchmarkView | None:
        """How the last one went; None: there was none."""
        known = self._known.get(seat.id)
        if known is None:
            return None
        result = known.result
        if result is None:
            return BenchmarkView(state="running" if known.number else "given_up")
        state: Literal["running", "ok", "failed"] = "running" if known.number else "ok" if result.ok else "failed"
        return BenchmarkView(
            state=state, ttft_s=result.ttft_s, tokens_per_s=result.tokens_per_s, age_s=now - known.at,
            detail=result.detail,
        )  # fmt: skip


def _has_room(seat: Seat, pool: Pool) -> bool:
    """Whether a seat is free that nobody waits for. A replica on trial has none to give."""
    return seat.in_flight < seat.health.limit == seat.seats and not pool.counts.calls and not pool.full


def _model(seat: Seat, pool: Pool) -> str | None:
    """The replica's own name of the first model that it serves; None: not known yet."""
    replica = seat.replica
    for name in replica.models or pool.spec.models or seat.listed or ():
        if replica.compatibility.get(name) != "unsupported":
            return replica.models.get(name, name)
    return None
