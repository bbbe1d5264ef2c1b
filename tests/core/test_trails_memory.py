"""What ten thousand trails take in memory."""

import gc
import tracemalloc

import pytest

from bench.core_cost import Fleet
from penstock.core.trails import Trails


def measured(calls: int, replicas: int = 16) -> tuple[float, Trails]:
    """Bytes a remembered call takes by Python's own account, over so many, and the trails."""
    made = Fleet("adaptive", replicas, explain=calls)
    trails = made.gate._calls.books.trails
    assert trails is not None
    gc.collect()
    tracemalloc.start()
    try:
        before, kept = tracemalloc.get_traced_memory()[0], len(trails)
        for _ in range(calls - kept):
            made.turn()
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / (calls - kept), trails
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_ten_thousand_calls_take_less_than_15_mb() -> None:
    """At 16 replicas and four scorers, by Python's account of memory; the Gate's own estimate is about right."""
    each, trails = measured(2000)
    assert 10_000 * each < 15e6
    assert 0.7 < each / (trails.size / len(trails)) < 1.3
    assert not any(gc.is_tracked(trail) for trail in trails.newest())
