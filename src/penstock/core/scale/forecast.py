"""What will be asked of a pool soon, and how far such forecasts were off of late [A4].

Each pattern divides demand into what is usual at that time and how the day differs from it; the latter goes on as a
level with a damped trend (Gardner and McKenzie, "Forecasting trends in time series", Management Science 31, 1985, after
Holt). What is usual is the median of the same time on the days before, or last week's value: a seasonal naive method
(Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed., sections 3.4, 5.2 and 8.2).

Every forecast is kept until its time has come and then compared with what was (a rolling origin: nothing that is judged
was known when it was said). Patterns that err less speak; so the error is always known, and it is never of hindsight.
"""

from collections import deque
from collections.abc import Collection, Sequence
from math import fsum, inf
from statistics import median
from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.units import Fraction, Seconds
from penstock.core.scale.history import DAY, KEPT, WEEK, WINDOW_S

STEPS = (1, 2, 3, 4, 6, 12)
"""Windows ahead that are forecast and checked."""
MOST_AHEAD_S = STEPS[-1] * WINDOW_S
LEAST_POINTS = 10
"""Windows needed for a trend, and checked forecasts for an error [A4]."""
LEVEL, TREND, DAMPING = 0.5, 0.1, 0.8
"""How much a new window counts for the level and for the trend, and what is left of the trend a window later."""
SLIGHT = 1.0
"""Calls added to both sides of a ratio, so that a little over nothing is not much."""


class ForecastSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool grows before its load does, by what was usual at this time on the days before [A4]. It is one more metric:
    it never makes a pool smaller than the others want it."""

    ahead_s: Annotated[
        Annotated[Seconds, Meta(le=MOST_AHEAD_S)] | None,
        Meta(description="how far it looks; none: as long as a replica was seen to take to start, and a decision"),
    ] = field(default=None, name="ahead")
    buffer: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="share added to the forecast; none: as much as nine of ten forecasts of the last day needed"),
    ] = None
    up: Annotated[
        float, Meta(ge=1, description="it acts above so many times the replicas that there should be now")
    ] = 1.2
    down: Annotated[
        float, Meta(ge=0, le=1, description="below this it lets the pool shrink; between the two it stays")
    ] = 0.7
    least_replicas: Annotated[int, Meta(ge=1, description="forecasts of fewer replicas are left to the metrics")] = 3
    worst_error: Annotated[
        Fraction, Meta(description="it does not act while forecasts of the last day were off by more, as a mean share")
    ] = 0.5


class Checked(Struct, frozen=True, kw_only=True):
    """How forecasts so far ahead turned out over the last day."""

    count: int
    error: float
    """Mean distance from what was, as a share of the mean demand (MAD/mean: Kolassa and Schuetz, "Advantages of the
    MAD/MEAN ratio over the MAPE", Foresight 6, 2007); shares of each value alone say nothing where there was none."""
    short: float
    """What nine of ten forecasts would have had to be multiplied by to be enough; 1 at least."""


class Pattern:
    """One way to say what is usual."""

    __slots__ = ("_checked", "_checks", "_pending", "level", "name", "needs", "slope", "trusts_trend")

    def __init__(self, name: str, needs: int, trusts_trend: bool = True) -> None:
        self.name = name
        self.needs = needs
        """Windows that must be known."""
        self.trusts_trend = trusts_trend
        self.level: float | None = None
        """Demand as a share of what is usual."""
        self.slope = 0.0
        self._pending: dict[int, deque[tuple[int, float]]] = {step: deque() for step in STEPS}
        """Step -> forecasts whose time has not come: number of the window, and what was said."""
        self._checks: dict[int, deque[tuple[float, float]]] = {step: deque(maxlen=DAY) for step in STEPS}
        """Step -> what was, and what had been said."""
        self._checked: dict[int, Checked | None] = {}
        """What was computed of these since the last window."""

    def usual(self, past: "Usual", number: int) -> float | None:
        """What is usual in a window; None: not known."""
        if self.name == "daily":
            return past.daily(number)
        return past.weekly(number) if self.name == "weekly" else 0.0

    def close(self, past: "Usual", number: int, value: float | None, known: int) -> None:
        """A window is over: check what was said of it, learn, and say what comes."""
        self._checked.clear()
        for step, pending in self._pending.items():
            while pending and pending[0][0] <= number:
                of, said = pending.popleft()
                if of == number and value is not None:
                    self._checks[step].append((value, said))
        usual = self.usual(past, number)
        self._learn(None if value is None or usual is None else (value + SLIGHT) / (usual + SLIGHT))
        if known < max(self.needs, LEAST_POINTS):
            return
        for step in STEPS:
            said_now = self.expect(past, number, step)
            if said_now is not None:
                self._pending[step].append((number + step, said_now))

    def _learn(self, ratio: float | None) -> None:
        level, slope = self.level, self.slope * DAMPING
        if ratio is None:
            self.slope = slope
        elif level is None or not self.trusts_trend:
            self.level = ratio
        else:
            self.level = LEVEL * ratio + (1 - LEVEL) * (level + slope)
            self.slope = TREND * (self.level - level) + (1 - TREND) * slope

    def expect(self, past: "Usual", number: int, step: int) -> float | None:
        """Demand so many windows after the one of this number, the last that is over; None: it cannot say."""
        usual = self.usual(past, number + step)
        if usual is None or self.level is None:
            return None
        damped = DAMPING * (1 - DAMPING**step) / (1 - DAMPING)
        return max(0.0, (self.level + damped * self.slope) * (usual + SLIGHT) - SLIGHT)

    def checked(self, step: int) -> Checked | None:
        """How its forecasts so far ahead turned out; None: too few have."""
        if step not in self._checked:
            self._checked[step] = _checked(self._checks[step])
        return self._checked[step]


def _checked(checks: Collection[tuple[float, float]]) -> Checked | None:
    if len(checks) < LEAST_POINTS:
        return None
    demand = fsum(was for was, _ in checks)
    off = fsum(abs(was - said) for was, said in checks)
    ratios = sorted((was + SLIGHT) / (said + SLIGHT) for was, said in checks)
    error = off / demand if demand else 0.0 if not off else inf
    return Checked(count=len(checks), error=error, short=max(1.0, ratios[int(0.9 * (len(ratios) - 1))]))


class Usual:
    """What was, by the number of its window; the oldest are forgotten."""

    __slots__ = ("_daily", "_first", "_values", "known")

    def __init__(self, first: int) -> None:
        self._first = first
        self._values: list[float | None] = []
        self._daily: dict[int, float | None] = {}
        """What was computed lately: it is asked for again when its time comes."""
        self.known = 0
        """Windows that are no gaps, in all."""

    def add(self, value: float | None) -> int:
        """One more window; its number."""
        self._values.append(value)
        self.known += value is not None
        if len(self._values) > KEPT + DAY:
            del self._values[:DAY]
            self._first += DAY
        return self._first + len(self._values) - 1

    def _around(self, number: int) -> list[float]:
        """A window with its two neighbours, as far as they are known."""
        at = number - self._first
        near = self._values[max(0, at - 1) : max(0, at + 2)]
        return [value for value in near if value is not None]

    def daily(self, number: int) -> float | None:
        """The median of the same time on up to seven days before."""
        if number in self._daily:
            return self._daily[number]
        values = [value for days in range(1, 8) for value in self._around(number - days * DAY)]
        if len(self._daily) > 4 * STEPS[-1]:
            self._daily.clear()
        found = self._daily[number] = median(values) if values else None
        return found

    def weekly(self, number: int) -> float | None:
        """The same time a week before."""
        values = self._around(number - WEEK)
        return fsum(values) / len(values) if values else None


class Forecaster:
    """One pool's. Windows in, forecasts with their errors out."""

    __slots__ = ("_number", "_past", "naive", "patterns")

    def __init__(self, first: int, values: Sequence[float | None] = ()) -> None:
        """From the windows that are known, the first of which has this number."""
        self._past = Usual(first)
        self._number = first - 1
        self.patterns = (Pattern("trend", LEAST_POINTS), Pattern("daily", DAY), Pattern("weekly", WEEK))
        self.naive = Pattern("none", LEAST_POINTS, False)
        """For comparison: it stays as it is."""
        for value in values:
            self.close(value)

    @property
    def known(self) -> int:
        """Windows that it has seen, gaps not counted."""
        return self._past.known

    @property
    def number(self) -> int:
        """Of the last window that is over."""
        return self._number

    def close(self, value: float | None) -> None:
        """A window is over; None: it is a gap."""
        self._number = number = self._past.add(value)
        for pattern in (*self.patterns, self.naive):
            pattern.close(self._past, number, value, self._past.known)

    def best(self, step: int) -> tuple[Pattern, Checked] | None:
        """The pattern that erred least so many windows ahead, and by how much; None: none was checked yet."""
        found = [(pattern, checked) for pattern in self.patterns if (checked := pattern.checked(step)) is not None]
        return min(found, key=lambda one: one[1].error, default=None)

    def expect(self, pattern: Pattern, step: int) -> float | None:
        """Demand so many windows ahead, by this pattern."""
        return pattern.expect(self._past, self._number, step)


def step_of(ahead_s: float, number: int, now: float) -> int:
    """How many windows after this one the time so far ahead lies; of those that are forecast, the next one."""
    windows = int((now + ahead_s) // WINDOW_S) - number
    return next((step for step in STEPS if step >= windows), STEPS[-1])
