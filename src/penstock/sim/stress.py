"""How a fleet stood a test: what `Result` does not say, for criteria of pressure tests. It reads rows, decisions, and
the fleet once a second of virtual time.

Seconds are counted from the workload's start. What never happened counts as the whole run: a request that failed took
as long as that, and so did a fleet that never grew.
"""

from collections.abc import Callable
from math import ceil

from msgspec import Struct

from penstock.base.nouns import CallRow
from penstock.config.scenarios import Scenario
from penstock.core.scale.record import Decision
from penstock.core.scale.window import Window
from penstock.drive.kernel import Kernel
from penstock.sim.sketch import Sketch

EVERY_S = 1.0
STORM_S = 60.0
MINUTE_S = 60.0
SHOWN = 300
"""Moments of the picture over time, at most twice as many."""


class Moment(Struct, frozen=True, kw_only=True, gc=False):
    """The fleet at a time."""

    at_s: float
    there: int
    """Replicas that cost."""
    ready: int
    """Those that can take calls."""
    wanted: int
    """By the last decision; 0: none was made."""
    queued: int
    """Calls that wait in the gateway."""


class Stress(Struct, frozen=True, kw_only=True):
    """The numbers of one run. Latencies are to the end of the answer, those of failed requests included."""

    latency_p95_s: float
    minute_p95_worst_s: float
    """The worst of all minutes', by when requests ended."""
    failed_share: float
    first_answer_s: float
    """The end of the first answer, after the first arrival."""
    first_scale_s: float
    """The first decision for more replicas, after the first arrival."""
    failover_s: float
    """From the first fault to the last failed request."""
    storm_failed_share: float
    """Of the requests that ended within a minute after the first fault began."""
    capacity_back_s: float
    """From the first fault until as many replicas are ready as before it."""
    replicas_peak: int
    ready_peak: int
    hourly_cost_peak: float
    alarms: int
    """Recommendations that cannot have been meant."""
    reversals: int
    """Decisions for more after one for fewer, or the other way round."""
    calm_failed: int
    """Of the requests that came after `calm`; so the next."""
    calm_p95_s: float
    calm_reversals: int
    others_p95_s: float
    """Of all tenants but the greedy one, while it is greedy; so the next."""
    others_failed: int
    course: list[Moment]


NUMBERS = tuple(name for name in Stress.__struct_fields__ if name != "course")
"""Those that can be expected."""
MEANINGS = {
    "latency_p95_s": "end to end, p95 of all requests; one that failed took the whole run",
    "minute_p95_worst_s": "the same of the worst minute",
    "failed_share": "share of requests that failed",
    "first_answer_s": "from the first arrival to the end of the first answer",
    "first_scale_s": "from the first arrival to the first decision for more replicas; the whole run: never",
    "failover_s": "from the first fault to the last failure; 0: nothing failed",
    "storm_failed_share": "failed share of what ended within a minute after the first fault began",
    "capacity_back_s": "from the first fault until as many replicas are ready as before it; the whole run: never",
    "replicas_peak": "most replicas that were there at once",
    "ready_peak": "most replicas that could take calls at once",
    "hourly_cost_peak": "most that the fleet cost an hour at any time",
    "alarms": "recommendations that cannot have been meant",
    "reversals": "changes of direction between growing and shrinking",
    "calm_failed": "failures among what came after `calm`",
    "calm_p95_s": "end to end, p95 of what came after `calm`; one that failed took the whole run",
    "calm_reversals": "changes of direction among the decisions after `calm`",
    "others_p95_s": "end to end, p95 of all tenants but the `greedy` one, while it is greedy",
    "others_failed": "failures among these",
}
"""What they are, for the reference page."""


class Latencies:
    """End-to-end times, with those that never ended well."""

    __slots__ = ("failed", "ok")

    def __init__(self) -> None:
        self.ok = Sketch()
        self.failed = 0

    def add(self, latency_s: float, ok: bool) -> None:
        """Count a request."""
        if ok:
            self.ok.add(latency_s)
        else:
            self.failed += 1

    def p95_s(self, never_s: float) -> float:
        """`never_s` where a request at the 95th percentile failed; 0 where there are none."""
        ok, count = self.ok.count, self.ok.count + self.failed
        rank = ceil(0.95 * count)
        if rank > ok:
            return never_s
        return self.ok.quantile(rank / ok) if ok else 0.0


class Watcher:
    """Watches one run. `look` gives what the gateway knows of its pool, `spending` what the fleet costs an hour."""

    def __init__(
        self, scenario: Scenario, kernel: Kernel, start: float, look: Callable[[], Window],
        spending: Callable[[], tuple[int, float]],
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._start = start
        self._look = look
        self._spending = spending
        self._fault_at = min((fault.at_s for fault in scenario.faults), default=None)
        self._calm_s = scenario.calm_s
        self._greedy = scenario.greedy
        self._all, self._calm, self._others, self._storm = (Latencies() for _ in range(4))
        self._minutes: list[Latencies] = []
        self._first_at: float | None = None
        self._answered_s: float | None = None
        self._last_failure_s: float | None = None
        self._before = 0
        """Replicas that were ready when the first fault came."""
        self._lacking = False
        self._back_s: float | None = None
        self._grew_at: float | None = None
        self._direction = self._calm_direction = 0
        self._reversals = self._calm_reversals = self._alarms = self._wanted = 0
        self._there = self._ready = 0
        self._cost = 0.0
        self._course: list[Moment] = []
        self._stride = self._seconds = 0

    def begin(self) -> None:
        """From now on, once a second."""
        self._stride = 1
        self._sample(None)

    # ===== what it hears =====

    def over(self, row: CallRow) -> None:
        """A request ended."""
        now = self._kernel.clock() - self._start
        came, ok = now - row.latency_s, row.outcome == "ok" and row.status < 400
        if self._first_at is None or came < self._first_at:
            self._first_at = came
        self._all.add(row.latency_s, ok)
        self._minute(now).add(row.latency_s, ok)
        if ok and self._answered_s is None:
            self._answered_s = now
        if self._fault_at is not None and now >= self._fault_at:
            if not ok:
                self._last_failure_s = now
            if now < self._fault_at + STORM_S:
                self._storm.add(row.latency_s, ok)
        if self._calm_s is not None and came >= self._calm_s:
            self._calm.add(row.latency_s, ok)
        greedy = self._greedy
        if greedy is not None and row.tenant != greedy.tenant and 0 <= came - greedy.at_s < greedy.for_s:
            self._others.add(row.latency_s, ok)

    def _minute(self, now: float) -> Latencies:
        at = max(0, int(now / MINUTE_S))
        while len(self._minutes) <= at:
            self._minutes.append(Latencies())
        return self._minutes[at]

    def decided(self, decision: Decision) -> None:
        """The Governor decided about their number."""
        now = self._kernel.clock() - self._start
        self._wanted = decision.wanted
        self._alarms += bool(decision.alarm)
        change = decision.wanted - decision.was
        if not change:
            return
        direction = 1 if change > 0 else -1
        if direction > 0 and self._grew_at is None and now >= 0:
            self._grew_at = now
        self._reversals += direction == -self._direction
        self._direction = direction
        if self._calm_s is not None and now >= self._calm_s:
            self._calm_reversals += direction == -self._calm_direction
            self._calm_direction = direction

    # ===== once a second =====

    def _sample(self, _: None) -> None:
        now = self._kernel.clock() - self._start
        window = self._look()
        ready = sum(one.well for one in window.replicas)
        there, cost = self._spending()
        self._there, self._ready = max(self._there, there), max(self._ready, ready)
        self._cost = max(self._cost, cost)
        self._compare(ready, now)
        if self._seconds % self._stride == 0:
            self._course.append(Moment(at_s=now, there=there, ready=ready, wanted=self._wanted, queued=window.queued))
            if len(self._course) >= 2 * SHOWN:
                self._course, self._stride = self._course[::2], self._stride * 2
        self._seconds += 1
        self._kernel.at(self._kernel.clock() + EVERY_S, self._sample, None)

    def _compare(self, ready: int, now: float) -> None:
        """With what was ready before the first fault."""
        if self._fault_at is None or self._back_s is not None:
            return
        if now <= self._fault_at:
            self._before = ready
        elif ready < self._before:
            self._lacking = True
        elif self._lacking:
            self._back_s = now - self._fault_at

    # ===== the end =====

    def stress(self, duration_s: float) -> Stress:
        """All numbers; `duration_s` is the whole run."""
        first, never = self._first_at or 0.0, duration_s
        failed, count = self._all.failed, self._all.failed + self._all.ok.count
        storm = self._storm.failed + self._storm.ok.count
        back = self._back_s if self._lacking else 0.0
        last = self._last_failure_s
        return Stress(
            latency_p95_s=self._all.p95_s(never),
            minute_p95_worst_s=max((minute.p95_s(never) for minute in self._minutes), default=0.0),
            failed_share=failed / count if count else 0.0,
            first_answer_s=never if self._answered_s is None else self._answered_s - first,
            first_scale_s=never if self._grew_at is None else max(0.0, self._grew_at - first),
            failover_s=0.0 if last is None or self._fault_at is None else last - self._fault_at,
            storm_failed_share=self._storm.failed / storm if storm else 0.0,
            capacity_back_s=never if back is None else back,
            replicas_peak=self._there, ready_peak=self._ready, hourly_cost_peak=self._cost, alarms=self._alarms,
            reversals=self._reversals, calm_failed=self._calm.failed, calm_p95_s=self._calm.p95_s(never),
            calm_reversals=self._calm_reversals, others_p95_s=self._others.p95_s(never),
            others_failed=self._others.failed, course=self._course,
        )  # fmt: skip
