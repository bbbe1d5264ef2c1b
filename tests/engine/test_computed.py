"""Engines by what people know of them: names as they are typed, vLLM's defaults, memory, and honest doubts."""

import pytest

from penstock.engine.capacity import kv_blocks
from penstock.engine.computed import computed, matches, short
from penstock.engine.hardware import GPUS
from penstock.engine.models import MODELS
from penstock.engine.rent import RENTS
from penstock.engine.roofline import CALIBRATED, roofline

LLAMA_8B, LLAMA_70B = MODELS["meta-llama/Meta-Llama-3.1-8B"], MODELS["meta-llama/Meta-Llama-3.1-70B"]
QWEN_32B, H100 = MODELS["Qwen/Qwen3-32B"], GPUS["H100-SXM"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B"),
        ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B"),
        ("qwen3-235b", "Qwen/Qwen3-235B-A22B"),
    ],
)
def test_models_are_found_as_they_are_typed(typed: str, meant: str) -> None:
    """Whole names, short ones, parts of them, in any case; an instruct model by its base."""
    assert matches(typed, MODELS) == [meant]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("h100", ["H100-SXM"]), ("l4", ["L4"]), ("a100", ["A100-SXM-80GB", "A100-SXM-40GB"]), ("rtx4090", ["RTX-4090"]),
     ("a100-40gb", ["A100-SXM-40GB"]), ("h1000", []), ("", [])],
)  # fmt: skip
def test_gpus_are_found_as_they_are_typed(typed: str, meant: list[str]) -> None:
    """A family with one member is that one; with several, all are told; a name that is none finds none."""
    assert matches(typed, GPUS) == meant


def test_every_short_name_means_one() -> None:
    """What is shown in lists can be typed."""
    assert all(matches(short(name), MODELS) == [name] for name in MODELS)
    assert all(matches(short(name), GPUS) == [name] for name in GPUS)


def test_it_is_the_roofline_with_measured_constants() -> None:
    """Step times, time outside and blocks are those of the parts that were held against measurements."""
    constants, outside_s = CALIBRATED["h100-fp8"]
    made = computed(LLAMA_70B, H100, "fp8", tensor_parallel=4)
    assert made.cost == roofline(LLAMA_70B, H100, constants, "fp8", tensor_parallel=4)
    assert made.outside_s == outside_s
    assert made.kv_blocks == kv_blocks(LLAMA_70B, H100, "fp8", tensor_parallel=4)


def test_limits_are_vllms_defaults_by_memory() -> None:
    """Large GPUs have more seats and longer steps; A100 counts with the small ones."""
    found = {name: computed(LLAMA_8B, GPUS[name]) for name in ("H100-SXM", "A100-SXM-80GB", "L40S")}
    limits = {name: (made.max_num_seqs, made.max_num_batched_tokens) for name, made in found.items()}
    assert limits == {"H100-SXM": (1024, 8192), "A100-SXM-80GB": (256, 2048), "L40S": (256, 2048)}


def test_what_does_not_fit_is_refused_with_a_way_out() -> None:
    """Sizes are told, and how many GPUs would do; heads that cannot be shared out are told too."""
    with pytest.raises(
        ValueError, match=r"llama-3.1-70b in bf16 has 142 GB .* does not fit; tensor_parallel: 2 would do"
    ):
        computed(LLAMA_70B, H100)
    with pytest.raises(ValueError, match="64 attention heads cannot be divided among 3 GPUs"):
        computed(LLAMA_70B, H100, tensor_parallel=3)


def test_expected_errors_are_those_of_the_very_model() -> None:
    """The measured model has its own errors, with a warning on one GPU; another on the same GPU has none, but hears how
    far others were off."""
    own, alone, other = computed(QWEN_32B, H100, tensor_parallel=4), computed(QWEN_32B, H100), computed(LLAMA_8B, H100)
    assert own.held_back is not None
    assert (own.held_back, own.doubt) == (alone.held_back, "")
    assert alone.doubt == "One GPU alone was not measured."
    assert other.doubts().startswith("Expected error: not known. The constants were fitted to Qwen3-32B")


@pytest.mark.parametrize(
    ("model", "gpu", "weights"),
    [
        ("openai/gpt-oss-20b", "H100-SXM", "bf16"),
        ("Qwen/Qwen3-8B", "L40S", "bf16"),
        ("Qwen/Qwen3-8B", "H100-SXM", "int4"),
    ],
)
def test_what_nobody_measured_has_no_error_but_a_doubt(model: str, gpu: str, weights: str) -> None:
    """Mixtures of experts, other GPUs, other types of weights."""
    made = computed(MODELS[model], GPUS[gpu], weights)
    assert made.held_back is None
    assert made.doubts().startswith("Expected error: not known. It is computed with the constants of dense models")


def test_a_price_is_the_gpus() -> None:
    """Two GPUs cost twice one; where there is no list price there is none, and every price has its source."""
    one, two = (computed(QWEN_32B, GPUS["H200-SXM"], "fp8", tensor_parallel=gpus) for gpus in (1, 2))
    assert one.hourly_cost is not None
    assert two.hourly_cost == pytest.approx(2 * one.hourly_cost)
    assert computed(LLAMA_8B, GPUS["RTX-4090"]).hourly_cost is None
    assert RENTS.keys() < GPUS.keys()
    assert all(rent.source and 0.1 < rent.usd_per_hour < 20 for rent in RENTS.values())
