"""The Governor: how many replicas each scaled pool has. Facts about pools in; orders to look, start, drain, stop out.

Recommend → guard → crew: what the metrics want, what the bounds let pass, what that means for each replica. A look
comes every `look`, and brings the replicas' lives in line; every `interval` it also decides anew about their number.
"""

from math import inf

from msgspec.structs import replace

from penstock.core.scale.crew import Crew
from penstock.core.scale.foresight import Foresight
from penstock.core.scale.guards import Bounded, Guard, ceiling
from penstock.core.scale.life import STATES
from penstock.core.scale.recommend import Recommendation, recommend
from penstock.core.scale.record import Decision, History, Step
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.view import ScaleView, UnitView
from penstock.core.scale.window import Window
from penstock.core.scale.words import (
    Fact,
    Look,
    Order,
    Reconfigured,
    Record,
    Remember,
    Remembered,
    Scaled,
    Seen,
    Woke,
)

LEAST_LOOK_S = 0.05


class _Pool:
    """One pool."""

    def __init__(self, name: str, spec: ScaleSpec, hourly_cost: float, now: float) -> None:
        self.name = name
        self.spec = spec
        self.crew = Crew(name, spec)
        self.guard = Guard(spec, hourly_cost)
        self.history = History()
        self.foresight = Foresight()
        self.wanted: int | None = None
        """None: nobody has looked yet."""
        self.closing = False
        self.look_at = now
        self.decide_at = -inf
        self.blind = ""
        """Why the last look told nothing; empty: it did not fail."""
        self.queued = 0
        self.others = 0
        self.alarms = 0
        self.ups = 0
        self.downs = 0

    def respec(self, spec: ScaleSpec, hourly_cost: float, closing: bool) -> None:
        """New settings hold. What is known of its replicas stays."""
        self.spec, self.closing = spec, closing
        self.crew.spec = self.guard.spec = spec
        self.guard.hourly_cost = hourly_cost

    @property
    def most(self) -> int:
        """The most replicas that may be there."""
        return ceiling(self.spec, self.guard.hourly_cost)

    def seen(self, event: Seen, out: list[Order], now: float) -> None:
        """It was looked at."""
        self.blind, self.queued = event.detail or "no answer", event.window.queued
        if self.spec.forecast is not None and self.foresight.see(event.window, self.crew.lives.values(), now):
            out.append(Remember(self.name, self.foresight.past()))
        if event.units is None:
            return  # what is there is not known: nothing is ordered
        self.blind = ""
        ours = self.crew.lives
        self.crew.see(event.window, event.units, out, now)
        self.others = sum(one.id not in ours for one in event.window.replicas)
        if self.closing:
            self.wanted = 0
            self.crew.disband(out, now)
            return
        if self.wanted is None:
            self.wanted = min(max(self.crew.living, self.spec.min), self.most)
        woken = self.wanted == 0 and self.queued > 0
        if now >= self.decide_at or woken:
            self.decide_at = now + self.spec.interval_s
            self.wanted = self._decide(event.window, self.wanted, out, now)
        self.crew.reconcile(self.wanted, self.most, out, now)

    def _decide(self, window: Window, was: int, out: list[Order], now: float) -> int:
        unready = self.crew.coming()
        found = recommend(self.spec, window, unready, was + self.others)
        found = self.foresight.join(self.spec, found, window, was + self.others, now)
        ours = None if found.count is None else found.count - self.others
        bounded = self.guard.bound(None if ours is None else max(0, ours), was, now)
        self.alarms += bool(bounded.alarm)
        self.ups += bounded.count > was
        self.downs += bounded.count < was
        out.append(Record(self._decision(found, bounded, was, now)))
        return bounded.count

    def _decision(self, found: Recommendation, bounded: Bounded, was: int, now: float) -> Decision:
        crew = self.crew
        return Decision(
            pool=self.name, at=now, since=now, was=was, wanted=bounded.count, recommended=found.count,
            reason=found.reason, bounds=bounded.bounds, alarm=bounded.alarm, readings=found.readings,
            queued=self.queued, ready=len(crew.of(["ready"])), coming=crew.coming(),
            draining=len(crew.of(["draining", "stopping"])), others=self.others,
        )  # fmt: skip

    def view(self, now: float) -> ScaleView:
        """The pool for people."""
        crew, lives = self.crew, list(self.crew.lives.values())
        return ScaleView(
            pool=self.name, min=self.spec.min, max=self.spec.max, wanted=self.wanted, queued=self.queued,
            closing=self.closing, blind=self.blind, others=self.others, alarms=self.alarms, ups=self.ups,
            downs=self.downs, failures=crew.failures,
            start_in_s=max(0.0, crew.start_at - now) if crew.failures else 0.0,
            states={state: sum(life.state == state for life in lives) for state in STATES},
            hourly_cost=self.guard.hourly_cost * len(lives), max_hourly_cost=self.spec.max_hourly_cost,
            last=self.history.decision(), forecast=self.foresight.view(self.spec, now),
            units=[
                UnitView(unit=life.unit, state=life.state, since_s=now - life.since, in_flight=life.in_flight,
                    ill=life.ill_since is not None, age_s=now - life.born)
                for life in lives
            ],
        )  # fmt: skip


class Governor:
    """Facts about pools in, orders out."""

    def __init__(self) -> None:
        self._pools: dict[str, _Pool] = {}

    # ===== the machine =====

    def on(self, event: Fact, now: float) -> list[Order]:
        """See `base.machine.Machine`."""
        out: list[Order] = []
        if isinstance(event, Woke):
            self._woke(out, now)
        elif isinstance(event, Reconfigured):
            self._reconfigured(event, now)
        elif (pool := self._pools.get(event.pool)) is not None:
            if isinstance(event, Remembered):
                pool.foresight.recall(event.past, now)
            elif isinstance(event, Scaled):
                pool.crew.refused(event.unit, event.detail, out, now)
            else:
                pool.seen(event, out, now)
                if pool.closing and not pool.crew.lives and not pool.blind:
                    del self._pools[event.pool]
            self._remember(pool, out)
        return out

    def next_wake(self) -> float | None:
        """See `base.machine.Machine`."""
        return min((pool.look_at for pool in self._pools.values()), default=None)

    # ===== for people =====

    def views(self, now: float) -> list[ScaleView]:
        """Every scaled pool as it stands."""
        return [pool.view(now) for pool in self._pools.values()]

    def pools(self) -> list[str]:
        """Every pool whose replicas are looked after, those that close included."""
        return list(self._pools)

    def history(self, pool: str, last: int) -> list[Decision | Step] | None:
        """What was decided and what happened there of late, the newest first; None: no such pool scales itself."""
        found = self._pools.get(pool)
        return None if found is None else found.history.newest(last)

    def wanted(self, pool: str) -> int | None:
        """How many replicas a pool should have now; None: not known."""
        found = self._pools.get(pool)
        return None if found is None else found.wanted

    # ===== parts =====

    def _woke(self, out: list[Order], now: float) -> None:
        for pool in self._pools.values():
            if pool.look_at <= now:
                pool.look_at = now + max(LEAST_LOOK_S, pool.spec.look_s)
                out.append(Look(pool.name))

    def _reconfigured(self, event: Reconfigured, now: float) -> None:
        for name, spec in event.pools.items():
            cost = event.hourly_costs.get(name, 0.0)
            known = self._pools.get(name)
            if known is None:
                self._pools[name] = _Pool(name, spec, cost, now)
            else:
                known.respec(spec, cost, False)
        for name, pool in self._pools.items():
            if name not in event.pools:
                pool.respec(replace(pool.spec, min=0), pool.guard.hourly_cost, True)

    @staticmethod
    def _remember(pool: _Pool, out: list[Order]) -> None:
        for order in out:
            if isinstance(order, Record):
                pool.history.add(order.entry)
