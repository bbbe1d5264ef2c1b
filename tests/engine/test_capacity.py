"""KV blocks that are left beside the weights: near what a real engine said, and never below nothing."""

import pytest

from penstock.engine.capacity import kv_blocks
from penstock.engine.hardware import GPUS
from penstock.engine.models import MODELS

LLAMA_8B, LLAMA_70B = MODELS["meta-llama/Meta-Llama-3.1-8B"], MODELS["meta-llama/Meta-Llama-3.1-70B"]


def test_a_real_engine_found_as_many() -> None:
    """vLLM 0.19 with Llama-3.1-8B on an RTX 4090 told 2,588 blocks; the estimate is within 3 %."""
    assert kv_blocks(LLAMA_8B, GPUS["RTX-4090"]) == pytest.approx(2588, rel=0.03)


def test_what_does_not_fit_has_no_blocks() -> None:
    """70B in bf16 does not fit on one H100; on two there is room for 33,000 tokens, on four for ten times as many."""
    h100 = GPUS["H100-SXM"]
    assert kv_blocks(LLAMA_70B, h100) == 0
    assert kv_blocks(LLAMA_70B, h100, tensor_parallel=2) == pytest.approx(33_000 / 16, rel=0.02)
    assert kv_blocks(LLAMA_70B, h100, tensor_parallel=4) > 20_000


def test_tensor_parallelism_shares_weights_and_heads() -> None:
    """Two GPUs hold more than twice what one does, since the weights are there once; beyond one KV head a GPU, a
    further GPU adds only the weights that it takes off the others."""
    h100 = GPUS["H100-SXM"]
    one, two = (kv_blocks(LLAMA_8B, h100, tensor_parallel=gpus) for gpus in (1, 2))
    eight, sixteen = (kv_blocks(LLAMA_8B, h100, tensor_parallel=gpus) for gpus in (8, 16))
    assert two > 2 * one
    assert eight < sixteen < 1.05 * eight
