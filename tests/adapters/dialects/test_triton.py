"""Triton's dialect, on pages in the forms of its backends (names, labels and help from their READMEs and sources)."""

from pathlib import Path

import pytest

from penstock.adapters.dialects.triton import Triton
from penstock.base.nouns import EngineStats

DATA = Path(__file__).parent / "data"
TRITON = Triton()


def test_a_page_of_tensorrt_llm() -> None:
    """The batch manager's own queue, batch and KV cache are read, and the GPUs' mean utilisation."""
    stats = TRITON.stats((DATA / "triton_trtllm_metrics.txt").read_bytes())
    assert (stats.running, stats.waiting, stats.kv_usage) == (7, 3, 0.4875)
    assert stats.gpu_utilisation == pytest.approx(0.8)


def test_older_backends_tell_blocks_alone() -> None:
    """Without the fraction, KV usage is the used share of all blocks."""
    body = b"""nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 1
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 4
"""
    assert TRITON.stats(body) == EngineStats(kv_usage=0.25)


@pytest.mark.parametrize(("used", "most"), [(5, 4), (0, 0), (-1, 4)])
def test_impossible_blocks_are_left_out(used: int, most: int) -> None:
    """More used blocks than there are, or none at all, give no share."""
    body = b"""nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used"} %d
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max"} %d
""" % (used, most)
    assert TRITON.stats(body) == EngineStats(gpu_utilisation=0.5)


def test_a_page_of_the_vllm_backend() -> None:
    """The vLLM backend writes vLLM's names with Triton's labels."""
    body = b"""vllm:num_requests_running{model="llama",version="1"} 6
vllm:num_requests_waiting{model="llama",version="1"} 2
vllm:gpu_cache_usage_perc{model="llama",version="1"} 0.3
nv_inference_pending_request_count{model="llama",version="1"} 0
"""
    assert TRITON.stats(body) == EngineStats(running=6, waiting=2, kv_usage=0.3)


def test_any_other_backend() -> None:
    """Where the backend tells nothing, Triton's own pending requests are what waits."""
    body = b"""nv_inference_pending_request_count{model="a",version="1"} 1
nv_inference_pending_request_count{model="b",version="1"} 3
"""
    assert TRITON.stats(body) == EngineStats(waiting=4)


def test_another_page_is_an_error() -> None:
    """A page without any of the numbers is a failed look, not an idle engine."""
    with pytest.raises(ValueError, match="not a Triton metrics page"):
        TRITON.stats(b"nv_cpu_utilization 0\n")


def test_not_ready_is_not_alive() -> None:
    """The frontend says 400 while its engine is not ready, which is no mistake of ours."""
    assert [TRITON.alive(status) for status in (200, 400, 500)] == [True, False, False]


def test_the_size_of_the_kv_cache() -> None:
    """TensorRT-LLM tells its blocks and how many tokens one has."""
    stats = TRITON.stats((DATA / "triton_trtllm_metrics.txt").read_bytes())
    assert (stats.kv_tokens, stats.kv_block_tokens) == (6240 * 64, 64)


def test_the_kv_caches_of_several_models() -> None:
    """A draft model beside its main one has a cache of its own: each has its blocks, in tokens of its own."""
    body = b"""nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="main",version="1"} 100
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="draft",version="1"} 50
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="draft",version="1"} 32
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="main",version="1"} 64
"""
    stats = TRITON.stats(body)
    assert (stats.kv_tokens, stats.kv_block_tokens) == (100 * 64 + 50 * 32, 64)


@pytest.mark.parametrize("number", ["NaN", "-1", "1e300", "+Inf"])
def test_an_impossible_size_is_left_out(number: str) -> None:
    """Of its blocks, and of a block."""
    for most, each in ((number, "64"), ("100", number)):
        body = f"""nv_gpu_utilization 0.5
nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="max"}} {most}
nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="tokens_per"}} {each}
"""
        assert TRITON.stats(body.encode()).kv_tokens is None
