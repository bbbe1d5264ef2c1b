"""What keeps the number of replicas within bounds, whatever was recommended: stabilisation, pace, [min, max], cost.

As the `behavior` of Kubernetes' HorizontalPodAutoscaler, and beyond it: a bound by cost, an alarm for a recommendation
that cannot be meant, and a history that begins anew after a gap, so that an outage of metrics, a restart or a clock
that jumped never lets the pool shrink at once.
"""

from collections import deque
from math import ceil, floor, inf

from msgspec import Struct

from penstock.core.scale.mix import affordable
from penstock.core.scale.spec import Pace, ScaleSpec

RUNAWAY = 10
MOST_MEANT = 1000
"""A recommendation of more than so many times `max`, and more than so many, is a mistake of somebody: an alarm. A small
pool whose queue is long may well want ten times what it may have."""
GAP = 4
"""Intervals without a recommendation after which the past says nothing about now."""
LONGEST_S = 3600.0
"""The windows of stabilisation, whatever makes them longer."""
MOST_KEPT = 4096
"""Recommendations kept: enough for an hour of them, one a second."""


class Bounded(Struct, frozen=True, kw_only=True):
    """A number within the bounds."""

    count: int
    bounds: tuple[str, ...]
    """What changed the number, in that order."""
    alarm: str = ""


def ceiling(spec: ScaleSpec, hourly_cost: float) -> int:
    """The most replicas that may be there, by `max` and by cost."""
    if spec.max_hourly_cost is None or hourly_cost <= 0:
        return spec.max
    if spec.spot is not None:
        return affordable(spec.spot, spec.max, spec.max_hourly_cost, hourly_cost)
    return min(spec.max, floor(spec.max_hourly_cost / hourly_cost + 1e-9))


class Guard:
    """One pool's. Numbers are of the replicas that the pool runs by itself."""

    __slots__ = ("_changes", "_recommended", "hourly_cost", "ration", "schedule", "spec", "startup_s")

    def __init__(self, spec: ScaleSpec, hourly_cost: float) -> None:
        self.spec = spec
        self.hourly_cost = hourly_cost
        self.ration: int | None = None
        """What this month's money is enough for; None: no such bound."""
        self.schedule = ""
        """Which one says `min` and `max`; empty: the spec itself."""
        self.startup_s: float | None = None
        """How long its replicas were seen to take to start; None: none was."""
        self._recommended: deque[tuple[float, int]] = deque(maxlen=MOST_KEPT)
        self._changes: deque[tuple[float, int]] = deque(maxlen=MOST_KEPT)
        """When, and by how many."""

    @property
    def most(self) -> int:
        """The most replicas that may be there."""
        most = ceiling(self.spec, self.hourly_cost)
        return most if self.ration is None else min(most, self.ration)

    def bound(self, recommended: int | None, current: int, now: float, urgent: int | None = None) -> Bounded:
        """What of this recommendation (None: leave it) may be done now. `urgent` of it are wanted at once, whatever
        `up` says, and meanwhile nothing shrinks."""
        spec, most = self.spec, self.most
        least = min(spec.min, most)
        if current < least or current > most:
            low = current < least
            return self._settle(least if low else most, current, (self._edge(low, most),), "", now)
        if recommended is None:
            return Bounded(count=current, bounds=())
        alarm = ""
        if recommended > max(RUNAWAY * spec.max, MOST_MEANT) or recommended < 0:
            alarm = f"a recommendation of {recommended:,} replicas, with max {spec.max}"
        count = clipped = min(max(recommended, least), most)
        bounds = [] if count == recommended else [self._edge(count > recommended, most)]
        for step in (self._stabilised, self._paced):
            count, why = step(count, current, now)
            bounds += [why] if why else []
        if urgent is not None and count < (floor := max(min(urgent, most), current)):
            count, bounds = floor, self._urged(floor, clipped, bounds[: int(clipped != recommended)], bounds)
        return self._settle(count, current, tuple(bounds), alarm, now)

    @staticmethod
    def _urged(floor: int, clipped: int, edge: list[str], bounds: list[str]) -> list[str]:
        """What bounds an urgent number: not `up`, where it is met in full; the panic, where it would shrink."""
        if floor > clipped:
            return [*edge, "panic"]
        return edge if floor == clipped else bounds

    def _edge(self, low: bool, most: int) -> str:
        if most < self.spec.max and (not low or most < self.spec.min):
            if self.ration == most < ceiling(self.spec, self.hourly_cost):
                return f"max_monthly_cost {self.spec.max_monthly_cost:g}"
            return f"max_hourly_cost {self.spec.max_hourly_cost:g}"
        by = f" ({self.schedule})" if self.schedule else ""
        return f"min {self.spec.min}{by}" if low else f"max {self.spec.max}{by}"

    def _settle(self, count: int, current: int, bounds: tuple[str, ...], alarm: str, now: float) -> Bounded:
        if count != current:
            self._changes.append((now, count - current))
        return Bounded(count=count, bounds=bounds, alarm=alarm)

    # ===== stabilisation =====

    def _stabilised(self, wanted: int, current: int, now: float) -> tuple[int, str]:
        """The least that was wanted over the window of growth, the most over that of shrinking; between the two nothing
        is done. From none to some it goes at once: somebody waits."""
        recommended, up, down = self._recommended, self.spec.up, self.spec.down
        if not recommended or now - recommended[-1][0] > GAP * self.spec.interval_s:
            recommended.clear()
            recommended.append((now, current))
        recommended.append((now, wanted))
        down_s = max(down.stabilisation_s, min(LONGEST_S, down.starts * (self.startup_s or 0.0)))
        oldest = now - max(up.stabilisation_s, down_s)
        while recommended[0][0] < oldest:
            recommended.popleft()
        if not current:
            return wanted, ""
        least = min([wanted, *(count for at, count in recommended if at > now - up.stabilisation_s)])
        most = max([wanted, *(count for at, count in recommended if at > now - down_s)])
        if least > current:
            return least, "" if least == wanted else "up.stabilisation"
        if most < current:
            return most, "" if most == wanted else "down.stabilisation"
        side = "" if wanted == current else "up.stabilisation" if wanted > current else "down.stabilisation"
        return current, side

    # ===== pace =====

    def _paced(self, wanted: int, current: int, now: float) -> tuple[int, str]:
        up, down = self.spec.up, self.spec.down
        kept_s = max(up.period_s, up.cooldown_s, down.period_s, down.cooldown_s)
        while self._changes and self._changes[0][0] < now - kept_s:
            self._changes.popleft()
        if wanted > current:
            most = self._most(current, now)
            return (wanted, "") if wanted <= most else (max(current, most), "up")
        if wanted < current:
            least = self._least(current, now)
            return (wanted, "") if wanted >= least else (min(current, least), "down")
        return wanted, ""

    def _most(self, current: int, now: float) -> int:
        up = self.spec.up
        if self._cools(up, -1, now):
            return current
        start = current - self._changed(up, 1, now)
        chosen = max if up.select == "max" else min
        # from none a share is nothing: one at least, as there was nothing to double
        return chosen(start + up.replicas, ceil(start * (1 + up.percent / 100)) if start else max(1, up.replicas))

    def _least(self, current: int, now: float) -> int:
        down = self.spec.down
        if self._cools(down, 1, now):
            return current
        start = current + self._changed(down, -1, now)
        by_share, by_count = int(start * (1 - down.percent / 100)), start - down.replicas
        return max(0, min(by_share, by_count) if down.select == "max" else max(by_share, by_count))

    def _changed(self, pace: Pace, sign: int, now: float) -> int:
        """By how many it changed this way within the period."""
        return sum(abs(by) for at, by in self._changes if by * sign > 0 and at > now - pace.period_s)

    def _cools(self, pace: Pace, sign: int, now: float) -> bool:
        """Whether it changed the other way too short a time ago."""
        last = max((at for at, by in self._changes if by * sign > 0), default=-inf)
        return now - last < pace.cooldown_s
