"""What prefix-aware routing is worth, and what it costs where there is nothing to share: in virtual time.

The engines have real prefix caches (blocks of their own, least recently used first); the gateway sees bytes alone.
"""

from collections import Counter
from random import Random
from typing import NamedTuple

import pytest

from penstock.core.route.presets import STRATEGIES
from penstock.core.spec import PoolSpec, ProbeSpec, ScrapeSpec, SlowStartSpec
from penstock.engine.batcher import EngineSpec
from penstock.engine.perf import PRESETS
from tests.helpers.arena import Arena, Visit, quantile
from tests.helpers.closed import ClosedArena
from tests.helpers.prompts import poisson, text, visit

GOOD_S = 0.25
"""A first token that comes later is not a good one."""


class Outcome(NamedTuple):
    """What came of one run."""

    p95_ttft_s: float
    goodput: float
    """Share of the calls whose first token came soon."""
    hits: int
    """Tokens that the engines found cached."""
    estimate: int
    """Tokens that the gateway had believed to be cached."""
    max_mean: float
    """Seconds of calls at the busiest replica over the mean."""


def run(strategy: str, visits: list[Visit], seed: int, replicas: int = 4, kv_tokens: int = 131_072) -> Outcome:
    """These calls through a pool of H200-like engines."""
    pool = PoolSpec(
        name="main", models=("m",), strategy=STRATEGIES.spec(strategy)(), probe=ProbeSpec(enabled=False),  # type: ignore[arg-type]
        scrape=ScrapeSpec(interval_s=1.0), slow_start=SlowStartSpec(window_s=0.0),
    )  # fmt: skip
    engine = EngineSpec(cost=PRESETS["h200-8b-fp8"], kv_blocks=kv_tokens // 16)
    arena = Arena(pool, replicas, 32, engine, seed, kind="vllm")
    rows = arena.run(visits, until=visits[-1].at + 60)
    assert len(rows) == len(visits)
    firsts = [row.ttft_s or 0.0 for row in rows]
    busy: Counter[str] = Counter()
    for row in rows:
        busy[row.replica] += row.latency_s  # type: ignore[assignment]
    return Outcome(
        quantile(firsts, 0.95),
        sum(first < GOOD_S for first in firsts) / len(firsts),
        sum(each.batcher.counters.prefix_hits for each in arena.engines.values()),
        sum(row.cached_estimate for row in rows),
        max(busy.values()) * replicas / sum(busy.values()),
    )


def unique(seed: int, rate_per_s: float, count: int) -> list[Visit]:
    """Prompts of 1,000 tokens, each like no other."""
    rng = Random(seed)
    return list(poisson(rng, rate_per_s, count, lambda: text(rng, 1000), 60))


def hot(seed: int, rate_per_s: float, count: int) -> list[Visit]:
    """Half of the prompts begin with the same 1,500 tokens, the others with nothing that was seen before."""
    rng = Random(seed)
    common = text(rng, 1500)
    return list(poisson(rng, rate_per_s, count, lambda: (common if rng.random() < 0.5 else b"") + text(rng, 300), 60))


def many(seed: int, rate_per_s: float, count: int) -> list[Visit]:
    """Thirty-two prefixes of 2,000 tokens, all alike in use, each time with another question."""
    rng = Random(seed)
    prefixes = [text(rng, 2000) for _ in range(32)]
    return list(poisson(rng, rate_per_s, count, lambda: rng.choice(prefixes) + text(rng, 100), 60))


@pytest.mark.slow
@pytest.mark.parametrize("rate_per_s", [30.0, 90.0])
@pytest.mark.parametrize(("aware", "plain"), [("prefix_aware", "least_loaded"), ("adaptive", "adaptive_classic")])
def test_unique_prompts_cost_nothing(aware: str, plain: str, rate_per_s: float) -> None:
    """At a third of capacity and near it, over 20 seeds: p95 TTFT and goodput at most 3 % behind the same without."""
    pairs = [
        (run(aware, visits, seed), run(plain, visits, seed))
        for seed in range(20)
        for visits in (unique(seed, rate_per_s, 200),)
    ]
    assert sum(one.p95_ttft_s for one, _ in pairs) <= 1.03 * sum(other.p95_ttft_s for _, other in pairs)
    assert sum(one.goodput for one, _ in pairs) >= 0.97 * sum(other.goodput for _, other in pairs)
    assert all(one.estimate == 0 for one, _ in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["prefix_aware", "adaptive"])
@pytest.mark.parametrize("rate_per_s", [15.0, 60.0, 120.0])
def test_a_hot_prefix_spreads(strategy: str, rate_per_s: float) -> None:
    """With one prefix in half of the traffic no replica has more than 1.5 times the mean load, be it light or full."""
    for seed in range(5):
        found = run(strategy, hot(seed, rate_per_s, 400), seed, replicas=8)
        assert found.max_mean <= 1.5
        assert found.hits > 200 * 1500 * 0.85


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["prefix_aware", "adaptive"])
def test_prefixes_beyond_one_cache_are_found_more_often(strategy: str) -> None:
    """Where all prefixes together are twice one replica's cache: at least 1.5 times the hits of round robin, the load
    even, and the estimate within 5 % of what the engines found."""
    for seed in range(3):
        visits = many(seed, 40.0, 800)
        found = run(strategy, visits, seed, replicas=8, kv_tokens=32_768)
        assert found.hits >= 1.5 * run("round_robin", visits, seed, replicas=8, kv_tokens=32_768).hits
        assert abs(found.estimate - found.hits) <= 0.05 * found.hits
        assert found.max_mean <= 1.5


def crowded(strategy: str, seed: int, **settings: int) -> tuple[int, int, float]:
    """320 prompts of 16 prefixes (768 tokens) in random order, from 16 clients at two engines that take two at a time
    and have room for ten prefixes each: tokens found cached, those that were estimated, and the longest wait."""
    rng = Random(seed)
    turns = [number % 16 for number in range(320)]
    rng.shuffle(turns)
    prefixes = [text(rng, 768) for _ in range(16)]
    visits = [visit(f"c{at}", 0.0, prefixes[turn] + text(rng, 14), 4, 128) for at, turn in enumerate(turns)]
    pool = PoolSpec(
        name="main", models=("m",), strategy=STRATEGIES.spec(strategy)(**settings), probe=ProbeSpec(enabled=False),  # type: ignore[arg-type]
        scrape=ScrapeSpec(interval_s=1.0), slow_start=SlowStartSpec(window_s=0.0),
    )  # fmt: skip
    engine = EngineSpec(cost=PRESETS["demo"], kv_blocks=63, block_size=128)
    arena = ClosedArena(pool, 2, 2, engine, seed, kind="vllm")
    rows = arena.run_closed(visits, clients=16)
    assert [row.outcome for row in rows] == ["ok"] * 320
    hits = sum(each.batcher.counters.prefix_hits for each in arena.engines.values())
    return hits, sum(row.cached_estimate for row in rows), max(row.queue_s for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["prefix_aware", "adaptive"])
def test_looking_ahead_finds_prefixes_where_all_seats_are_taken(strategy: str) -> None:
    """While calls wait for every seat, strict order finds no more than round robin does; looking ahead finds 1.5 times
    as much, estimates it within 5 %, and nobody waits twice as long as the longest wait without: over five orders."""
    plain = [crowded("round_robin", seed) for seed in range(5)]
    strict = [crowded(strategy, seed, max_overtaken=0) for seed in range(5)]
    looking = [crowded(strategy, seed) for seed in range(5)]
    hits = sum(each[0] for each in looking)
    assert sum(each[0] for each in strict) <= 1.1 * sum(each[0] for each in plain)
    assert hits >= 1.5 * sum(each[0] for each in plain)
    assert abs(sum(each[1] for each in looking) - hits) <= 0.05 * hits
    assert max(each[2] for each in looking) <= 2.0 * max(each[2] for each in strict)
