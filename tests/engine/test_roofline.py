"""The roofline: facts and constants become prices, and the prices say what they should."""

import msgspec
import pytest

from penstock.engine.hardware import GPUS
from penstock.engine.models import MODELS
from penstock.engine.roofline import Constants, Roofline, roofline

H100 = GPUS["H100-SXM"]
LLAMA_8B, MIXTRAL = MODELS["meta-llama/Meta-Llama-3.1-8B"], MODELS["mistralai/Mixtral-8x7B-v0.1"]
IDEAL = Constants(
    arithmetic=1.0, bandwidth=1.0, attention=1.0, kv_bandwidth=1.0, links=1.0, knee=1e9, step_s=0.0, reduce_s=0.0,
    sequence_s=0.0,
)  # fmt: skip


def test_one_sequence_waits_for_memory() -> None:
    """Generating alone, an ideal step reads the weights once: 15 GB without the embedding, at 3.35 TB/s."""
    cost = roofline(LLAMA_8B, H100, IDEAL)
    assert cost.step_s(0, 1, 0) == pytest.approx((8.03e9 - 128256 * 4096) * 2 / 3.35e12)


def test_a_long_prompt_waits_for_arithmetic() -> None:
    """2,048 tokens of a prompt cost two operations a parameter and token, and attention over all pairs of them."""
    cost, tokens = roofline(LLAMA_8B, H100, IDEAL), 2048
    pairs = tokens * (tokens + 1) // 2
    multiplied = 2 * (8.03e9 - 2 * 128256 * 4096) * tokens
    looked = 4 * 32 * 32 * 128 * pairs
    assert cost.step_s(tokens, 0, 0, pairs) == pytest.approx((multiplied + looked) / 989e12, rel=1e-6)


def test_context_costs_reading_its_keys_and_values() -> None:
    """A step of ten sequences with 1,000 tokens each reads 10,000 x 128 KiB more than without."""
    cost = roofline(LLAMA_8B, H100, IDEAL)
    assert cost.step_s(0, 10, 10_000) - cost.step_s(0, 10, 0) == pytest.approx(10_000 * 131_072 / 3.35e12)


def test_a_step_is_linear_in_its_context() -> None:
    """The promise that the Batcher jumps by: one step on, all of a batch's steps are longer by `growth_s`."""
    for cost in (roofline(LLAMA_8B, H100, Constants()), roofline(MIXTRAL, H100, Constants(), tensor_parallel=2)):
        for context in (1000, 50_000):
            grown = cost.step_s(0, 7, context + 7) - cost.step_s(0, 7, context)
            assert grown == pytest.approx(cost.growth_s(7), rel=1e-6)


def test_tensor_parallelism_divides_work_and_adds_talk() -> None:
    """On two GPUs reading halves; with measured constants the step is longer than half by launches and all-reduces."""
    one, two = (roofline(LLAMA_8B, H100, IDEAL, tensor_parallel=gpus) for gpus in (1, 2))
    assert two.weights_s == pytest.approx(one.weights_s / 2)
    assert two.link_token_s == pytest.approx(2 * 32 * 4096 * 2 / 450e9)
    assert one.link_token_s == 0.0
    real = [roofline(LLAMA_8B, H100, Constants(), tensor_parallel=gpus).step_s(0, 8, 8000) for gpus in (1, 2, 4)]
    assert real[0] > real[1] > real[0] / 2
    assert real[1] > real[2] > real[1] / 2


def test_more_gpus_than_heads_keep_heads_twice() -> None:
    """KV cache is divided among KV heads, no further."""
    eight, sixteen = (roofline(LLAMA_8B, H100, IDEAL, tensor_parallel=gpus) for gpus in (8, 16))
    assert eight.context_token_s == sixteen.context_token_s


def test_experts_are_read_as_they_are_chosen() -> None:
    """One token reads two of Mixtral's eight experts, a large batch all of them."""
    cost = roofline(MIXTRAL, H100, IDEAL)
    assert cost.step_s(0, 1, 0) == pytest.approx(cost.weights_s + cost.experts_s / 4)
    assert cost.step_s(0, 64, 0) == pytest.approx(cost.weights_s + cost.experts_s, rel=1e-3)


def test_the_knee_is_soft() -> None:
    """Where arithmetic and memory take as long, the step takes longer than either, by the constant's measure."""
    cost = Roofline(base_s=0.0, weights_s=1.0, token_s=0.1, knee=3.0)
    assert cost.step_s(10, 0, 0) == pytest.approx(2 ** (1 / 3))
    assert cost.step_s(1000, 0, 0) == pytest.approx(100.0, rel=1e-4)


def test_reading_prompts_disturbs_reading_the_cache() -> None:
    """With `mixed` 2, context costs twice as much in a step that reads a prompt too."""
    cost = Roofline(base_s=0.0, weights_s=1.0, token_s=0.0, context_token_s=0.01, mixed=2.0)
    assert (cost.step_s(0, 1, 100), cost.step_s(1, 1, 100)) == (2.0, 3.0)


def test_a_roofline_can_be_written_in_a_file() -> None:
    """It survives the way through JSON, with the tag that names its kind."""
    cost = roofline(LLAMA_8B, H100, Constants(), weights="fp8")
    assert b'"kind":"roofline"' in msgspec.json.encode(cost)
    assert msgspec.json.decode(msgspec.json.encode(cost), type=Roofline) == cost
