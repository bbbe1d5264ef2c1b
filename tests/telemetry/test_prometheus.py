"""The Prometheus page, read by prometheus_client's own parser."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from penstock import __version__
from penstock.base.contents import CacheView
from penstock.base.nouns import (
    AccountView,
    BenchmarkView,
    Call,
    EngineStats,
    GaugeView,
    PoolView,
    ReplicaView,
    SourceView,
)
from penstock.core.effects import Aboard, Carry, Probe, Refuse
from penstock.core.events import Arrived, Ended, Failed, Observed, Probed, Woke
from penstock.core.outliers import REASONS
from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.words import Remembered
from penstock.telemetry.families import FAMILIES
from penstock.telemetry.meter import Meter
from penstock.telemetry.prometheus import STATES, render
from tests.core.scale.pools import QUICK, World
from tests.core.scale.test_foresight import MORNING, past
from tests.telemetry.rows import record, send

REPLICA = ReplicaView(
    id="r1", url="http://127.0.0.1:1", pool="p", engine="vllm", models=["tiny"], state="busy", breaker="half_open",
    suspect=True, ejected=True, in_flight=3, seats=8, load=0.25, ttft_ewma_s=0.125, error_rate=0.5,
    stats=EngineStats(running=3, waiting=1, kv_usage=0.5, prefix_queries=100, prefix_hits=40, gpu_utilisation=0.75),
    stats_age_s=1.5, served=10, failed=2,
    benchmark=BenchmarkView(state="ok", ttft_s=0.25, tokens_per_s=64.0, age_s=9.0), pinned=5,
)  # fmt: skip
SILENT = ReplicaView(
    id="r2", url="http://127.0.0.1:2", pool="p", engine="generic", models=[], state="healthy", breaker="closed",
    suspect=False, in_flight=0, seats=8, load=0.0, ttft_ewma_s=None, error_rate=0.0, stats=None, stats_age_s=None,
    served=0, failed=0,
)  # fmt: skip
POOL = PoolView(
    name="p", strategy="adaptive", models=["tiny"], queued=2, queued_bytes=300, oldest_s=1.5,
    queued_by_priority={"high": 2}, in_flight=3, seats=16, replicas=2, healthy=2,
    panic=True, ejections={"latency": 3},
)  # fmt: skip


SOURCE = SourceView(
    pool="p", source="dns a chat.test:80", found=["h1:80", "h2:80"], missing={"h2:80": 3.0}, looked_s=1.0, good_s=2.5,
    error="", looks=5, failures=2,
)  # fmt: skip


def forecasting() -> World:
    """A pool shortly before its load comes, as on the days before."""
    world = World(replace(QUICK, max=40, forecast=ForecastSpec(ahead_s=180.0)))
    world.now = MORNING - 180.0
    world.tell(Remembered("p", past(world.now)))
    return world.run(5.0)


FORECAST = forecasting().governor.views(MORNING)[0].forecast
SCALED = [
    replace(view, forecast=FORECAST)
    for view in World(replace(QUICK, max=3, max_monthly_cost=1e6), hourly_cost=2.5).run(5).governor.views(5.0)
]
ACCOUNT = AccountView(
    kind="tenant", name="acme", model="", in_flight=1, waiting=3, concurrency=None,
    limits=[
        GaugeView(what="tokens per minute", limit=100, used=25, held=5, left=75, free_s=1.0),
        GaugeView(what="budget per day", limit=0.0, used=0.0, held=0.0, left=0.0, free_s=1.0),
    ],
)  # fmt: skip


def busy_meter() -> Meter:
    meter = Meter()
    meter.observe(1.0, Woke(), [Probe("r1", "health", 5.0)])
    meter.observe(1.0, Probed("r1", True), [])
    meter.observe(1.0, Observed("r1", None), [])
    meter.observe(1.0, Arrived(Call("c1")), [send()])
    meter.observe(2.0, Failed("c1", 1, "upstream_5xx"), [send(attempt=2)])
    meter.observe(3.0, Ended("c1", 2, 200), [record(attempts=2, hedge="won", cost=0.5)])
    meter.observe(3.0, Woke(), [Carry("g", (Aboard("c3", 0.0), Aboard("c4", 0.0)))])
    meter.observe(3.0, Arrived(Call("c2")), [Refuse("c2", "queue_full", 429)])
    return meter


def samples(page: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(page: bytes, name: str, **labels: Any) -> float:
    return samples(page)[name, frozenset(labels.items())]


CACHED = CacheView(
    entries=3, bytes=300, calls={"hit": 5, "coalesced": 2, "miss": 1, "bypass": 4}, kept=6, evicted=1, expired=1,
    invalidated=1, leading=1, following=2,
)  # fmt: skip
PAGE = render(
    busy_meter(),
    lambda: [REPLICA, SILENT],
    lambda: [POOL],
    lambda: {"connections": 4, "accepted_total": 9, "idle_s": 0.5},
    lambda: [SOURCE],
    lambda: SCALED,
    lambda: [ACCOUNT],
    lambda: {
        family.name: 1
        for family in FAMILIES
        if family.name.startswith(("ledger_", "lease_", "cache_store_", "cache_workers_", "cache_embeddings_"))
    },
    lambda: {family.name: {"1": 1, "2": 0} for family in FAMILIES if family.name.startswith("worker_")},
    cache=CACHED,
)


def test_every_family_is_shown_as_documented() -> None:
    """Each family of the table is on a page that has something for it, with its kind and its labels, and no other."""
    shown = {
        family.name: family
        for family in text_string_to_metric_families(PAGE.decode())
        if family.name.startswith("penstock_")
    }
    assert set(shown) == {f"penstock_{family.name}" for family in FAMILIES}
    for family in FAMILIES:
        metric = shown[f"penstock_{family.name}"]
        assert (metric.type, metric.documentation) == (family.kind, family.help)
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels), family.name


def test_calls() -> None:
    """An answered call is counted with all its labels, its times are in histograms, its tokens by kind."""
    labels = {"pool": "p", "model": "tiny"}
    assert value(
        PAGE, "penstock_requests_total", **labels, outcome="ok", status="2xx", priority="normal", stream="true"
    ) == 1  # fmt: skip
    assert value(PAGE, "penstock_request_duration_seconds_sum", **labels) == 2.1
    assert value(PAGE, "penstock_request_duration_seconds_bucket", **labels, le="1.28") == 0
    assert value(PAGE, "penstock_request_duration_seconds_bucket", **labels, le="2.56") == 1
    assert value(PAGE, "penstock_request_duration_seconds_bucket", **labels, le="+Inf") == 1
    assert value(PAGE, "penstock_request_duration_seconds_count", **labels) == 1
    assert value(PAGE, "penstock_time_to_first_token_seconds_count", **labels) == 1
    assert value(PAGE, "penstock_queue_time_seconds_sum", pool="p", priority="normal") == 0.02
    assert value(PAGE, "penstock_tokens_total", **labels, kind="cached") == 4
    assert value(PAGE, "penstock_tokens_total", **labels, kind="cached_estimate") == 3
    assert value(PAGE, "penstock_tenant_tokens_total", tenant="demo", kind="completion") == 21
    assert value(PAGE, "penstock_refusals_total", reason="queue_full") == 1
    assert value(PAGE, "penstock_hedges_total", pool="p", result="won") == 1


def test_replicas() -> None:
    """Attempts, failures, looks, state and the engine's own numbers are told by replica."""
    assert value(PAGE, "penstock_attempts_total", replica="r1") == 2
    assert value(PAGE, "penstock_retries_total", replica="r1") == 1
    assert value(PAGE, "penstock_attempt_failures_total", replica="r1", reason="upstream_5xx") == 1
    assert value(PAGE, "penstock_probes_total", replica="r1", result="ok") == 1
    assert value(PAGE, "penstock_scrapes_total", replica="r1", result="failed") == 1
    states = {state: value(PAGE, "penstock_replica_state", pool="p", replica="r1", state=state) for state in STATES}
    assert states == {state: float(state == "busy") for state in STATES}
    assert value(PAGE, "penstock_replica_pinned", pool="p", replica="r1") == 5
    assert value(PAGE, "penstock_replica_breaker", pool="p", replica="r1", state="half_open") == 1
    assert value(PAGE, "penstock_replica_benchmark_ttft_seconds", pool="p", replica="r1") == 0.25
    assert value(PAGE, "penstock_replica_benchmark_tokens_per_second", pool="p", replica="r1") == 64.0
    assert value(PAGE, "penstock_engine_kv_usage_ratio", pool="p", replica="r1") == 0.5
    assert value(PAGE, "penstock_engine_prefix_hits_total", pool="p", replica="r1") == 40


def test_what_is_not_known_is_not_shown() -> None:
    """A replica without metrics of its own has no engine numbers, rather than zeros."""
    names = {name for name, labels in samples(PAGE) if ("replica", "r2") in labels}
    assert "penstock_replica_in_flight" in names
    assert not [name for name in names if "engine" in name or "ttft" in name or "benchmark" in name]


def test_queues_and_the_gateway() -> None:
    """Every priority has a depth, the data plane's counters are told apart from what it holds, the process is there."""
    assert value(PAGE, "penstock_queue_depth", pool="p", priority="high") == 2
    assert value(PAGE, "penstock_queue_depth", pool="p", priority="batch") == 0
    assert value(PAGE, "penstock_gateway_held", what="connections") == 4
    assert value(PAGE, "penstock_gateway_held", what="idle_s") == 0.5
    assert value(PAGE, "penstock_gateway_events_total", what="accepted") == 9
    assert value(PAGE, "penstock_build_info", version=__version__) == 1
    assert value(PAGE, "process_resident_memory_bytes") > 0


def test_sources_of_replicas() -> None:
    """How many each has found, how old that is, and how its looks went."""
    labels = {"pool": "p", "source": "dns a chat.test:80"}
    assert value(PAGE, "penstock_source_replicas", **labels) == 2
    assert value(PAGE, "penstock_source_missing", **labels) == 1
    assert value(PAGE, "penstock_source_age_seconds", **labels) == 2.5
    assert value(PAGE, "penstock_source_looks_total", **labels, result="ok") == 3
    assert value(PAGE, "penstock_source_looks_total", **labels, result="failed") == 2


def test_pools_that_scale_themselves() -> None:
    """What such a pool runs, by state, what it should run, and what it costs."""
    assert value(PAGE, "penstock_scale_replicas", pool="p", state="ready") == 1
    assert value(PAGE, "penstock_scale_replicas", pool="p", state="loading") == 0
    assert value(PAGE, "penstock_scale_wanted", pool="p") == 1
    assert value(PAGE, "penstock_scale_recommended", pool="p") == 0
    assert value(PAGE, "penstock_scale_hourly_cost", pool="p") == 2.5
    assert value(PAGE, "penstock_scale_changes_total", pool="p", direction="up") == 0
    assert value(PAGE, "penstock_scale_alarms_total", pool="p") == 0
    assert value(PAGE, "penstock_scale_notices_total", pool="p") == 0
    assert value(PAGE, "penstock_scale_spot_dry_seconds", pool="p") == 0
    spent = value(PAGE, "penstock_scale_spent_total", pool="p", purchase="on_demand")
    assert abs((spent or 0.0) - 4 * 2.5 / 3600) < 1e-6


def test_pools_that_forecast() -> None:
    """What is expected, how far off such forecasts were, and whether they are acted upon; nothing of others."""
    assert value(PAGE, "penstock_scale_forecast_acts", pool="p") == 1
    assert value(PAGE, "penstock_scale_forecast_windows", pool="p") > 0
    for ahead in ("start", "15m", "30m"):
        assert 90 < value(PAGE, "penstock_scale_forecast_calls", pool="p", ahead=ahead) < 110
        assert value(PAGE, "penstock_scale_forecast_error_ratio", pool="p", ahead=ahead) < 0.1
    plain = render(busy_meter(), list, list, dict, scales=lambda: World(QUICK).run(5).governor.views(5.0))
    assert b"scale_wanted" in plain
    assert b"scale_forecast" not in plain


def test_what_the_cache_did_is_counted() -> None:
    """How calls got their answers, what is kept, and why answers are kept no more; without a cache nothing."""
    assert value(PAGE, "penstock_cache_calls_total", state="coalesced") == 2
    assert value(PAGE, "penstock_cache_let_go_total", why="evicted") == 1
    assert value(PAGE, "penstock_cache_bytes") == 300
    assert b"penstock_cache" not in render(busy_meter(), list, list, dict)


def test_ejections_and_panic() -> None:
    """Who is put out, whether the pool panics, and a counter for each of the three reasons, those at 0 too."""
    page = render(busy_meter(), lambda: [REPLICA, SILENT], lambda: [POOL], dict)
    assert value(page, "penstock_replica_ejected", pool="p", replica="r1") == 1
    assert value(page, "penstock_replica_ejected", pool="p", replica="r2") == 0
    assert value(page, "penstock_pool_panic", pool="p") == 1
    counts = {reason: value(page, "penstock_ejections_total", pool="p", reason=reason) for reason in REASONS}
    assert counts == {"success_rate": 0, "failure_share": 0, "latency": 3}


def test_limits_and_cost() -> None:
    """How much of each limit is used, who waits for one, and what calls cost."""
    meter = Meter()
    meter.observe(1.0, Woke(), [record(tenant="acme", cost=0.5), record(tenant="acme", cost=0.25)])
    page = render(meter, list, list, dict, list, list, lambda: [ACCOUNT])
    labels = {"kind": "tenant", "account": "acme", "model": ""}
    assert value(page, "penstock_limit_used_ratio", **labels, limit="tokens per minute") == 0.25
    assert b"budget per day" not in page
    assert value(page, "penstock_limit_waiting", tenant="acme") == 3
    assert value(page, "penstock_tenant_cost_total", tenant="acme") == 0.75


def test_an_idle_gateway_has_a_valid_page() -> None:
    """Before the first call the page parses, and shows no empty families."""
    page = render(Meter(), list, list, dict)
    assert {family.name for family in text_string_to_metric_families(page.decode())} >= {"penstock_build_info"}
    assert b"penstock_requests_total" not in page


@settings(max_examples=25)
@given(st.text(max_size=20), st.text(max_size=20))
def test_hostile_names_stay_inside_their_quotes(model: str, tenant: str) -> None:
    """Whatever a name contains, the page parses, and the name comes back."""
    meter = Meter()
    meter.observe(1.0, Woke(), [record(model=model, tenant=tenant)])
    page = render(meter, list, list, dict)
    assert value(page, "penstock_tenant_requests_total", tenant=tenant) == 1
    assert value(page, "penstock_request_duration_seconds_count", pool="p", model=model) == 1
