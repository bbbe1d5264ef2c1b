"""The replicas that one pool runs by itself: brings their lives in line with what is seen, and their number with what
is wanted.

Two bounds hold whatever is seen. More than the ceiling are never there at once, those that drain or stop counted in;
and no replica is drained below what is wanted, unless it is ill. While the actuator cannot say what there is, nothing
is ordered.
"""

from collections.abc import Iterable

from penstock.base.nouns import Unit
from penstock.core.scale.life import COMING, LIVING, Life, State
from penstock.core.scale.mix import Mix, pays
from penstock.core.scale.record import Step
from penstock.core.scale.spec import LifeSpec, ScaleSpec
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.core.scale.words import Drain, Order, Record, Start, Stop

MOST_DOUBLINGS = 20


class Crew:
    """One pool's replicas."""

    __slots__ = ("_failed_at", "_next", "failures", "hourly_cost", "lives", "mix", "pool", "spec", "start_at")

    def __init__(self, pool: str, spec: ScaleSpec, hourly_cost: float = 0.0) -> None:
        self.pool = pool
        self.spec = spec
        self.hourly_cost = hourly_cost
        """Of a replica on demand."""
        self.mix = Mix()
        self.lives: dict[str, Life] = {}
        self._next = 1
        """Number of the next replica; none is given twice."""
        self.failures = 0
        """Starts in a row that failed."""
        self._failed_at = -1.0
        self.start_at = 0.0
        """No replica is started before."""

    # ===== reads =====

    def of(self, states: Iterable[State]) -> list[Life]:
        """Those in one of these states, the oldest first."""
        wanted = frozenset(states)
        return [life for life in self.lives.values() if life.state in wanted]

    @property
    def living(self) -> int:
        """How many the pool has, or will have soon."""
        return len(self.of(LIVING))

    def coming(self) -> int:
        """How many are on their way."""
        return len(self.of(COMING))

    # ===== what is seen =====

    def see(self, window: Window, units: tuple[Unit, ...], out: list[Order], now: float) -> None:
        """A look: every replica goes on to where it is seen to be."""
        seen = {one.id: one for one in window.replicas}
        shown = {unit.id: unit for unit in units}
        for unit in units:
            if unit.id not in self.lives:
                self._adopt(unit, out, now)
        for life in list(self.lives.values()):
            self._take(life, shown.get(life.unit), seen.get(life.unit), out, now)

    def _adopt(self, unit: Unit, out: list[Order], now: float) -> None:
        """One that was not ordered, or was before a restart."""
        state: State = "stopping" if unit.state in ("stopping", "ended") else "starting"
        self.lives[unit.id] = life = Life(unit.id, state, now, unit.purchase)
        life.found = True
        number = unit.id.removeprefix(f"{self.pool}-")
        if number.isdecimal() and len(number) < 10:
            self._next = max(self._next, int(number) + 1)
        self._record(life, "", "found running" if state == "starting" else "found stopping", False, out, now)
        if state == "stopping":
            out.append(Stop(self.pool, unit.id))

    def _take(self, life: Life, unit: Unit | None, seen: ReplicaSeen | None, out: list[Order], now: float) -> None:
        life.in_flight = 0 if seen is None else seen.in_flight
        if unit is None:
            self._absent(life, out, now)
            return
        life.shown = True
        if unit.state == "ended":
            if life.state != "stopping" and life.until is not None:
                self._stop(life, "its provider has taken it back", out, now)
            elif life.state != "stopping":
                self._give_up(life, unit.detail or "it ended by itself", out, now)
        elif life.state in COMING:
            self._comes(life, unit, seen, out, now)
        elif life.state == "ready" and seen is None and unit.url:
            self._give_up(life, "it was taken out of the fleet", out, now)
        elif life.state == "ready":
            self._serves(life, seen is None or seen.well, now)
        elif life.state == "draining":
            if life.in_flight == 0:
                self._stop(life, "drained", out, now)
            elif life.late(self.spec.life, now) or life.overdue(now):
                self._stop(life, f"calls still running: {life.in_flight}", out, now)
        if life.state == "stopping" and life.late(self.spec.life, now):
            life.since = now
            out.append(Stop(self.pool, life.unit))

    def _serves(self, life: Life, well: bool, now: float) -> None:
        if well:
            life.ill_since = None
        elif life.ill_since is None:
            life.ill_since = now
        if self.failures and life.born >= self._failed_at and life.proven(self.spec.life, now):
            self.failures, self.start_at = 0, now

    def _absent(self, life: Life, out: list[Order], now: float) -> None:
        """The actuator does not show it: it has not come yet, it has ended as it was told, or it vanished."""
        if life.state == "ordered" and not life.shown:
            if self._late_s(life, now) is not None:
                self._give_up(life, "the actuator never showed it", out, now)
            return
        failed = life.state != "stopping" and life.until is None
        if failed:
            self._failed(life, now)
        self._move(life, "gone", "it vanished" if failed else "", failed, out, now)
        del self.lives[life.unit]

    def _comes(self, life: Life, unit: Unit, seen: ReplicaSeen | None, out: list[Order], now: float) -> None:
        state: State = "starting" if unit.state == "starting" else "loading"
        if state == "loading" and (seen.well if seen is not None else not unit.url):
            state = "ready"
        if state != life.state and state in ("loading", "ready"):
            self._move(life, state, "", False, out, now)
            if state == "ready" and life.purchase == "spot":
                self.mix.had()
        elif life.state == "ordered":
            self._move(life, "starting", "", False, out, now)
        elif (limit_s := self._late_s(life, now)) is not None:
            self._give_up(life, f"it was {life.state} for longer than {limit_s:g} s", out, now)

    def _late_s(self, life: Life, now: float) -> float | None:
        """The limit that one which comes has passed; for spot also that on the time until it has an address."""
        spot = self.spec.spot
        if (
            spot is not None
            and life.purchase == "spot"
            and life.state != "loading"
            and now - life.born >= spot.within_s
        ):
            return spot.within_s
        return life.limit_s(self.spec.life) if life.late(self.spec.life, now) else None

    def refused(self, unit: str, detail: str, out: list[Order], now: float) -> None:
        """An order to start it came back with an error."""
        life = self.lives.get(unit)
        if life is not None and life.state == "ordered":
            self._give_up(life, detail, out, now)

    def noticed(self, unit: str, until: float, out: list[Order], now: float) -> None:
        """Its provider takes it back: it drains until then, or comes to nothing."""
        life = self.lives.get(unit)
        if life is None or life.state == "stopping":
            return
        life.until = until if life.until is None else min(until, life.until)
        why = f"its provider takes it back in {max(0.0, life.until - now):.0f} s"
        if life.state in COMING:
            self._stop(life, why, out, now)
        elif life.state == "ready":
            self._drain(life, why, out, now)

    # ===== their number =====

    def reconcile(self, wanted: int, most: int, out: list[Order], now: float) -> None:
        """Order what brings their number to what is wanted."""
        self._replace_ill(out, now)
        lacking = wanted - self.living
        if lacking > 0:
            self._grow(lacking, wanted, most, out, now)
        elif lacking < 0:
            self._shrink(wanted, out, now)
        elif self.mix.exchanges(self.spec.spot, self.lives.values(), wanted, now) and now >= self.start_at:
            self._start(wanted, most, out, now)

    def disband(self, out: list[Order], now: float) -> None:
        """None is wanted any more: who does not serve yet is stopped, who does is drained."""
        for life in self.of(COMING):
            self._stop(life, "the pool does not scale itself any more", out, now)
        for life in self.of(["ready"]):
            self._drain(life, "the pool does not scale itself any more", out, now)

    def _grow(self, lacking: int, wanted: int, most: int, out: list[Order], now: float) -> None:
        for life in self.of(["draining"])[::-1]:  # the cheapest capacity is what is still there
            if lacking and not life.sick and life.until is None:
                self._move(life, "loading", "taken back", False, out, now)
                out.append(Drain(self.pool, life.unit, False))
                lacking -= 1
        if now < self.start_at:
            return
        if self.failures:
            lacking = min(lacking, 1 - self.coming())  # one is tried, not twenty
        for _ in range(lacking):
            self._start(wanted, most, out, now)

    def _start(self, wanted: int, most: int, out: list[Order], now: float) -> None:
        """One more, where there is room and money for it."""
        lives = self.lives.values()
        purchase, why = self.mix.next(self.spec.spot, lives, wanted, now)
        if len(lives) >= most or not pays(self.spec, lives, purchase, self.hourly_cost):
            return
        unit = f"{self.pool}-{self._next}"
        self._next += 1
        life = self.lives[unit] = Life(unit, "ordered", now, purchase)
        self._record(life, "", why, False, out, now)
        out.append(Start(self.pool, unit, purchase))

    def _shrink(self, wanted: int, out: list[Order], now: float) -> None:
        """Only who is ready: what loads is not killed, and once it is ready somebody goes."""
        ready = self.of(["ready"])[::-1]  # the youngest first
        while len(ready) > wanted and self.living > wanted:
            kind = self.mix.goes(self.spec.spot, self.lives.values(), wanted)
            life = min(
                ready, key=lambda life: (life.ill_since is None, kind not in (None, life.purchase), life.in_flight)
            )
            ready.remove(life)
            self._drain(life, "the least used", out, now)

    def _replace_ill(self, out: list[Order], now: float) -> None:
        """Where too few are well, the one that has been ill for longest goes; who is wanted in its place is started by
        the way. One at a time, so that a judgement that errs costs one replica and not the pool."""
        ready = self.of(["ready"])
        ill = [(life.ill_since, life) for life in ready if life.ill_since is not None]
        if not ill or any(life.sick for life in self.of(["draining", "stopping"])):
            return
        since, longest = min(ill, key=lambda pair: pair[0])
        few = len(ready) - len(ill) < self.spec.health * len(ready)
        if few and now - since >= self.spec.replace_after_s:
            longest.sick = True
            self._drain(longest, "ill for too long", out, now)

    # ===== steps =====

    def _drain(self, life: Life, why: str, out: list[Order], now: float) -> None:
        self._move(life, "draining", why, life.sick, out, now)
        out.append(Drain(self.pool, life.unit))

    def _give_up(self, life: Life, why: str, out: list[Order], now: float) -> None:
        self._failed(life, now)
        self._move(life, "stopping", why, True, out, now)
        out.append(Stop(self.pool, life.unit))

    def _stop(self, life: Life, why: str, out: list[Order], now: float) -> None:
        self._move(life, "stopping", why, False, out, now)
        out.append(Stop(self.pool, life.unit))

    def _failed(self, life: Life, now: float) -> None:
        """A failed start counts once for all that were under way together; one that had served for long is no failed
        start."""
        if life.state == "draining" or life.proven(self.spec.life, now):
            return
        if life.purchase == "spot" and self.spec.spot is not None:
            self.mix.refused(self.spec.spot, now)
            return
        if life.born < self._failed_at:
            return
        self._failed_at = now
        self.failures += 1
        life_spec: LifeSpec = self.spec.life
        if self.failures > 1:
            doubled = life_spec.backoff_s * 2.0 ** min(MOST_DOUBLINGS, self.failures - 2)
            self.start_at = now + min(doubled, life_spec.backoff_max_s)

    def _move(self, life: Life, state: State, why: str, failed: bool, out: list[Order], now: float) -> None:
        was = life.to(state, now)
        self._record(life, was, why, failed, out, now)

    def _record(self, life: Life, was: str, why: str, failed: bool, out: list[Order], now: float) -> None:
        step = Step(pool=self.pool, at=now, unit=life.unit, was=was, now=life.state, why=why, failed=failed)
        out.append(Record(step))
