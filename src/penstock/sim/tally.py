"""What came out of one run: counted as it happens, in memory that does not grow with the number of requests."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from penstock.base.nouns import CallRow, Usage
from penstock.config.scenarios import Slo
from penstock.core.fair import jain
from penstock.drive.kernel import Kernel
from penstock.sim.by_model import ByModel, ModelResult
from penstock.sim.served import Place
from penstock.sim.sketch import Sketch

MAX_TENANTS = 1000
WINDOWS = 240
"""Windows of the picture over time; when a run is longer, two become one."""


class Window:
    """A piece of time."""

    __slots__ = ("arrived", "cached", "e2e", "ended", "failed", "good", "output", "prompt", "tenants", "ttft")

    def __init__(self) -> None:
        self.arrived = 0
        self.ended = 0
        self.good = 0
        self.failed = 0
        self.prompt = 0
        """Tokens, of those that were answered; so are the next two."""
        self.cached = 0
        self.output = 0
        self.tenants: dict[str, int] = {}
        """Tokens of each."""
        self.ttft = Sketch()
        self.e2e = Sketch()

    def merge(self, other: "Window") -> None:
        """Take in the next piece."""
        self.arrived += other.arrived
        self.ended += other.ended
        self.good += other.good
        self.failed += other.failed
        self.prompt += other.prompt
        self.cached += other.cached
        self.output += other.output
        for tenant, tokens in other.tenants.items():
            self.tenants[tenant] = self.tenants.get(tenant, 0) + tokens
        self.ttft.merge(other.ttft)
        self.e2e.merge(other.e2e)


class Point(Struct, frozen=True, kw_only=True):
    """One window of the picture over time."""

    at_s: float
    arrived_per_s: float
    good_per_s: float
    failed_per_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    e2e_p50_s: float
    e2e_p95_s: float
    output_tokens_per_s: float
    """Of answers that ended then, however long they had been under way."""
    prefix_hits: float | None
    """None: nothing was answered then."""
    fairness: float | None
    """Of all that was served up to then; None: to less than two tenants."""
    cost_per_million_tokens: float | None
    """None: nothing came out then, or nothing has a price."""


class Result(Struct, frozen=True, kw_only=True):
    """The numbers of one run. Times in seconds of virtual time; shares from 0 to 1."""

    requests: int
    ok: int
    failed: int
    """Refused, timed out, broken off or left by their clients; the reasons are in `outcomes`."""
    gave_up: int
    """Of these, left by clients whose patience ended."""
    client_retries: int
    """Tries by clients that had been refused, beyond each request's first."""
    duration_s: float
    """From the first arrival to the last end."""
    ttft_mean_s: float
    ttft_p50_s: float
    ttft_p90_s: float
    ttft_p95_s: float
    ttft_p99_s: float
    e2e_mean_s: float
    e2e_p50_s: float
    e2e_p95_s: float
    e2e_p99_s: float
    queue_p95_s: float
    per_token_p50_s: float
    goodput: float
    """Share of all requests, refused ones too, that were answered within the SLO."""
    good_per_s: float
    output_tokens_per_s: float
    prefix_hits: float
    """Share of prompt tokens that engines found in their caches."""
    load_max_mean: float
    """Requests of the busiest replica over the mean."""
    fairness: float
    """Jain's index of the tokens that tenants were served; 1 where there is one tenant."""
    attempts: float
    """Per request that was sent at all."""
    cost: float
    """Of all replicas over the duration, in the scenario's money."""
    cost_per_million_tokens: float
    cost_per_hour: float
    """The mean over the duration."""
    adapter_loads: int
    """LoRA adapters that engines brought into their memory."""
    grouped: float
    """Share of all requests that went to an engine together with others."""
    calls_per_group: float
    """How many went together, on average; 0: none did."""
    outcomes: dict[str, int]
    replicas: dict[str, int]
    """Requests that ended at each."""
    points: list[Point]
    models: dict[str, ModelResult] = {}
    """By the model that was asked for, where the fleet has several pools."""


class Tally:
    """Reads rows; knows the clock only to place them."""

    def __init__(
        self, slo: Slo, replicas: Iterable[str], kernel: Kernel, place: Callable[[CallRow], Place] | None = None
    ) -> None:
        """`place`: which model a row counts for; None: models are not told apart."""
        self._slo = slo
        self._place = place
        self._models = ByModel()
        self._kernel = kernel
        self.requests = 0
        self._queue, self._per_token = Sketch(), Sketch()
        self._ttft_s = self._e2e_s = 0.0
        """Sums in the order of the ends; the rest of these two is in the windows."""
        self._good = self._prompt = self._cached = self._output = self._attempts = self._sent = 0
        self._outcomes: dict[str, int] = {}
        self._replicas = dict.fromkeys(replicas, 0)
        self._tenants: dict[str, int] = {}
        self._window_s = 1.0
        self._windows: list[Window] = []
        self.began_at: float | None = None
        self.ended_at = 0.0
        self.client_retries = 0

    def arrived(self) -> None:
        """A request came."""
        now = self._kernel.now
        if self.began_at is None:
            self.began_at = now
        self.requests += 1
        self._window(now).arrived += 1

    def over(self, row: CallRow) -> None:
        """A request ended."""
        now = self.ended_at = self._kernel.now
        window = self._window(now)
        window.ended += 1
        ok = row.outcome == "ok" and row.status < 400
        label = row.outcome if row.outcome != "ok" or ok else f"status_{row.status}"
        self._outcomes[label] = self._outcomes.get(label, 0) + 1
        if row.attempts:
            self._sent += 1
            self._attempts += row.attempts
            self._queue.add(row.queue_s)
        if row.replica:
            self._replicas[row.replica] = self._replicas.get(row.replica, 0) + 1
        place = None if self._place is None else self._place(row)
        if not ok:
            window.failed += 1
            if place is not None:
                self._models.failed(place)
            return
        usage, ttft_s = row.usage, row.ttft_s if row.ttft_s is not None else row.latency_s
        tokens = 0 if usage is None else usage.completion_tokens
        per_token_s = (row.latency_s - ttft_s) / (tokens - 1) if tokens > 1 else 0.0
        window.ttft.add(ttft_s)
        window.e2e.add(row.latency_s)
        self._ttft_s += ttft_s
        self._e2e_s += row.latency_s
        if tokens > 1:
            self._per_token.add(per_token_s)
        if usage is not None:
            self._count(window, row.tenant, usage)
        good = ttft_s <= self._slo.ttft_s and per_token_s <= self._slo.per_token_s
        if good:
            self._good += 1
            window.good += 1
        if place is not None:
            self._models.answered(place, ttft_s, row.latency_s, tokens, good)

    def _count(self, window: Window, tenant: str, usage: Usage) -> None:
        prompt, output = usage.prompt_tokens, usage.completion_tokens
        self._prompt += prompt
        self._cached += usage.cached_tokens
        self._output += output
        window.prompt += prompt
        window.cached += usage.cached_tokens
        window.output += output
        if tenant in self._tenants or len(self._tenants) < MAX_TENANTS:
            self._tenants[tenant] = self._tenants.get(tenant, 0) + prompt + output
            window.tenants[tenant] = window.tenants.get(tenant, 0) + prompt + output

    def _window(self, now: float) -> Window:
        at = int(now / self._window_s)
        while at >= WINDOWS:
            old, self._windows = self._windows, self._windows[::2]
            for window, following in zip(self._windows, old[1::2], strict=False):
                window.merge(following)
            self._window_s *= 2
            at = int(now / self._window_s)
        while len(self._windows) <= at:
            self._windows.append(Window())
        return self._windows[at]

    # ===== the end =====

    def result(self, hourly_cost: float, adapter_loads: int = 0, groups: int = 0, grouped: int = 0) -> Result:
        """All numbers. `hourly_cost` of the whole fleet; `groups`: of calls that went together, of `grouped` in all."""
        duration_s = self.ended_at - (self.began_at or 0.0) or 1.0
        loads = list(self._replicas.values())
        ttft, e2e = Sketch(), Sketch()
        for window in self._windows:
            ttft.merge(window.ttft)
            e2e.merge(window.e2e)
        ttft.total, e2e.total = self._ttft_s, self._e2e_s
        cost = hourly_cost * duration_s / 3600
        return Result(
            requests=self.requests, ok=e2e.count, failed=self.requests - e2e.count,
            gave_up=self._outcomes.get("client_gone", 0), client_retries=self.client_retries, duration_s=duration_s,
            ttft_mean_s=ttft.mean, ttft_p50_s=ttft.quantile(0.5), ttft_p90_s=ttft.quantile(0.9),
            ttft_p95_s=ttft.quantile(0.95), ttft_p99_s=ttft.quantile(0.99), e2e_mean_s=e2e.mean,
            e2e_p50_s=e2e.quantile(0.5), e2e_p95_s=e2e.quantile(0.95), e2e_p99_s=e2e.quantile(0.99),
            queue_p95_s=self._queue.quantile(0.95), per_token_p50_s=self._per_token.quantile(0.5),
            goodput=self._good / self.requests if self.requests else 0.0, good_per_s=self._good / duration_s,
            output_tokens_per_s=self._output / duration_s,
            prefix_hits=self._cached / self._prompt if self._prompt else 0.0,
            load_max_mean=max(loads) * len(loads) / sum(loads) if sum(loads) else 0.0,
            fairness=jain(self._tenants.values()) or 1.0,
            attempts=self._attempts / self._sent if self._sent else 0.0, cost=cost,
            cost_per_million_tokens=cost / self._output * 1e6 if self._output else 0.0,
            cost_per_hour=hourly_cost, adapter_loads=adapter_loads,
            grouped=grouped / self.requests if self.requests else 0.0,
            calls_per_group=grouped / groups if groups else 0.0,
            outcomes=dict(sorted(self._outcomes.items())), replicas=dict(self._replicas),
            points=self._points(hourly_cost), models=self._models.results(duration_s),
        )  # fmt: skip

    def _points(self, hourly_cost: float) -> list[Point]:
        served: dict[str, int] = {}
        points = []
        for at, window in enumerate(self._windows):
            for tenant, tokens in window.tenants.items():
                served[tenant] = served.get(tenant, 0) + tokens
            points.append(self._point(at, window, served, hourly_cost))
        return points

    def _point(self, at: int, window: Window, served: dict[str, int], hourly_cost: float) -> Point:
        width = self._window_s
        priced = hourly_cost and window.output
        return Point(
            at_s=at * width, arrived_per_s=window.arrived / width, good_per_s=window.good / width,
            failed_per_s=window.failed / width, ttft_p50_s=window.ttft.quantile(0.5),
            ttft_p95_s=window.ttft.quantile(0.95), e2e_p50_s=window.e2e.quantile(0.5),
            e2e_p95_s=window.e2e.quantile(0.95), output_tokens_per_s=window.output / width,
            prefix_hits=window.cached / window.prompt if window.prompt else None,
            fairness=jain(served.values()) if len(served) > 1 else None,
            cost_per_million_tokens=hourly_cost * width / 3600 / window.output * 1e6 if priced else None,
        )  # fmt: skip
