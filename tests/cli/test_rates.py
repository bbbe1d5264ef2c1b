"""Rates between two looks, and quantiles of histograms."""

import pytest

from penstock.base.nouns import EngineStats
from penstock.cli.rates import Look, between, look, quantile
from tests.helpers.desk import metrics, pool_view, replica_view


def test_a_look_takes_the_pages_apart() -> None:
    """All calls, those that failed by our side (a client's mistake is none), tokens, and TTFT over all models."""
    page = metrics(ok=7, failed=2, mistakes=1, tokens=50, ttft={"0.1": 3, "+Inf": 9}) + metrics(
        ttft={"0.1": 1, "+Inf": 1}
    )
    found = look(5.0, [replica_view()], [pool_view()], page)
    assert (found.calls, found.errors, found.prompt_tokens, found.completion_tokens) == (10, 2, 50, 50)
    assert found.ttft == {0.1: 4, float("inf"): 10}


def test_rates_are_differences_over_time() -> None:
    """Calls, tokens and errors of the interval alone, for all and for each replica."""
    old = look(1.0, [replica_view(served=10, failed=1)], [], metrics(ok=10, tokens=100, ttft={"0.1": 10, "+Inf": 10}))
    new_ttft = {"0.1": 14, "+Inf": 20}
    new = look(3.0, [replica_view(served=17, failed=2)], [], metrics(ok=17, failed=1, tokens=300, ttft=new_ttft))
    rates = between(old, new)
    assert rates is not None
    assert (rates.interval_s, rates.calls_per_s, rates.completion_tokens_per_s) == (2.0, 4.0, 100.0)
    assert rates.error_share == 1 / 8
    assert (rates.replica_calls_per_s, rates.replica_error_share) == ({"gpu1": 4.0}, {"gpu1": 1 / 8})
    assert (rates.ttft_p50_s, rates.ttft_p95_s) == (0.1, 0.1)


def test_a_quiet_interval_has_no_shares() -> None:
    """Nothing happened: rates are 0, shares and quantiles are unknown."""
    page = metrics(ok=1, ttft={"0.1": 1, "+Inf": 1})
    rates = between(look(1.0, [], [], page), look(2.0, [], [], page))
    assert rates is not None
    assert (rates.calls_per_s, rates.error_share, rates.ttft_p50_s) == (0.0, None, None)


def test_a_gateway_that_started_anew_is_no_rate() -> None:
    """Counters that fell, or no time between: there is nothing to say."""
    assert between(look(1.0, [], [], metrics(ok=5)), look(2.0, [], [], metrics(ok=1))) is None
    assert between(look(1.0, [], [], metrics()), look(1.0, [], [], metrics())) is None


def hits(queries: int, hits: int) -> Look:
    """A look at a replica whose prefix cache has had so many."""
    stats = EngineStats(prefix_queries=queries, prefix_hits=hits)
    return Look(at=float(queries), replicas=[replica_view(stats=stats)], pools=[])


@pytest.mark.parametrize(("old", "new", "share"), [((100, 10), (200, 60), 0.5), ((100, 10), (101, 0), 0.0)])
def test_hits_are_those_of_late(old: tuple[int, int], new: tuple[int, int], share: float) -> None:
    """Of the interval where something was looked up; since the engine's start where it started anew."""
    rates = between(hits(*old), hits(*new))
    assert rates is not None
    assert rates.replica_hit_share == {"gpu1": share}


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0.1: 0, 0.2: 0}, 0.5, None),
        ({0.1: 10, 0.2: 10, float("inf"): 10}, 0.5, 0.05),
        ({0.1: 5, 0.2: 10, float("inf"): 10}, 0.75, 0.15),
        ({0.1: 0, 0.2: 1, float("inf"): 10}, 0.95, 0.2),
    ],
)
def test_quantiles(buckets: dict[float, int], share: float, expected: float | None) -> None:
    """Evenly spread within a bucket; beyond the last bound it is that bound."""
    found = quantile(buckets, share)
    assert found == (None if expected is None else pytest.approx(expected))
