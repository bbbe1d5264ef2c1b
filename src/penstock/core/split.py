"""A Gate's spec divided among several workers, each with a Gate of its own: bounds that must hold for all of them
together become each one's part. Seats are not divided here: they follow demand (`shares`). Limits come as leases.
"""

from msgspec.structs import replace

from penstock.core.cache.spec import CacheSpec
from penstock.core.limits.spec import LimitsSpec
from penstock.core.spec import GateSpec, PoolSpec, PriorityBounds, QueueSpec


def part(whole: int, index: int, count: int) -> int:
    """The part of a bound that one of `count` workers keeps: all parts together are the whole, unless there are more
    workers than it; each keeps 1 at least."""
    return max(1, (whole + count - 1 - index) // count)


def split(spec: GateSpec, index: int, count: int) -> GateSpec:
    """The spec of the worker with this index (from 0)."""
    if count == 1:
        return spec
    explain = spec.explain
    if explain.calls:
        explain = replace(
            explain, calls=part(explain.calls, index, count), memory_bytes=max(1, explain.memory_bytes // count)
        )
    return replace(
        spec, pools=tuple(_pool(pool, index, count) for pool in spec.pools),
        max_waiting=part(spec.max_waiting, index, count), explain=explain,
        limits=None if spec.limits is None else _limits(spec.limits, index, count),
        cache=None if spec.cache is None else _cache(spec.cache, index, count),
        beside=spec.cache is not None and spec.cache.coalesce,
    )  # fmt: skip


def _cache(cache: CacheSpec, index: int, count: int) -> CacheSpec:
    memory_bytes = max(1, cache.memory_bytes // count)
    return replace(
        cache, entries=part(cache.entries, index, count), memory_bytes=memory_bytes,
        largest_bytes=min(cache.largest_bytes, memory_bytes),
    )  # fmt: skip


def limited(limits: LimitsSpec | None) -> bool:
    """Whether there is anything to count; prices alone are none."""
    return limits is not None and bool(limits.tenants or limits.keys or limits.tiers or limits.everybody)


def _limits(limits: LimitsSpec, index: int, count: int) -> LimitsSpec:
    """What is counted over windows is leased, and whole; a steady pace is divided."""
    shaping, shared = limits.shaping, limits.shared
    if shaping is not None:
        burst = part(shaping.burst, index, count)
        shaping = replace(shaping, burst=burst, per_second=shaping.per_second / count)
    if shared is not None:
        shared = replace(shared, share=shared.share / count)
    return replace(limits, shaping=shaping, shared=shared)


def pins(pool: PoolSpec) -> bool:
    """Whether calls of the pool may wait for one replica alone."""
    return (pool.sticky is not None and pool.sticky.pin) or bool(getattr(pool.strategy, "pin", False))


def _pool(pool: PoolSpec, index: int, count: int) -> PoolSpec:
    retries, hedge = pool.retries, pool.hedge
    if hedge is not None:
        hedge = replace(hedge, budget_min_per_s=hedge.budget_min_per_s / count)
    return replace(
        pool, queue=_queue(pool.queue, index, count), hedge=hedge,
        retries=replace(retries, budget_min_per_s=retries.budget_min_per_s / count),
    )  # fmt: skip


def _queue(queue: QueueSpec, index: int, count: int) -> QueueSpec:
    parts: dict[str, int | None] = {}
    for name in PriorityBounds.__struct_fields__:
        bound: int | None = getattr(queue.max_per_priority, name)
        parts[name] = None if bound is None else part(bound, index, count)
    return replace(
        queue, max=part(queue.max, index, count), max_bytes=max(1, queue.max_bytes // count),
        max_per_tenant=None if queue.max_per_tenant is None else part(queue.max_per_tenant, index, count),
        max_in_flight=None if queue.max_in_flight is None else part(queue.max_in_flight, index, count),
        max_per_priority=PriorityBounds(**parts),
    )  # fmt: skip
