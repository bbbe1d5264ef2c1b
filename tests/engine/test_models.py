"""Models: a table of facts, what follows from them, and rows of one's own."""

import msgspec
import pytest

from penstock.engine.models import MODELS, read_models

LLAMA_8B, MIXTRAL = MODELS["meta-llama/Meta-Llama-3.1-8B"], MODELS["mistralai/Mixtral-8x7B-v0.1"]


def test_memory_follows_from_the_dimensions() -> None:
    """Llama-3.1-8B: 16.06 GB of weights in bf16, 128 KiB of KV cache a token, half of each in FP8."""
    assert LLAMA_8B.weight_bytes("bf16") == pytest.approx(16.06e9)
    assert LLAMA_8B.kv_bytes_per_token("bf16") == 128 * 1024
    assert LLAMA_8B.weight_bytes("fp8") == pytest.approx(8.03e9)
    assert LLAMA_8B.kv_bytes_per_token("fp8") == 64 * 1024


def test_every_row_agrees_with_itself() -> None:
    """KV elements are those of the heads (fewer for latent attention), active parameters not more than all."""
    for model in MODELS.values():
        assert model.kv_elements <= 2 * model.layers * model.kv_heads * model.head_dim
        assert 0 < model.active_params_billion <= model.params_billion
        assert (model.experts == 0) == (model.active_params_billion == model.params_billion)
        assert 0.0 <= model.expert_share <= 1.0


def test_nearly_all_of_a_mixture_is_experts() -> None:
    """Nine tenths of Mixtral's weights and more are in experts, none of Llama's."""
    assert MIXTRAL.expert_share == pytest.approx(0.965, abs=0.01)
    assert LLAMA_8B.expert_share == 0.0


def test_the_table_can_be_extended() -> None:
    """Rows in JSON become rows of the table."""
    own = msgspec.structs.replace(LLAMA_8B, name="mine", layers=30)
    assert read_models(msgspec.json.encode([own])) == {"mine": own}
