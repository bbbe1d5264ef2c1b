"""What random sequences of facts draw from: settings with bounds so small that they are met, fleets that change."""

from typing import Any

from hypothesis import strategies as st

from penstock.base.errors import REFUSALS, Label
from penstock.base.nouns import Replica
from penstock.core import spec as parts
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, RateSpec, TiersSpec
from penstock.core.route import presets

UPSTREAM: list[Label] = [row.label for row in REFUSALS.values() if row.type == "upstream_error"]  # type: ignore[misc]
MODELS = ["m", "n", "alias", "open-1", "open-2", "unknown", ""]
TENANTS = ["t1", "t2"]
ATTEMPTS = 3
MAX_WAITING = 7

LOOKS_AT_LITTLE: Any = {"replicas": 2, "requests": 1}
OUTLIERS = st.builds(
    parts.OutlierSpec,
    enabled=st.booleans(),
    interval_s=st.just(1.0),
    ejection_s=st.sampled_from([0.0, 2.0, 30.0]),
    success_rate=st.just(parts.SuccessRateSpec(deviations=0.5, **LOOKS_AT_LITTLE)),
    failure_share=st.just(parts.FailureShareSpec(share=0.5, **LOOKS_AT_LITTLE)),
    latency=st.just(parts.LatencySpec(enabled=True, factor=1.5, at_least_s=0.1, others=1.0, **LOOKS_AT_LITTLE)),
)
"""Comparisons that need next to nothing to put somebody out."""

STRATEGIES = st.sampled_from(
    [*(kind() for kind in presets.Strategy.__args__), presets.ConsistentHash(pin=True, pin_wait_s=1.0)]
)
STICKY = [
    None,
    None,
    parts.StickySpec(header="s"),
    *(parts.StickySpec(header="s", ttl_s=5.0, pin=True, pin_wait_s=wait_s) for wait_s in (0.0, 1.0, 10.0)),
]

ORDER: Any = {
    "order": st.sampled_from(["class", "class", "score"]), "within": st.sampled_from(["fifo", "edf"]),
    "weights": st.sampled_from([{}, {"t1": 4.0}]), "burst": st.sampled_from([0, 32]),
    "max_share": st.sampled_from([1.0, 1.0, 0.5, 0.01]), "reserve": st.sampled_from([0.0, 0.25, 0.5]),
    "reserve_cost": st.sampled_from([0.0, 0.02, 1.0]),
    "share_idle_s": st.sampled_from([0.0, 1.0, 5.0]),
    "ageing_s": st.sampled_from([0.0, 1.0, 5.0]), "max_in_flight": st.sampled_from([None, None, 2]),
    "max_per_priority": st.sampled_from([parts.PriorityBounds(), parts.PriorityBounds(batch=1)]),
    "shed": st.builds(parts.ShedSpec, mode=st.sampled_from(["off", "off", "hold", "refuse"])),
}  # fmt: skip


HEDGES = [
    None,
    parts.HedgeSpec(),
    parts.HedgeSpec(delay_s=0.0, budget=1.0),
    parts.HedgeSpec(delay_s=0.2, budget=1.0),
    parts.HedgeSpec(delay_s=0.5, budget=0.5),
    parts.HedgeSpec(delay_s=1.5, budget=0.0, budget_min_per_s=0.5),
]


def pools(hedging: bool, benching: bool = False) -> st.SearchStrategy[tuple[parts.PoolSpec, ...]]:
    """One to three pools of the same names, small bounds everywhere so that they are met."""
    probes = st.just(False) if hedging or benching else st.booleans()
    made = [
        st.builds(
            parts.PoolSpec,
            name=st.just(name),
            models=st.just(models),
            strategy=STRATEGIES,
            sticky=st.sampled_from(STICKY),
            queue=st.builds(
                parts.QueueSpec,
                timeout_s=st.sampled_from([0.0, 30.0]),
                max=st.integers(1, 4),
                max_bytes=st.sampled_from([100, 1000]),
                max_per_tenant=st.sampled_from([None, 2]),
                unavailable_wait_s=st.sampled_from([0.0, 1.0, 10.0]),
                waiting_room_s=st.sampled_from([0.0, 60.0]),
                **ORDER,
            ),
            retries=st.builds(
                parts.RetrySpec,
                attempts=st.integers(1, ATTEMPTS),
                budget=st.sampled_from([0.0, 0.2]),
                budget_min_per_s=st.sampled_from([0.0, 0.2, 10.0]),
            ),
            hedge=st.sampled_from(HEDGES[2:] if hedging else HEDGES),
            breaker=st.builds(parts.BreakerSpec, open_s=st.sampled_from([1.0, 30.0])),
            outliers=OUTLIERS,
            panic=st.builds(parts.PanicSpec, below=st.sampled_from([0.0, 0.5, 1.0])),
            probe=st.builds(parts.ProbeSpec, enabled=probes, max_waiting=st.sampled_from([None, 5])),
            scrape=st.builds(parts.ScrapeSpec, enabled=st.booleans()),
            benchmark=st.builds(
                parts.BenchmarkSpec,
                enabled=st.just(True) if benching else st.booleans(),
                timeout_s=st.sampled_from([0.0, 30.0]),
            ),
        )
        for name, models in (("first", ("m", "n")), ("second", ("n",)), ("open", ()))
    ]
    return st.one_of(st.tuples(*made), st.tuples(*made[:2]), st.tuples(*made[:1]))


LIMITS = [
    None,
    None,
    LimitsSpec(
        tenants={
            "t1": AllowanceSpec(requests_per_minute=4, tokens_per_minute=3000, over_limit="queue", wait_s=20.0),
            "t2": AllowanceSpec(concurrency=2, tokens_per_hour=5000, models={"n": RateSpec(requests_per_second=1)}),
        }
    ),
    LimitsSpec(
        tiers=TiersSpec(free=AllowanceSpec(concurrency=1, over_limit="queue", wait_s=2.0)),
        everybody=AllowanceSpec(budget_per_day=0.05, tokens_per_minute=9000),
        prices={"m": PriceSpec(prompt=5.0, completion=9.0)}, unknown_price="free",
    ),
]  # fmt: skip


def specs(hedging: bool = False, benching: bool = False) -> st.SearchStrategy[parts.GateSpec]:
    """Settings as the configuration would let them pass: rules name pools that exist. With `hedging` all pools do, and
    with `benching` all have benchmarks, which begin at once."""
    return st.builds(
        parts.GateSpec,
        pools=pools(hedging, benching),
        aliases=st.just({"alias": "m"}),
        fallback=st.sampled_from([{}, {"m": ("n",)}, {"m": ("n", "open-1")}]),
        routes=st.sampled_from([(), (parts.RouteRule(pool="first", path="/v1/embeddings", model="m"),)]),
        max_waiting=st.just(MAX_WAITING),
        limits=st.sampled_from(LIMITS),
    )


def replicas(least: int = 0) -> st.SearchStrategy[tuple[Replica, ...]]:
    """Any snapshot of up to five replicas; ids come back, move between pools, change their address."""
    one = st.builds(
        Replica,
        id=st.sampled_from(["a", "b", "c", "d", "e"]),
        url=st.sampled_from(["http://one", "http://two"]),
        pool=st.sampled_from(["first", "first", "second", "open"]),
        engine=st.sampled_from(["vllm", "generic"]),
        models=st.sampled_from([{}, {}, {"m": "upstream-m"}, {"n": "n"}]),
        max_concurrent_requests=st.integers(1, 2),
        max_queue_size=st.sampled_from([1, 2, 100]),
        weight=st.sampled_from([1.0, 5.0]),
        backup=st.booleans(),
        drain=st.sampled_from([False, False, False, True]),
    )
    return st.lists(one, min_size=least, max_size=5, unique_by=lambda each: each.id).map(tuple)
