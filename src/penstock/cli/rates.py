"""Two looks at a running gateway, and what happened in between: rates, shares, quantiles. Pure."""

from collections.abc import Mapping
from itertools import pairwise

from msgspec import Struct, field

from penstock.adapters.exposition import Page
from penstock.base.errors import REFUSALS
from penstock.base.nouns import PoolView, ReplicaView

TTFT = "penstock_time_to_first_token_seconds_bucket"


class Look(Struct, frozen=True, kw_only=True):
    """What the gateway said at one time."""

    at: float
    """Seconds on any steady clock."""
    replicas: list[ReplicaView]
    pools: list[PoolView]
    calls: int = 0
    """Since it started, all of them."""
    errors: int = 0
    """Of them, those that failed by our side or a replica's."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ttft: dict[float, int] = field(default_factory=dict)
    """Upper bound -> calls that began within it."""


def look(at: float, replicas: list[ReplicaView], pools: list[PoolView], metrics: bytes) -> Look:
    """Take a look apart. Raises ValueError where the metrics cannot be read."""
    page = Page(metrics)
    calls = errors = 0
    for sample in page.samples("penstock_requests_total"):
        calls += int(sample.value)
        refusal = REFUSALS.get(sample.labels.get("outcome", ""))
        errors += int(sample.value) if refusal is not None and refusal.counts_for_slo else 0
    ttft: dict[float, int] = {}
    for sample in page.samples(TTFT):
        bound = float(sample.labels["le"].replace("+Inf", "inf"))
        ttft[bound] = ttft.get(bound, 0) + int(sample.value)
    return Look(
        at=at, replicas=replicas, pools=pools, calls=calls, errors=errors,
        prompt_tokens=page.count("penstock_tokens_total", kind="prompt") or 0,
        completion_tokens=page.count("penstock_tokens_total", kind="completion") or 0, ttft=ttft,
    )  # fmt: skip


class Rates(Struct, frozen=True, kw_only=True):
    """What happened between two looks; None: nothing did, so there is nothing to say."""

    interval_s: float
    calls_per_s: float
    prompt_tokens_per_s: float
    completion_tokens_per_s: float
    error_share: float | None
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    replica_calls_per_s: dict[str, float]
    replica_error_share: dict[str, float]
    replica_hit_share: dict[str, float]
    """Of the prompt tokens that an engine looked up in its prefix cache, those that it had."""


def between(old: Look, new: Look) -> Rates | None:
    """The rates; None where they cannot be told: no time has passed, or the gateway has started anew."""
    span = new.at - old.at
    calls = new.calls - old.calls
    if span <= 0 or calls < 0 or new.completion_tokens < old.completion_tokens:
        return None
    ttft = {bound: count - old.ttft.get(bound, 0) for bound, count in new.ttft.items()}
    before = {one.id: one for one in old.replicas}
    done: dict[str, float] = {}
    failed: dict[str, float] = {}
    hits: dict[str, float] = {}
    for one in new.replicas:
        was = before.get(one.id)
        served, lost = (one.served - was.served, one.failed - was.failed) if was else (0, 0)
        if served >= 0 and lost >= 0:  # else it is another one of that name
            done[one.id] = (served + lost) / span
            if served + lost:
                failed[one.id] = lost / (served + lost)
        share = _hits(was, one)
        if share is not None:
            hits[one.id] = share
    return Rates(
        interval_s=span, calls_per_s=calls / span, prompt_tokens_per_s=(new.prompt_tokens - old.prompt_tokens) / span,
        completion_tokens_per_s=(new.completion_tokens - old.completion_tokens) / span,
        error_share=(new.errors - old.errors) / calls if calls else None,
        ttft_p50_s=quantile(ttft, 0.5), ttft_p95_s=quantile(ttft, 0.95),
        replica_calls_per_s=done, replica_error_share=failed, replica_hit_share=hits,
    )  # fmt: skip


def _hits(old: ReplicaView | None, new: ReplicaView) -> float | None:
    """Of late, else since the engine started."""
    stats = new.stats
    if stats is None or stats.prefix_hits is None or not stats.prefix_queries:
        return None
    was = old.stats if old is not None else None
    if was is not None and was.prefix_hits is not None and was.prefix_queries is not None:
        queries, hits = stats.prefix_queries - was.prefix_queries, stats.prefix_hits - was.prefix_hits
        if queries > 0 and 0 <= hits <= queries:
            return hits / queries
    return min(1.0, stats.prefix_hits / stats.prefix_queries)


def quantile(buckets: Mapping[float, int], share: float) -> float | None:
    """A quantile of a histogram (upper bound -> values up to it), evenly spread within a bucket as Prometheus has it;
    beyond the last bound: that bound. None: it is empty."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total <= 0:
        return None
    wanted = share * total
    for low, high in pairwise([0.0, *bounds]):
        below = buckets.get(low, 0)
        if buckets[high] >= wanted:
            if high == float("inf"):
                return low
            inside = buckets[high] - below
            return low + (high - low) * ((wanted - below) / inside if inside else 1.0)
    return None
