"""How many replicas the metrics want: the formula of Kubernetes' HorizontalPodAutoscaler, for several metrics at once.

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details. Pure arithmetic.
"""

from math import ceil, fsum, isfinite

from msgspec import Struct

from penstock.core.recent import FEW
from penstock.core.scale.record import Reading
from penstock.core.scale.spec import ScaleSpec, Target
from penstock.core.scale.window import ReplicaSeen, Window

MOST = 1_000_000_000
"""More replicas than anybody has."""
_SLIP = 1e-9
"""What floating point may add to a whole number."""


class Band(Struct, frozen=True, gc=False):
    """Ratios of value to target at which nothing is done, both ends included."""

    low: float
    high: float

    def holds(self, ratio: float) -> bool:
        """Whether this is near enough to the target."""
        return self.low - _SLIP <= ratio <= self.high + _SLIP


def band_of(target: Target, tolerance: float) -> Band:
    """The band of a target: its own ends, else the tolerance."""
    low = 1 - tolerance if target.down is None else target.down / target.target
    high = 1 + tolerance if target.up is None else target.up / target.target
    return Band(low, high)


def up_to(number: float) -> int:
    """The next whole number; what is no number, or beyond all bounds, is the largest that there is."""
    return ceil(number - _SLIP) if isfinite(number) and number < MOST else MOST


def want_each(values: list[float], missing: int, unready: int, target: float, band: Band, current: int) -> int | None:
    """Replicas by a metric that each replica has: `values` of those that are ready and told it; `missing` are ready and
    did not, `unready` are not ready yet. None: nobody told.

    Who is missing is taken to be on target when the pool would shrink and idle when it would grow; who is not ready yet
    is taken to be idle when it would grow. Where that turns the direction round, nothing is done; nor where fewer are
    seen than there should be, and what they want together is therefore on the other side of `current`.
    """
    if not values:
        return None
    ratio = fsum(values) / len(values) / target
    waits = unready if ratio > 1 else 0
    count = len(values) + missing + waits
    whole = fsum(values) + (missing * target if ratio < 1 else 0.0)
    again = whole / count / target
    if band.holds(again) or (again > 1) != (ratio > 1):
        return current
    wanted = up_to(again * count)
    turned = wanted > current if again < 1 else wanted < current
    return current if turned else wanted


def want_total(total: float, target: float, band: Band, current: int) -> int:
    """Replicas by a metric of the whole pool that each replica should have so much of."""
    if current and band.holds(total / (target * current)):
        return current
    return up_to(total / target)


def want_ratio(ratio: float, ready: int, band: Band, current: int) -> int:
    """Replicas by one value of the whole pool that does not grow with it, over its target: so many times those that are
    ready, as for the Value target of an object or external metric. Where fewer are ready than there should be, growing
    never makes the number fall."""
    if band.holds(ratio):
        return current
    wanted = up_to(ratio * ready)
    return max(wanted, current) if ratio > 1 else min(wanted, current)


class Recommendation(Struct, frozen=True, kw_only=True):
    """What the metrics say together."""

    count: int | None
    """Replicas in all; None: leave it as it is."""
    reason: str
    readings: tuple[Reading, ...]
    urgent: int | None = None
    """Replicas in all that are wanted at once; None: nothing is urgent."""


def recommend(
    spec: ScaleSpec, window: Window, unready: int, current: int, more: tuple[Reading, ...] = ()
) -> Recommendation:
    """How many replicas there should be: the largest number that any metric, or anything beside them (`more`), wants.
    While a metric cannot be read the pool does not shrink. `unready` are on their way; `current` is how many there
    should be now.
    """
    ready = [seen for seen in window.replicas if seen.well]
    readings = [*_Reader(spec, window, ready, unready, current).all(), *more]
    if not current and window.queued:
        text = f"calls wait and there is no replica: {window.queued}"
        readings.append(Reading(metric="waiting", value=float(window.queued), target=1.0, wants=1, why=text))
    return together(tuple(readings), current)


def together(readings: tuple[Reading, ...], current: int) -> Recommendation:
    """What several readings want together."""
    wants = [one for one in readings if one.wants is not None]
    if not wants:
        return Recommendation(count=None, reason="no metric can be read", readings=readings)
    largest = max(wants, key=lambda one: one.wants or 0)
    urgent = max((one.wants or 0 for one in wants if one.urgent), default=None)
    silent = [one.metric for one in readings if one.wants is None]
    if silent and (largest.wants or 0) < current:
        reason = f"{silent[0]} cannot be read: not shrunk"
        return Recommendation(count=None, reason=reason, readings=readings, urgent=urgent)
    return Recommendation(count=largest.wants, reason=_why(largest, current), readings=readings, urgent=urgent)


def _why(largest: Reading, current: int) -> str:
    if largest.why:
        return largest.why
    shown = "-" if largest.value is None else f"{largest.value:.3g}"
    near = "stays at" if largest.wants == current else "wants"
    return f"{largest.metric} is {shown} (target {largest.target:g}): {near} {largest.wants}"


class _Reader:
    """Reads each metric that has a target."""

    def __init__(self, spec: ScaleSpec, window: Window, ready: list[ReplicaSeen], unready: int, current: int) -> None:
        self._spec = spec
        self._window = window
        self._ready = ready
        self._unready = unready
        self._current = current

    def all(self) -> list[Reading]:
        """One reading a metric, in the order of the spec."""
        targets, ready = self._spec.targets, self._ready
        found: list[Reading] = []
        if targets.utilisation is not None:
            found.append(self._each("utilisation", targets.utilisation, self._utilisation()))
        if targets.queue is not None:
            found.append(self._queue(targets.queue))
        for name, target, values in (
            ("in_flight", targets.in_flight, [float(one.in_flight) for one in ready]),
            ("gpu", targets.gpu, [one.gpu for one in ready]),
            ("kv_usage", targets.kv_usage, [one.kv_usage for one in ready]),
            ("ttft", targets.ttft, [one.ttft_s for one in ready]),
        ):
            if target is not None:
                found.append(self._each(name, target, values))
        if targets.rps is not None:
            found.append(self._total("rps", targets.rps, self._window.rps))
        if targets.p95 is not None:
            found.append(self._latency("p95", targets.p95))
        return found

    def _utilisation(self) -> list[float | None]:
        """Of each replica, with its share of those who wait here: late binding lets nobody wait at a replica."""
        ready = self._ready
        share = self._window.queued / len(ready) if ready else 0.0
        return [(one.in_flight + share) / one.seats for one in ready]

    def _each(self, name: str, target: Target, values: list[float | None] | list[float]) -> Reading:
        told = [value for value in values if value is not None and isfinite(value) and value >= 0]
        missing = len(values) - len(told)
        band = band_of(target, self._spec.tolerance)
        wants = want_each(told, missing, self._unready, target.target, band, self._current)
        mean = fsum(told) / len(told) if told else None
        return Reading(metric=name, value=mean, target=target.target, wants=wants, missing=missing)

    def _queue(self, target: Target) -> Reading:
        waiting = self._window.queued + sum(one.waiting or 0 for one in self._ready)
        return self._total("queue", target, float(waiting))

    def _total(self, name: str, target: Target, total: float | None) -> Reading:
        if total is None:
            return Reading(metric=name, value=None, target=target.target, wants=None)
        wants = want_total(total, target.target, band_of(target, self._spec.tolerance), self._current)
        value = total / self._current if self._current else total
        return Reading(metric=name, value=value, target=target.target, wants=wants)

    def _latency(self, name: str, target: Target) -> Reading:
        value, calls = self._window.p95_s, self._window.answers
        if value is None and calls == 0 and not self._window.queued and not any(one.in_flight for one in self._ready):
            value = 0.0  # nobody is here, so nobody waits
        wants = None
        if value is not None:
            band, ready = band_of(target, self._spec.tolerance), len(self._ready)
            wants = want_ratio(value / target.target, ready, band, self._current)
            if (calls or 0) < FEW:  # one slow call of a few is no reason to grow
                wants = min(wants, self._current)
        return Reading(metric=name, value=value, target=target.target, wants=wants)
