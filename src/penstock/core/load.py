"""What is known of one replica's load and speed: its seat at the table. Written by the Gate, read by routing.

Averages are written explicitly and read as of a time (`…_at(now)`): reading changes nothing.
"""

from math import exp, inf
from typing import Final

from penstock.base.nouns import EngineStats, GpuReading, Replica
from penstock.core.health import Health
from penstock.core.prefix import Cache

ALPHA: Final = 0.1
"""Weight of a new observation in the means [R4]."""
FADE_S: Final = 60.0
"""Time in which an old mean fades to 1/e, so that a replica once slow or failing is tried again."""


class PeakEwma:
    """Peak-sensitive mean of a latency: jumps up to a new peak at once, fades down with time.

    Source: Finagle's and tower's PeakEwma; the read is time-projected and pure, as in linkerd2-proxy.
    """

    __slots__ = ("at", "value")

    def __init__(self) -> None:
        self.value: float | None = None
        self.at = 0.0

    def observe(self, sample_s: float, decay_s: float, now: float) -> None:
        """Take a sample: a peak replaces the estimate, anything lower is mixed in by the time that has passed."""
        if self.value is None or sample_s > self.value:
            self.value = sample_s
        else:
            keep = exp((self.at - now) / decay_s)
            self.value = keep * self.value + (1 - keep) * sample_s
        self.at = now

    def prime(self, sample_s: float, now: float) -> None:
        """Begin with this estimate."""
        self.value, self.at = sample_s, now

    def value_at(self, decay_s: float, initial_s: float, now: float) -> float:
        """The estimate in seconds as of now, faded; `initial_s` while nothing was measured."""
        if self.value is None:
            return initial_s
        return self.value * exp((self.at - now) / decay_s)


class Seat:
    """One replica with what routing may know of it."""

    __slots__ = (
        "cache", "errors", "errors_at", "failed", "firsts", "gpu_more", "gpu_then", "gpu_used", "gpus", "gpus_until",
        "health", "id", "in_flight", "latency_at", "latency_s", "listed", "order", "peak", "pinned", "pinned_load",
        "pool", "primed_at", "queued_share", "replica", "scored", "scored_for", "scored_until", "seats", "served",
        "slow_firsts", "slow_over_s", "stats", "stats_at", "stats_until", "times_whole", "ttft_at", "ttft_s",
        "whole_at", "whole_s",
    )  # fmt: skip

    def __init__(self, replica: Replica, health: Health, order: int) -> None:
        self.id = replica.id
        self.pool = replica.pool
        self.order = order
        """Its place in the fleet, for round robin and ties."""
        self.health = health
        self.in_flight = 0
        self.served = self.failed = 0
        self.ttft_s: float | None = None
        self.ttft_at = 0.0
        self.firsts = 0
        """Streamed answers that began."""
        self.slow_firsts = 0
        """Those of them whose first byte took longer than `slow_over_s`."""
        self.slow_over_s = inf
        self.latency_s: float | None = None
        """Mean time to the whole answer of calls that are not streamed: another scale than TTFT, so another mean."""
        self.latency_at = 0.0
        self.times_whole = False
        """Its pool's strategy wants `whole_s`; nobody else pays for it."""
        self.whole_s: float | None = None
        """Mean time from sending a call to the end of its answer, streamed or not."""
        self.whole_at = 0.0
        self.peak = PeakEwma()
        self.cache = Cache(replica.id)
        self.primed_at: float | None = None
        """When a benchmark last gave the means a value to begin with; a mean of that time is its alone."""
        self.errors = self.errors_at = 0.0
        self.listed: tuple[str, ...] | None = None
        """Models that its engine listed; None: not asked yet."""
        self.stats: EngineStats | None = None
        self.stats_at = self.stats_until = 0.0
        self.pinned = 0
        """Calls that wait in the gateway for this replica and no other."""
        self.pinned_load = 0.0
        """What these alone add to the load: the engine's own queue is not always known."""
        self.queued_share = 0.0
        self.gpu_used: float | None = None
        """GPU utilisation, else KV-cache usage, 0..1, as it was read; None: it says neither."""
        self.gpu_more = 0.0
        """What a call took of the KV cache then; 0 where it was GPU utilisation that was read."""
        self.gpu_then = 0
        """Calls in flight then."""
        self.gpus: tuple[GpuReading, ...] = ()
        self.gpus_until = 0.0
        self.scored: float | None = None
        """Its sum of scores, with so many calls in flight, until then: kept by `route.sums`, for `route.sums`."""
        self.scored_for = -1
        self.scored_until = 0.0
        self.adopt(replica)

    def adopt(self, replica: Replica) -> None:
        """Take a new description of the same replica."""
        self.replica = replica
        self.seats = max(1, replica.max_concurrent_requests)  # loads are shares of it
        self.scored_until = 0.0
        self.health.seats = replica.max_concurrent_requests  # none, where all are other workers'
        self.health.refresh()

    def same_as(self, replica: Replica | None) -> bool:
        """Whether this describes the same replica, however its settings differ: its place and its pool."""
        return replica is not None and replica.url == self.replica.url and replica.pool == self.pool

    # ===== facts =====

    def began(self, took_s: float, stream: bool, decay_s: float, now: float) -> None:
        """The first content byte came `took_s` seconds after the attempt was sent."""
        self.scored_until = 0.0
        if stream:
            self.ttft_s = took_s if self.ttft_s is None else self.ttft_s + ALPHA * (took_s - self.ttft_s)
            self.ttft_at = now
            self.firsts += 1
            if took_s > self.slow_over_s:
                self.slow_firsts += 1
        else:
            self.latency_s = took_s if self.latency_s is None else self.latency_s + ALPHA * (took_s - self.latency_s)
            self.latency_at = now
        self.peak.observe(took_s, decay_s, now)

    def ended(self, took_s: float, now: float) -> None:
        """An answer was complete `took_s` seconds after the attempt was sent."""
        self.whole_s = took_s if self.whole_s is None else self.whole_s + ALPHA * (took_s - self.whole_s)
        self.whole_at = now

    def prime(self, ttft_s: float, whole_s: float | None, now: float) -> None:
        """A benchmark's times: the means of which no call has told anything begin with them. A plain answer comes
        whole, so its mean begins with the time of a whole one."""
        before, self.primed_at = self.primed_at, now
        self.scored_until = 0.0
        if self.ttft_s is None or self.ttft_at == before:
            self.ttft_s, self.ttft_at = ttft_s, now
        if self.peak.value is None or self.peak.at == before:
            self.peak.prime(ttft_s, now)
        if whole_s is None:
            return
        if self.latency_s is None or self.latency_at == before:
            self.latency_s, self.latency_at = whole_s, now
        if self.whole_s is None or self.whole_at == before:
            self.whole_s, self.whole_at = whole_s, now

    def in_vain(self, took_s: float, stream: bool, now: float) -> None:
        """A client left, or another attempt began, after so long a wait for the first byte: the true time would have
        been longer still, so it counts only where it is above what we know. Without this a replica that never answers
        looks quick."""
        known = self.ttft_s if stream else self.latency_s
        if known is None or took_s > known:
            self.began(took_s, stream, 10.0, now)

    def outcome(self, failed: bool, now: float) -> None:
        """An attempt ended well, or failed by this replica's fault."""
        rate = self.error_rate_at(now)
        if failed or rate:
            self.scored_until = 0.0
        self.errors = rate + ALPHA * (failed - rate)
        self.errors_at = now
        if failed:
            self.failed += 1
        else:
            self.served += 1

    def observed(self, stats: EngineStats, stale_after_s: float, now: float) -> None:
        """The engine's own numbers; they count until they are stale."""
        self.stats, self.stats_at, self.stats_until = stats, now, now + stale_after_s
        self._queue_changed()
        used = stats.gpu_utilisation if stats.gpu_utilisation is not None else stats.kv_usage
        self.gpu_used = None if used is None else min(1.0, max(0.0, used))
        sharers = max(stats.running or 0, self.in_flight) if stats.gpu_utilisation is None else 0  # not ours alone
        self.gpu_more = (self.gpu_used or 0.0) / sharers if sharers else 0.0
        self.gpu_then = self.in_flight

    def pinned_calls(self, more: int) -> None:
        """So many more calls wait for this replica alone; fewer, where negative."""
        self.pinned += more
        self.pinned_load = 0.3 * min(1.0, self.pinned / self.replica.max_queue_size)
        self._queue_changed()

    def _queue_changed(self) -> None:
        waiting = self.stats.waiting if self.stats is not None else None
        self.queued_share = min(1.0, (self.pinned + (waiting or 0)) / self.replica.max_queue_size)
        self.scored_until = 0.0

    def metered(self, gpus: tuple[GpuReading, ...], stale_after_s: float, now: float) -> None:
        """Its GPUs were read; the numbers count until they are stale."""
        self.gpus, self.gpus_until = gpus, now + stale_after_s

    # ===== pure reads =====

    @property
    def measured(self) -> bool:
        """Whether calls have shown how quick it is; a benchmark is no call."""
        return (self.ttft_s is not None and self.ttft_at != self.primed_at) or (
            self.latency_s is not None and self.latency_at != self.primed_at
        )

    def load_at(self, now: float) -> float:
        """F3: 0.7 x in flight / seats + 0.3 x queued / queue size, where queued are the calls pinned to it and the
        engine's own; an engine's stale queue counts as none."""
        queued = 0.3 * self.queued_share if now < self.stats_until else self.pinned_load
        return 0.7 * self.in_flight / self.seats + queued

    def queue_full(self, now: float) -> bool:
        """Whether as many calls wait for it, here and in its engine, as may."""
        waiting = self.stats.waiting if self.stats is not None and now < self.stats_until else None
        return self.pinned + (waiting or 0) >= self.replica.max_queue_size

    def error_rate_at(self, now: float) -> float:
        """Share of attempts that failed, 0..1, faded."""
        return self.errors * exp((self.errors_at - now) / FADE_S) if self.errors else 0.0

    def state_at(self, now: float) -> str:
        """F2's state: the life cycle, refined by load while healthy."""
        life = self.health.shown()
        if life != "healthy":
            return life
        if self.queue_full(now):
            return "overloaded"
        return "busy" if self.in_flight >= self.health.limit else "healthy"
