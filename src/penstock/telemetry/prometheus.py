"""The Prometheus page: the meter's numbers, the replicas' and pools' states, and what the data plane holds.

Every family that is shown stands in `families`, with its meaning. The page is made on the loop that serves calls, so
its lines are written here: through prometheus_client's objects a sample costs ten times as much (150 ms at 1,000
replicas, 15 here). That library still brings the process' own metrics, and in the tests its parser reads the page.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from penstock import __version__
from penstock.base.contents import CacheView
from penstock.base.nouns import PRIORITIES, AccountView, BenchmarkView, EngineStats, PoolView, ReplicaView, SourceView
from penstock.core.outliers import REASONS
from penstock.core.scale.view import ScaleView
from penstock.telemetry.families import BY_NAME, PREFIX
from penstock.telemetry.histogram import Histogram
from penstock.telemetry.meter import MAX_NAMES, Meter

STATES = ("provisioning", "warming", "healthy", "busy", "overloaded", "unhealthy", "draining", "gone")
BREAKER = ("closed", "half_open", "open")

Sample = tuple[str, float]
"""Labels as they are written, and the value."""

_PROCESS = CollectorRegistry(auto_describe=False)
ProcessCollector(registry=_PROCESS)
_SILENT = EngineStats()
_UNTESTED = BenchmarkView(state="given_up")


def render(
    meter: Meter,
    replicas: Callable[[], list[ReplicaView]],
    pools: Callable[[], list[PoolView]],
    counters: Callable[[], Mapping[str, float]],
    sources: Callable[[], list[SourceView]] = list,
    scales: Callable[[], list[ScaleView]] = list,
    accounts: Callable[[], list[AccountView]] = list,
    ledger: Callable[[], Mapping[str, float]] | None = None,
    workers: Callable[[], Mapping[str, Mapping[str, float]]] | None = None,
    cache: CacheView | None = None,
) -> bytes:
    """The page that Prometheus scrapes, in its text format 0.0.4.

    `counters` names what the data plane holds, and, under names that end in `_total`, what has happened.
    `ledger` has values by the names of their families, `workers` by those and the worker.
    """
    lines = [
        *_family("build_info", [(_labels(version=__version__), 1)]),
        *_calls(meter),
        *_tenants(meter),
        *_limits(accounts()[:MAX_NAMES]),
        *_attempts(meter),
        *_fleet(replicas()),
        *_queues(pools()),
        *_sources(sources()),
        *_scaled(scales()),
        *(line for name, value in (ledger() if ledger else {}).items() for line in _family(name, [("", value)])),
        *_cache(cache),
        *_gateway(counters()),
        *_workers(workers() if workers else {}),
        "",
    ]
    return "\n".join(lines).encode() + generate_latest(_PROCESS)


# ===== the text format =====


def _text(value: object) -> str:
    """A label's value, escaped."""
    text = str(value)
    if "\\" in text or '"' in text or "\n" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text


def _labels(**labels: object) -> str:
    return ",".join(f'{name}="{_text(value)}"' for name, value in labels.items())


def _number(value: float) -> str:
    return repr(value) if type(value) is float else str(int(value))


def _head(name: str) -> tuple[str, str]:
    family = BY_NAME[name]
    return f"# HELP {family.shown} {family.help}", f"# TYPE {family.shown} {family.kind}"


def _family(name: str, samples: Iterable[Sample]) -> list[str]:
    shown = BY_NAME[name].shown
    lines = [f"{shown}{{{labels}}} {_number(value)}" for labels, value in samples]
    return [*_head(name), *lines] if lines else []


def _histograms(name: str, series: Iterable[tuple[str, Histogram]]) -> list[str]:
    shown = PREFIX + name
    lines: list[str] = []
    for labels, histogram in series:
        below = 0
        for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts):
            below += count
            lines.append(f'{shown}_bucket{{{labels},le="{bound}"}} {below}')
        lines.append(f"{shown}_sum{{{labels}}} {histogram.sum!r}")
        lines.append(f"{shown}_count{{{labels}}} {below}")
    return [*_head(name), *lines] if lines else []


# ===== calls =====


def _calls(meter: Meter) -> Iterator[str]:
    yield from _family(
        "requests",
        [
            (
                _labels(
                    pool=pool, model=model, outcome=outcome, status=f"{status}xx", priority=_priority(priority),
                    stream=str(stream).lower(),
                ),
                count[0],
            )
            for (pool, model, outcome, status, priority, stream), count in meter.calls.items()
        ],
    )  # fmt: skip
    models = [(_labels(pool=pool, model=model), one) for (pool, model), one in meter.models.items()]
    yield from _histograms("request_duration_seconds", [(labels, one.duration) for labels, one in models])
    yield from _histograms("time_to_first_token_seconds", [(labels, one.first_token) for labels, one in models])
    yield from _histograms("time_per_output_token_seconds", [(labels, one.per_token) for labels, one in models])
    yield from _histograms(
        "queue_time_seconds",
        [(_labels(pool=pool, priority=_priority(index)), one) for (pool, index), one in meter.queue.items()],
    )
    yield from _family(
        "tokens",
        [
            (f'{labels},kind="{kind}"', count)
            for labels, one in models
            for kind, count in (
                ("prompt", one.prompt_tokens),
                ("completion", one.completion_tokens),
                ("cached", one.cached_tokens),
                ("cached_estimate", one.cached_estimate),
            )
        ],
    )
    yield from _family("refusals", [(_labels(reason=label), count) for label, count in meter.refusals.items()])
    yield from _family(
        "hedges", [(_labels(pool=pool, result=result), count) for (pool, result), count in meter.hedges.items()]
    )
    yield from _family("groups", [(_labels(calls=str(size)), count) for size, count in sorted(meter.groups.items())])


def _priority(index: int) -> str:
    return PRIORITIES[index] if 0 <= index < len(PRIORITIES) else "other"


def _tenants(meter: Meter) -> Iterator[str]:
    tenants = [(_labels(tenant=name), one) for name, one in meter.tenants.items()]
    yield from _family("tenant_requests", [(labels, one.calls) for labels, one in tenants])
    yield from _family(
        "tenant_tokens",
        [
            (f'{labels},kind="{kind}"', count)
            for labels, one in tenants
            for kind, count in (("prompt", one.prompt_tokens), ("completion", one.completion_tokens))
        ],
    )

    yield from _family("tenant_cost", [(labels, one.cost) for labels, one in tenants if one.cost])


def _limits(views: list[AccountView]) -> Iterator[str]:
    yield from _family(
        "limit_used_ratio",
        [
            (_labels(kind=one.kind, account=one.name, model=one.model, limit=gauge.what), gauge.used / gauge.limit)
            for one in views
            for gauge in one.limits
            if gauge.limit
        ],
    )
    tenants = [one for one in views if one.kind == "tenant" and not one.model]
    yield from _family("limit_waiting", [(_labels(tenant=one.name), one.waiting) for one in tenants])


# ===== replicas and pools =====


def _attempts(meter: Meter) -> Iterator[str]:
    replicas = [(_labels(replica=name), one) for name, one in meter.replicas.items()]
    yield from _family("attempts", [(labels, one.attempts) for labels, one in replicas])
    yield from _family("retries", [(labels, one.retries) for labels, one in replicas])
    yield from _family(
        "attempt_failures",
        [
            (f"{labels},{_labels(reason=label)}", count)
            for labels, one in replicas
            for label, count in one.failures.items()
        ],
    )
    for family, pairs in (
        ("probes", [(labels, one.probes) for labels, one in replicas]),
        ("scrapes", [(labels, one.scrapes) for labels, one in replicas]),
    ):
        yield from _family(
            family,
            [
                (f'{labels},result="{result}"', pair[ok])
                for labels, pair in pairs
                for ok, result in enumerate(("failed", "ok"))
            ],
        )


_REPLICA: dict[str, Callable[[ReplicaView], float | None]] = {
    "replica_suspect": lambda one: one.suspect,
    "replica_ejected": lambda one: one.ejected,
    "replica_in_flight": lambda one: one.in_flight,
    "replica_pinned": lambda one: one.pinned,
    "replica_seats": lambda one: one.seats,
    "replica_load": lambda one: one.load,
    "replica_error_ratio": lambda one: one.error_rate,
    "replica_ttft_seconds": lambda one: one.ttft_ewma_s,
    "replica_benchmark_ttft_seconds": lambda one: (one.benchmark or _UNTESTED).ttft_s,
    "replica_benchmark_tokens_per_second": lambda one: (one.benchmark or _UNTESTED).tokens_per_s,
    "replica_served": lambda one: one.served,
    "replica_failed": lambda one: one.failed,
    "engine_running": lambda one: (one.stats or _SILENT).running,
    "engine_waiting": lambda one: (one.stats or _SILENT).waiting,
    "engine_kv_usage_ratio": lambda one: (one.stats or _SILENT).kv_usage,
    "engine_gpu_utilisation_ratio": lambda one: (one.stats or _SILENT).gpu_utilisation,
    "engine_prefix_queries": lambda one: (one.stats or _SILENT).prefix_queries,
    "engine_prefix_hits": lambda one: (one.stats or _SILENT).prefix_hits,
    "engine_stats_age_seconds": lambda one: one.stats_age_s,
}
_POOL: dict[str, Callable[[PoolView], float]] = {
    "queue_bytes": lambda one: one.queued_bytes,
    "queue_oldest_seconds": lambda one: one.oldest_s,
    "pool_in_flight": lambda one: one.in_flight,
    "pool_seats": lambda one: one.seats,
    "pool_replicas": lambda one: one.replicas,
    "pool_healthy_replicas": lambda one: one.healthy,
    "pool_panic": lambda one: one.panic,
}


def _fleet(views: list[ReplicaView]) -> Iterator[str]:
    replicas = [(_labels(pool=one.pool, replica=one.id), one) for one in views]
    yield from _family(
        "replica_state",
        [(f'{labels},state="{state}"', one.state == state) for labels, one in replicas for state in STATES],
    )
    yield from _family(
        "replica_breaker",
        [(f'{labels},state="{state}"', one.breaker == state) for labels, one in replicas for state in BREAKER],
    )
    for name, read in _REPLICA.items():
        values = [(labels, read(one)) for labels, one in replicas]
        yield from _family(name, [(labels, value) for labels, value in values if value is not None])


def _queues(views: list[PoolView]) -> Iterator[str]:
    yield from _family(
        "queue_depth",
        [
            (_labels(pool=pool.name, priority=priority), count)
            for pool in views
            for priority, count in (dict.fromkeys(PRIORITIES, 0) | pool.queued_by_priority).items()
        ],
    )
    pools = [(_labels(pool=one.name), one) for one in views]
    for name, read in _POOL.items():
        yield from _family(name, [(labels, read(one)) for labels, one in pools])
    yield from _family(
        "ejections",
        [
            (_labels(pool=pool.name, reason=reason), pool.ejections.get(reason, 0))
            for pool in views
            for reason in REASONS
        ],
    )


def _sources(views: list[SourceView]) -> Iterator[str]:
    sources = [(_labels(pool=one.pool, source=one.source), one) for one in views]
    yield from _family("source_replicas", [(labels, len(one.found)) for labels, one in sources])
    yield from _family("source_missing", [(labels, len(one.missing)) for labels, one in sources])
    ages = [(labels, one.good_s) for labels, one in sources]
    yield from _family("source_age_seconds", [(labels, age) for labels, age in ages if age is not None])
    yield from _family(
        "source_looks",
        [
            (f'{labels},result="{result}"', count)
            for labels, one in sources
            for result, count in (("failed", one.failures), ("ok", one.looks - one.failures))
        ],
    )


_SCALE: dict[str, Callable[[ScaleView], float | None]] = {
    "scale_wanted": lambda one: one.wanted,
    "scale_recommended": lambda one: None if one.last is None else one.last.recommended,
    "scale_hourly_cost": lambda one: one.hourly_cost,
    "scale_failed_starts": lambda one: one.failures,
    "scale_blind": lambda one: bool(one.blind),
    "scale_min": lambda one: one.min,
    "scale_max": lambda one: one.max,
    "scale_scheduled": lambda one: bool(one.schedule),
    "scale_month_cost": lambda one: one.month_cost,
    "scale_ration": lambda one: one.ration,
    "scale_turns": lambda one: one.turns,
    "scale_panic": lambda one: one.panic,
    "scale_alarms": lambda one: one.alarms,
    "scale_notices": lambda one: one.notices,
    "scale_spot_dry_seconds": lambda one: one.dry_s,
    "scale_forecast_acts": lambda one: None if one.forecast is None else one.forecast.acts,
    "scale_forecast_windows": lambda one: None if one.forecast is None else one.forecast.windows,
}


def _scaled(views: list[ScaleView]) -> Iterator[str]:
    pools = [(_labels(pool=one.pool), one) for one in views]
    yield from _family(
        "scale_replicas",
        [(f'{labels},state="{state}"', count) for labels, one in pools for state, count in one.states.items()],
    )
    yield from _family(
        "scale_spent",
        [(f'{labels},purchase="{purchase}"', money) for labels, one in pools for purchase, money in one.spent.items()],
    )
    for name, read in _SCALE.items():
        values = [(labels, read(one)) for labels, one in pools]
        yield from _family(name, [(labels, value) for labels, value in values if value is not None])
    yield from _family(
        "scale_changes",
        [
            (f'{labels},direction="{direction}"', count)
            for labels, one in pools
            for direction, count in (("up", one.ups), ("down", one.downs))
        ],
    )
    ahead = [
        (f'{labels},ahead="{told.name}"', told)
        for labels, one in pools
        if one.forecast is not None
        for told in one.forecast.ahead
    ]
    yield from _family("scale_forecast_calls", [(labels, told.calls) for labels, told in ahead])
    yield from _family("scale_forecast_error_ratio", [(labels, told.error) for labels, told in ahead])


def _cache(view: CacheView | None) -> Iterator[str]:
    if view is not None:
        yield from _family("cache_calls", [(_labels(state=state), count) for state, count in view.calls.items()])
        yield from _family("cache_entries", [("", view.entries)])
        yield from _family("cache_bytes", [("", view.bytes)])
        yield from _family("cache_kept", [("", view.kept)])
        ends = {"evicted": view.evicted, "expired": view.expired, "invalidated": view.invalidated}
        yield from _family("cache_let_go", [(_labels(why=why), count) for why, count in ends.items()])
        yield from _family("cache_following", [("", view.following)])


def _gateway(counters: Mapping[str, float]) -> Iterator[str]:
    held = [(name, value) for name, value in counters.items() if not name.endswith("_total")]
    happened = [(name.removesuffix("_total"), value) for name, value in counters.items() if name.endswith("_total")]
    yield from _family("gateway_held", [(_labels(what=name), value) for name, value in held])
    yield from _family("gateway_events", [(_labels(what=name), value) for name, value in happened])


def _workers(values: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for name, by_worker in values.items():
        yield from _family(name, [(_labels(worker=worker), value) for worker, value in by_worker.items()])
