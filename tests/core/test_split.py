"""A Gate's spec in parts: what holds for all workers together is divided, the rest is everybody's."""

import pytest
from msgspec.structs import replace

from penstock.core.cache.spec import CacheSpec
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, ShapingSpec, SharedSpec
from penstock.core.route.presets import ConsistentHash
from penstock.core.spec import ExplainSpec, GateSpec, HedgeSpec, PoolSpec, PriorityBounds, QueueSpec, StickySpec
from penstock.core.split import limited, part, pins, split

SPEC = GateSpec(
    pools=(
        PoolSpec(
            name="p", hedge=HedgeSpec(budget_min_per_s=3.0),
            queue=QueueSpec(
                max=100, max_bytes=1000, max_per_tenant=7, max_in_flight=5, max_per_priority=PriorityBounds(low=4)
            ),
        ),
    ),
    max_waiting=200, explain=ExplainSpec(calls=10, memory_bytes=999),
)  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("whole", [7, 8, 100, 10_001])
def test_parts_are_the_whole(whole: int, count: int) -> None:
    """The parts of a bound add up to it, and differ by one at most."""
    parts = [part(whole, index, count) for index in range(count)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1


def test_everybody_keeps_one() -> None:
    """Where there are more workers than the bound allows calls, each keeps one."""
    assert [part(2, index, 4) for index in range(4)] == [1, 1, 1, 1]


def test_bounds_are_divided() -> None:
    """Queues' bounds, rates of second attempts, and what is remembered for explanations are divided."""
    parts = [split(SPEC, index, 3) for index in range(3)]
    queues = [one.pools[0].queue for one in parts]
    assert [one.max_waiting for one in parts] == [67, 67, 66]
    assert [queue.max for queue in queues] == [34, 33, 33]
    assert [queue.max_per_tenant for queue in queues] == [3, 2, 2]
    assert [queue.max_in_flight for queue in queues] == [2, 2, 1]
    assert [queue.max_per_priority.low for queue in queues] == [2, 1, 1]
    assert {queue.max_per_priority.high for queue in queues} == {None}
    assert {queue.max_bytes for queue in queues} == {333}
    assert [one.pools[0].hedge and one.pools[0].hedge.budget_min_per_s for one in parts] == [1.0, 1.0, 1.0]
    assert parts[0].pools[0].retries.budget_min_per_s == SPEC.pools[0].retries.budget_min_per_s / 3
    assert [one.explain.calls for one in parts] == [4, 3, 3]


def test_the_rest_is_everybodys() -> None:
    """Strategy, timeouts and health are as they were; one worker has everything."""
    one = split(SPEC, 0, 2).pools[0]
    assert (one.strategy, one.timeouts, one.breaker) == tuple(
        getattr(SPEC.pools[0], name) for name in ("strategy", "timeouts", "breaker")
    )
    assert split(SPEC, 0, 1) is SPEC


def test_limits_are_leased_and_paces_divided() -> None:
    """Limits over windows are whole, for leases hold them; shaping, and a share without the store, are divided."""
    limits = LimitsSpec(
        everybody=AllowanceSpec(requests_per_minute=100), shaping=ShapingSpec(burst=5, per_second=6.0),
        shared=SharedSpec(away="local", share=0.5),
    )  # fmt: skip
    parts = [split(GateSpec(limits=limits), index, 2).limits for index in range(2)]
    assert [one.everybody for one in parts if one is not None] == [limits.everybody] * 2
    assert [one.shaping for one in parts if one is not None] == [
        ShapingSpec(burst=3, per_second=3.0), ShapingSpec(burst=2, per_second=3.0)
    ]  # fmt: skip
    assert {one.shared.share for one in parts if one is not None and one.shared is not None} == {0.25}
    assert limited(limits)
    assert not limited(LimitsSpec(shaping=limits.shaping))
    assert not limited(None)


def test_which_pools_pin() -> None:
    """A pool pins where its sessions or its hash are said to."""
    assert not pins(PoolSpec(name="p"))
    assert not pins(PoolSpec(name="p", sticky=StickySpec(header="x")))
    assert pins(PoolSpec(name="p", sticky=StickySpec(header="x", pin=True)))
    assert pins(PoolSpec(name="p", strategy=ConsistentHash(pin=True)))


def test_a_cache_is_divided() -> None:
    """Its entries and its memory, so that all together keep no more than was allowed; what is too large for one's part
    is too large."""
    spec = replace(SPEC, cache=CacheSpec(entries=10, memory_bytes=1 << 20, largest_bytes=1 << 20))
    parts = [split(spec, index, 3).cache for index in range(3)]
    assert sum(part.entries for part in parts if part is not None) == 10
    assert [(part.memory_bytes, part.largest_bytes) for part in parts if part is not None] == [(349525, 349525)] * 3


def test_workers_with_a_cache_are_beside_each_other() -> None:
    """Not where there is one, or none, or where identical calls are to run each on its own."""
    spec = replace(SPEC, cache=CacheSpec())
    alone = replace(SPEC, cache=CacheSpec(coalesce=False))
    assert split(spec, 0, 2).beside
    assert not any(each.beside for each in (split(spec, 0, 1), split(SPEC, 0, 2), split(alone, 0, 2)))
