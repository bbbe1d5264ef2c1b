"""The panic window: a burst is met at once, by what the last seconds say, and nothing shrinks until it is over.

Rules and constants are those of Knative's pod autoscaler (https://knative.dev/docs/serving/autoscaling/kpa-specific/).
What it calls a metric over its target is here *demand*: how many replicas the calls that are here would keep at their
target, as `demand_of` says. Three things are ours: an average is taken over looks, not over seconds; where most of the
replicas are ill a backlog is no burst; and where replicas are slow to start, which Knative's are not, a burst must
have lasted for a while: what is ordered for a short one comes when it is over, and is paid for longer than it lasted.
"""

from collections import deque
from math import ceil, fsum, isfinite

from penstock.core.scale.recommend import MOST, up_to
from penstock.core.scale.record import Reading
from penstock.core.scale.spec import PanicWindow, Targets
from penstock.core.scale.window import Window

MOST_KEPT = 4096
"""Looks kept: enough for an hour of them, one a second."""


def demand_of(targets: Targets, window: Window) -> float | None:
    """Replicas that would be on target with the calls that are here and come: the most that any target of calls says.
    None: there is no such target, or nothing to compare with."""
    ready = [one for one in window.replicas if one.well]
    calls = window.queued + sum(one.in_flight for one in ready)
    waiting = window.queued + sum(one.waiting or 0 for one in ready)
    seats = [one.seats for one in ready or window.replicas]
    found: list[float] = []
    if targets.utilisation is not None and seats:
        found.append(calls / (targets.utilisation.target * max(1.0, fsum(seats) / len(seats))))
    if targets.in_flight is not None:
        found.append(calls / targets.in_flight.target)
    if targets.rps is not None and window.rps_now is not None:
        found.append(window.rps_now / targets.rps.target)
    if targets.queue is not None:
        found.append(waiting / targets.queue.target)
    return max(found, default=None)


class Panic:
    """One pool's."""

    __slots__ = ("_demand", "_lasts_s", "_looks", "_over_at", "_ready", "most", "spec")

    def __init__(self, spec: PanicWindow) -> None:
        self.spec = spec
        self._looks: deque[tuple[float, float]] = deque(maxlen=MOST_KEPT)
        """When, and the demand."""
        self._over_at: float | None = None
        """When the demand was last above the threshold; None: all is calm."""
        self.most = 0
        """The most that was wanted since it began."""
        self._demand = 0.0
        """Of the last seconds, as it was seen last."""
        self._ready = 1
        self._lasts_s = 0.0
        """How long a burst must have lasted; 0: its mean over the panic window decides."""

    @property
    def on(self) -> bool:
        """Whether there is a panic."""
        return self._over_at is not None

    def see(self, demand: float | None, ready: int, now: float, startup_s: float | None = None) -> int | None:
        """A look, with what is demanded (None: it cannot be told) of how many replicas, which take so long to start
        (None: not known). How many there should be at least; None: all is calm."""
        spec, looks = self.spec, self._looks
        slow = startup_s is not None and startup_s > spec.stable_window_s
        self._lasts_s = spec.starts * startup_s if startup_s is not None and slow else 0.0
        oldest = now - max(spec.stable_window_s, self._lasts_s)
        while len(looks) > 1 and looks[1][0] <= oldest:  # the one before tells that the window is whole
            looks.popleft()
        over = False
        if demand is not None and demand >= 0:
            looks.append((now, demand if isfinite(demand) else float(MOST)))
            over = self._judge(max(1, ready), now)
        if over:
            self._over_at = now
        elif self._over_at is not None and now - self._over_at > spec.stable_window_s:
            self._over_at, self.most = None, 0
        if self._over_at is None:
            return None
        self.most = max(self.most, self._wants(max(1, ready), now))
        return self.most

    def reading(self) -> Reading:
        """What it wants, as a reading: its value is the demand of the last seconds, its target what is ready."""
        text = f"a burst: calls for {self._demand:.3g} replicas, {self._ready} ready: wants {self.most}"
        return Reading(
            metric="panic", value=self._demand, target=self._ready, wants=self.most, urgent=True, why=text
        )  # fmt: skip

    # ===== parts =====

    def _judge(self, ready: int, now: float) -> bool:
        self._ready = ready
        window_s = self.spec.stable_window_s * self.spec.window_percent / 100
        self._demand = self._least(now) if self._lasts_s else self._mean(window_s, now)
        return up_to(self._demand) / ready >= self.spec.threshold_percent / 100

    def _wants(self, ready: int, now: float) -> int:
        """By the last seconds or by the whole window, whichever is more; at most so many times those that are ready. Of
        a burst that must have lasted: what all of it asked for."""
        wanted = self._demand if self._lasts_s else max(self._demand, self._mean(self.spec.stable_window_s, now))
        return min(up_to(wanted), ceil(self.spec.max_scale_up_rate * ready))

    def _least(self, now: float) -> float:
        """Over the looks of as long as a burst must last; nothing where it was not looked for so long."""
        looks, since = self._looks, now - self._lasts_s
        return min(demand for at, demand in looks if at > since) if looks[0][0] <= since else 0.0

    def _mean(self, window_s: float, now: float) -> float:
        """Over the looks of so long; the last one always counts."""
        looks = self._looks
        if not looks:
            return 0.0
        values = [demand for at, demand in looks if at > now - window_s] or [looks[-1][1]]
        return fsum(values) / len(values)
