"""SGLang's dialect, on a page in the form that 0.5 writes (names, labels, help from its source and documentation)."""

from pathlib import Path

import pytest

from penstock.adapters.dialects.sglang import Sglang
from penstock.base.nouns import EngineStats

DATA = Path(__file__).parent / "data"
SGLANG = Sglang()


def test_a_page() -> None:
    """Running and queued requests, KV usage, and prompts with what the cache's tiers held of them are read exactly."""
    assert SGLANG.stats((DATA / "sglang_0_5_metrics.txt").read_bytes()) == EngineStats(
        running=162, waiting=2826, kv_usage=0.28, prefix_queries=8128902, prefix_hits=61027
    )


def test_an_older_page() -> None:
    """A server of 0.4, with one label and one counter of cached tokens, is understood by the same names."""
    body = b"""sglang:num_running_reqs{model_name="m"} 2.0
sglang:num_queue_reqs{model_name="m"} 1.0
sglang:token_usage{model_name="m"} 0.5
sglang:prompt_tokens_total{model_name="m"} 100.0
sglang:cached_tokens_total{model_name="m"} 40.0
"""
    assert SGLANG.stats(body) == EngineStats(running=2, waiting=1, kv_usage=0.5, prefix_queries=100, prefix_hits=40)


def test_ranks_of_one_engine_count_once() -> None:
    """With metrics of all schedulers on, four tensor-parallel ranks tell of one queue: it is not four times as long."""
    body = b"".join(
        b'sglang:num_running_reqs{tp_rank="%d"} 8\nsglang:num_queue_reqs{tp_rank="%d"} 3\n' % (rank, rank)
        for rank in range(4)
    )
    assert SGLANG.stats(body) == EngineStats(running=8, waiting=3)


def test_data_parallel_engines_add_up() -> None:
    """Engines beside each other have queues of their own; their KV usage is the mean."""
    body = b"".join(
        b'sglang:num_queue_reqs{dp_rank="%d",tp_rank="%d"} 3\nsglang:token_usage{dp_rank="%d",tp_rank="%d"} 0.%d\n'
        % (rank, rank, rank, rank, 2 * rank)
        for rank in range(3)
    )
    stats = SGLANG.stats(body)
    assert stats.waiting == 9
    assert stats.kv_usage == pytest.approx(0.2)


def test_priorities_are_parts_of_the_total() -> None:
    """With priority scheduling the total has an empty priority, and the parts beside it are not added to it."""
    body = b"""sglang:num_queue_reqs{model_name="m",priority="",tp_rank="0"} 5.0
sglang:num_queue_reqs{model_name="m",priority="1",tp_rank="0"} 2.0
sglang:num_queue_reqs{model_name="m",priority="5",tp_rank="0"} 3.0
"""
    assert SGLANG.stats(body).waiting == 5


def test_another_page_is_an_error() -> None:
    """A page of another engine, as of SGLang without --enable-metrics, is no look at all."""
    with pytest.raises(ValueError, match="not an SGLang metrics page"):
        SGLANG.stats(b"vllm:num_requests_running 3\n")


def test_the_size_of_the_kv_cache() -> None:
    """Told once by each rank of an engine; the engines beside each other add up, their pages do not."""
    body = b"".join(
        b'sglang:max_total_num_tokens{dp_rank="%d",tp_rank="%d"} 1000\nsglang:page_size{dp_rank="%d"} 64\n'
        % (n, rank, n)
        for n in range(2)
        for rank in range(2)
    )
    stats = SGLANG.stats(body)
    assert (stats.kv_tokens, stats.kv_block_tokens) == (2000, 64)
