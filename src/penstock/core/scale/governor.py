"""The Governor: how many replicas each scaled pool has. Facts about pools in; orders to look, start, drain, stop out.

Recommend → guard → crew: what the metrics want, what the bounds let pass, what that means for each replica. A look
comes every `look`, and brings the replicas' lives in line; every `interval` it also decides anew about their number.
"""

from math import fsum, inf

from msgspec.structs import replace

from penstock.core.scale.bill import Bill
from penstock.core.scale.budget import Budget, Purse
from penstock.core.scale.crew import Crew
from penstock.core.scale.foresight import Foresight
from penstock.core.scale.guards import Bounded, Guard, ceiling
from penstock.core.scale.life import STATES, Life
from penstock.core.scale.mix import price_of
from penstock.core.scale.panic import Panic, demand_of
from penstock.core.scale.recommend import Recommendation, recommend
from penstock.core.scale.record import Decision, History, Step
from penstock.core.scale.schedule import Schedule, bounds_in, holding
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.view import ScaleView, UnitView
from penstock.core.scale.window import Window
from penstock.core.scale.words import (
    Fact,
    Look,
    Noticed,
    Order,
    Part,
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
        self.conf = spec
        """As it is configured."""
        self.spec = spec
        """With the bounds of the schedule that holds."""
        self.schedule: Schedule | None = None
        self.budget = Budget(spec.max_monthly_cost)
        self.pinched = False
        """The month's money holds it down."""
        self.crew = Crew(name, spec, hourly_cost)
        self.guard = Guard(spec, hourly_cost)
        self.bill = Bill()
        self.panic = None if spec.panic is None else Panic(spec.panic)
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
        self.notices = 0
        self.turns = 0
        self._direction = 0
        """Of the last change: 1 up, -1 down, 0 none yet."""

    def respec(self, spec: ScaleSpec, hourly_cost: float, closing: bool) -> None:
        """New settings hold. What is known of its replicas stays."""
        self.conf, self.closing = spec, closing
        self.guard.hourly_cost = self.crew.hourly_cost = hourly_cost
        self.budget.max_monthly_cost = spec.max_monthly_cost
        self._hold(self.schedule if self.schedule in spec.schedules else None)
        if spec.panic is None:
            self.panic = None
        elif self.panic is None:
            self.panic = Panic(spec.panic)
        else:
            self.panic.spec = spec.panic

    def _hold(self, schedule: Schedule | None) -> None:
        """These bounds hold from now on."""
        least, most = bounds_in(schedule, self.conf.min, self.conf.max)
        self.schedule = schedule
        self.spec = self.crew.spec = self.guard.spec = replace(self.conf, min=least, max=most)
        self.guard.schedule = "" if schedule is None else str(schedule)

    def _clock(self, wall_s: float, out: list[Order], now: float) -> None:
        """What the time of the week and the month's money say."""
        schedule = holding(self.conf.schedules, wall_s)
        if schedule is not self.schedule:
            self._hold(schedule)
        self.budget.charge(fsum(self.bill.hourly.values()), wall_s, now)
        self.guard.ration = self.budget.most(self.spec.min, self.guard.hourly_cost, now)
        if self.budget.due(now):
            out.append(Remember(self.name, self.budget.purse()))

    @property
    def most(self) -> int:
        """The most replicas that may be there."""
        return self.guard.most

    def seen(self, event: Seen, out: list[Order], now: float) -> None:
        """It was looked at."""
        self.blind, self.queued = event.detail or "no answer", event.window.queued
        self.foresight.starts(self.crew.lives.values())
        self.guard.startup_s = self.foresight.startup_s
        if self.spec.forecast is not None and self.foresight.see(event.window, now):
            out.append(Remember(self.name, self.foresight.past()))
        if event.units is None:
            return  # what is there is not known: nothing is ordered
        self.blind = ""
        ours = self.crew.lives
        self.crew.see(event.window, event.units, out, now)
        self.bill.look(ours.values(), self.spec.spot, self.guard.hourly_cost, now)
        self.others = sum(one.id not in ours for one in event.window.replicas)
        if event.wall_s is not None:
            self._clock(event.wall_s, out, now)
        if self.closing:
            self.wanted = 0
            self.crew.disband(out, now)
            return
        if self.wanted is None:
            self.wanted = min(max(self.crew.living, self.spec.min), self.most)
        beyond = self.wanted > self.most or self.wanted < min(self.spec.min, self.most)
        woken = beyond or (self.wanted == 0 and self.queued > 0)
        if self._panics(event.window, self.wanted, now) or now >= self.decide_at or woken:
            self.decide_at = now + self.spec.interval_s
            self.wanted = self._decide(event.window, self.wanted, out, now)
        self.crew.reconcile(self.wanted, self.most, out, now)

    def noticed(self, event: Noticed, out: list[Order], now: float) -> None:
        """A provider takes one back. Its replacement does not wait for the next look."""
        life = self.crew.lives.get(event.unit)
        self.notices += life is not None and life.until is None
        self.crew.noticed(event.unit, now + max(0.0, event.within_s), out, now)
        if self.wanted is not None and not self.closing and not self.blind:
            self.crew.reconcile(self.wanted, self.most, out, now)

    def remembered(self, part: Part, now: float) -> None:
        """An earlier life of the gateway has left this."""
        if isinstance(part, Purse):
            self.budget.restore(part)
        else:
            self.foresight.recall(part, now)

    def _panics(self, window: Window, was: int, now: float) -> bool:
        """Whether a burst asks for more than there should be: that does not wait for the next decision."""
        if self.panic is None:
            return False
        ready = self.crew.of(["ready"])
        ill = sum(life.ill_since is not None for life in ready)
        demand = None if 2 * ill > len(ready) else demand_of(self.spec.targets, window)
        urgent = self.panic.see(demand, sum(one.well for one in window.replicas), now, self.guard.startup_s)
        return urgent is not None and min(urgent - self.others, self.most) > was

    def _decide(self, window: Window, was: int, out: list[Order], now: float) -> int:
        unready = self.crew.coming()
        more = () if self.panic is None or not self.panic.on else (self.panic.reading(),)
        found = recommend(self.spec, window, unready, was + self.others, more)
        found = self.foresight.join(self.spec, found, window, was + self.others, now)
        bounded = self.guard.bound(self._ours(found.count), was, now, self._ours(found.urgent))
        alarm = bounded.alarm or self._pinch()
        self.alarms += bool(alarm)
        self._changes(was, bounded.count)
        out.append(Record(self._decision(found, replace(bounded, alarm=alarm), was, now)))
        return bounded.count

    def _changes(self, was: int, count: int) -> None:
        """Count a decision's change, and whether it goes the other way than the last one."""
        direction = (count > was) - (count < was)
        self.ups += direction > 0
        self.downs += direction < 0
        if direction:
            self.turns += self._direction == -direction
            self._direction = direction

    def _pinch(self) -> str:
        """An alarm when the month's money begins to hold the pool down."""
        was, ration = self.pinched, self.guard.ration
        self.pinched = ration is not None and ration < ceiling(self.spec, self.guard.hourly_cost)
        if was or not self.pinched:
            return ""
        spent, most = self.budget.spent(), self.conf.max_monthly_cost
        return f"{spent:,.2f} of this month's {most:,.2f} are spent: {ration} replicas at most"

    def _ours(self, count: int | None) -> int | None:
        """Of so many replicas in all, those that the pool runs by itself."""
        return None if count is None else max(0, count - self.others)

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
            downs=self.downs, turns=self.turns, failures=crew.failures,
            start_in_s=max(0.0, crew.start_at - now) if crew.failures else 0.0,
            states={state: sum(life.state == state for life in lives) for state in STATES},
            hourly_cost=fsum(self._price(life) for life in lives), max_hourly_cost=self.spec.max_hourly_cost,
            hourly_costs=dict(self.bill.hourly), spent=dict(self.bill.spent), notices=self.notices,
            dry_s=max(0.0, crew.mix.dry_until - now) if crew.mix.refusals else 0.0,
            month_cost=self.budget.spent(), max_monthly_cost=self.conf.max_monthly_cost, ration=self.guard.ration,
            schedule=self.guard.schedule, forecast=self.foresight.view(self.spec, now),
            last=self.history.decision(), panic=self.panic is not None and self.panic.on,
            units=[
                UnitView(unit=life.unit, state=life.state, since_s=now - life.since, in_flight=life.in_flight,
                    ill=life.ill_since is not None, age_s=now - life.born, purchase=life.purchase,
                    gone_in_s=None if life.until is None else max(0.0, life.until - now))
                for life in lives
            ],
        )  # fmt: skip

    def _price(self, life: Life) -> float:
        return price_of(life.purchase, self.spec.spot, self.guard.hourly_cost)


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
                pool.remembered(event.part, now)
            elif isinstance(event, Scaled):
                pool.crew.refused(event.unit, event.detail, out, now)
            elif isinstance(event, Noticed):
                pool.noticed(event, out, now)
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

    def purse(self, pool: str) -> Purse | None:
        """What a pool has spent, to be kept; None: it has no budget, or is not known."""
        found = self._pools.get(pool)
        return None if found is None or found.conf.max_monthly_cost is None else found.budget.purse()

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
                pool.respec(replace(pool.conf, min=0, schedules=()), pool.guard.hourly_cost, True)

    @staticmethod
    def _remember(pool: _Pool, out: list[Order]) -> None:
        for order in out:
            if isinstance(order, Record):
                pool.history.add(order.entry)
