"""What a pool knows of its past and of what comes: one more reading for its recommendation, or why there is none.

A forecast can only make a pool larger than its metrics want it. Where the past is too short, or what was forecast of
late was too far off, it says nothing and says so: the metrics alone decide.
"""

from collections.abc import Iterable
from math import fsum
from statistics import median
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.scale.forecast import LEAST_POINTS, Checked, Forecaster, ForecastSpec, step_of
from penstock.core.scale.history import Demand, Past
from penstock.core.scale.life import Life
from penstock.core.scale.recommend import Recommendation, up_to
from penstock.core.scale.record import Reading
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.window import Window

STARTUP_S = 120.0
"""How long a replica takes to start while none was seen to."""
SHOWN = (("15m", 900.0), ("30m", 1800.0))
"""Shown beside the forecast that is acted upon [A4]."""
SEATS_USED = 0.7
"""Share of a replica's seats that should be taken where `targets.utilisation` does not say it."""
THUMB = 1.2
"""Replicas = calls a second x seconds a call x 1.2 / seats: the rule of thumb, for comparison [A4]."""


class Ahead(Struct, frozen=True, kw_only=True):
    """A forecast."""

    name: str
    """start: as far ahead as it acts, which is how long a start takes, and a decision; 15m; 30m."""
    ahead_s: float
    calls: float
    """Calls in flight and waiting that are expected, without the buffer."""
    error: float
    """Of such forecasts over the last day: their mean distance from what was, as a share of the mean demand."""
    error_as_is: float
    """The same of saying that it stays as it is."""
    short: float
    """What nine of ten of them would have had to be multiplied by to be enough."""
    checked: int
    """Forecasts that this is of."""
    pattern: str
    """The one that erred least: trend, daily, weekly."""


class ForecastView(Struct, frozen=True, kw_only=True):
    """What a pool expects."""

    acts: bool
    why: str
    """Why it acts, or does not."""
    windows: int
    """Of five minutes, that are known."""
    calls: float | None
    """In the last of them; None: it is a gap."""
    calls_per_s: float | None
    startup_s: float | None
    """How long its replicas take to start; None: none was seen to."""
    wants: int | None
    """Replicas in all by the forecast; None: it has no opinion."""
    thumb: int | None
    """By the rule of thumb, of what was asked last: calls a second x seconds a call x 1.2 / seats."""
    ahead: list[Ahead]
    """The first is the one that is acted upon."""


class _Opinion(NamedTuple):
    """What a forecast has to say."""

    reading: Reading | None
    """None: it is left to the metrics."""
    why: str


class Foresight:
    """One pool's."""

    __slots__ = ("_forecaster", "_opinion", "_seats", "demand", "startup_s")

    def __init__(self) -> None:
        self.demand = Demand()
        self.startup_s: float | None = None
        self._forecaster = Forecaster(0)
        self._opinion = _Opinion(None, "nothing was seen yet")
        self._seats: float | None = None

    # ===== what is seen =====

    def starts(self, lives: Iterable[Life]) -> None:
        """How long replicas took to start, of those that are there."""
        took = [life.ready_at - life.born for life in lives if life.ready_at is not None and not life.found]
        self.startup_s = median(took) if took else self.startup_s

    def see(self, window: Window, now: float) -> bool:
        """A look at the pool. Whether there is something new to write down."""
        if window.replicas:
            self._seats = fsum(one.seats for one in window.replicas) / len(window.replicas)
        over = self.demand.see(window, now)
        if over:
            self._learn()
        return over

    def recall(self, past: Past, now: float) -> None:
        """What was written down before a restart."""
        if self.demand.recall(past, now):
            self.startup_s = past.startup_s if self.startup_s is None else self.startup_s
            self._learn()

    def past(self) -> Past:
        """What is worth writing down."""
        return self.demand.past(self.startup_s)

    def _learn(self) -> None:
        demand, last = self.demand, self._forecaster.number
        new = last + 1 - demand.first
        if not 0 <= new <= len(demand.calls) or not self._forecaster.known:  # or the clock was put back, or far ahead
            self._forecaster, new = Forecaster(demand.first), 0
        for value in demand.calls[new:]:
            self._forecaster.close(value)

    # ===== what comes =====

    def join(
        self, spec: ScaleSpec, found: Recommendation, window: Window, current: int, now: float
    ) -> Recommendation:  # fmt: skip
        """What the metrics want, and what the forecast wants if that is more. `current`: replicas that there should be
        now, in all."""
        wish = spec.forecast
        if wish is None:
            return found
        opinion = self._opinion = self._judge(spec, wish, current, now)
        reading = opinion.reading
        if reading is None:
            return found
        wants = reading.wants or 0
        readings = (*found.readings, reading)
        if wants <= (current if found.count is None else found.count):
            return replace(found, readings=readings)
        return replace(found, count=wants, reason=opinion.why, readings=readings)

    def _judge(self, spec: ScaleSpec, wish: ForecastSpec, current: int, now: float) -> _Opinion:
        forecaster, ahead_s = self._forecaster, self.ahead_s(spec)
        if forecaster.known < LEAST_POINTS:
            return _Opinion(None, f"the past is too short: {forecaster.known} of {LEAST_POINTS} windows")
        found = self._ahead("start", ahead_s, now)
        if found is None:
            return _Opinion(None, "no forecast could be checked yet")
        if found.error > wish.worst_error:
            return _Opinion(
                None, f"forecasts were off by {found.error:.0%} of late, more than {wish.worst_error:.0%}"
            )  # fmt: skip
        if found.error >= found.error_as_is:
            return _Opinion(None, "forecasts were no better of late than saying that it stays as it is")
        seats = self._seats
        if not seats or not current:
            return _Opinion(None, "no replica tells how many seats it has")
        buffered = found.calls * (found.short if wish.buffer is None else 1 + wish.buffer)
        target = SEATS_USED if spec.targets.utilisation is None else spec.targets.utilisation.target
        needs = up_to(buffered / (seats * target))
        if needs < wish.least_replicas:
            return _Opinion(None, f"it would be {needs}: fewer than {wish.least_replicas} are left to the metrics")
        value = buffered / (seats * current)
        acts = not wish.down * current <= buffered / (seats * target) <= wish.up * current
        wants = needs if acts else current
        why = (
            f"{found.calls:.3g} calls at once are expected in {found.ahead_s:.0f} s"
            f" ({found.pattern}, off by {found.error:.0%} of late): {'wants' if acts else 'stays at'} {wants}"
        )
        return _Opinion(Reading(metric="forecast", value=value, target=target, wants=wants), why)

    def ahead_s(self, spec: ScaleSpec) -> float:
        """How far ahead is looked for a decision."""
        if spec.forecast is not None and spec.forecast.ahead_s is not None:
            return spec.forecast.ahead_s
        return (STARTUP_S if self.startup_s is None else self.startup_s) + spec.up.stabilisation_s + spec.interval_s

    def _ahead(self, name: str, ahead_s: float, now: float) -> Ahead | None:
        forecaster = self._forecaster
        step = step_of(ahead_s, forecaster.number, now)
        found = forecaster.best(step)
        as_is: Checked | None = forecaster.naive.checked(step)
        calls = None if found is None else forecaster.expect(found[0], step)
        if found is None or as_is is None or calls is None:
            return None
        pattern, checked = found
        return Ahead(
            name=name, ahead_s=ahead_s, calls=calls, error=checked.error, error_as_is=as_is.error, short=checked.short,
            checked=checked.count, pattern=pattern.name,
        )  # fmt: skip

    # ===== for people =====

    def view(self, spec: ScaleSpec, now: float) -> ForecastView | None:
        """What it expects; None: it was not asked to."""
        if spec.forecast is None:
            return None
        reading, demand = self._opinion.reading, self.demand
        calls, rate = (demand.calls[-1], demand.rates[-1]) if demand.calls else (None, None)
        horizons = (("start", self.ahead_s(spec)), *SHOWN)
        return ForecastView(
            acts=reading is not None, why=self._opinion.why, windows=self._forecaster.known, calls=calls,
            calls_per_s=rate, startup_s=self.startup_s, wants=None if reading is None else reading.wants,
            thumb=None if calls is None or not self._seats else up_to(THUMB * calls / self._seats),
            ahead=[one for name, ahead_s in horizons if (one := self._ahead(name, ahead_s, now)) is not None],
        )  # fmt: skip
