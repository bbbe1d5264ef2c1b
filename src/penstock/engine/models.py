"""Facts of open models: what the engine model needs to know of one. A table that you can extend.

Read from the models' published configurations as others keep them: github.com/ai-dynamo/aiconfigurator
(`model_configs`, commit 095f58a51c4c, Apache-2.0); for Qwen2.5, Llama-3.2-3B, Qwen3-4B and Qwen3-14B
citsjtu2020/LLM-Prof (`sglang/Model_Config.md`, commit 8434c8d19c39); for Llama-2-70b microsoft/vidur (commit
7d47513363ec, MIT). Parameters are counted from the dimensions, without norms and biases. `kv_elements` is for all
layers; sliding windows are not taken into account, and for latent attention (DeepSeek, Kimi) it is the latent.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1)]

BYTES: dict[str, float] = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5}
"""Of one number, by type. The scales beside 4-bit and 8-bit weights are left out: they are a few percent."""


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """One model. Counts are of the whole model."""

    name: str
    layers: Count
    hidden: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    vocabulary: Count
    params_billion: float
    active_params_billion: float
    """Those that one token uses: fewer than all where experts are chosen."""
    kv_elements: Count
    """Numbers that the KV cache keeps for one token."""
    experts: int = 0
    experts_per_token: int = 0

    @property
    def embedding_params(self) -> int:
        """Looked up, not multiplied. Of the head's as many, but those are multiplied."""
        return self.vocabulary * self.hidden

    def weight_bytes(self, dtype: str) -> float:
        """All weights in this type. Raises KeyError for an unknown one."""
        return self.params_billion * 1e9 * BYTES[dtype]

    def kv_bytes_per_token(self, dtype: str) -> float:
        """KV cache of one token in this type."""
        return self.kv_elements * BYTES[dtype]

    @property
    def expert_share(self) -> float:
        """Share of all weights that are in experts; 0 for a dense model."""
        if not self.experts:
            return 0.0
        unused = 1.0 - self.experts_per_token / self.experts
        return min(1.0, (self.params_billion - self.active_params_billion) / unused / self.params_billion)


def by_name(models: Iterable[Model]) -> dict[str, Model]:
    """A table."""
    return {model.name: model for model in models}


def read_models(data: bytes) -> dict[str, Model]:
    """More models from a JSON list of them, to be merged into the table. Raises msgspec.ValidationError."""
    return by_name(msgspec.json.decode(data, type=list[Model]))


# fmt: off
MODELS: dict[str, Model] = by_name(
    [
        # layers, hidden, heads, KV heads, head's size, vocabulary, parameters and active ones in billions,
        # KV elements of a token, experts and how many of them a token uses
        Model("meta-llama/Meta-Llama-3.1-8B", 32, 4096, 32, 8, 128, 128256, 8.03, 8.03, 65536, 0, 0),
        Model("meta-llama/Meta-Llama-3.1-70B", 80, 8192, 64, 8, 128, 128256, 70.55, 70.55, 163840, 0, 0),
        Model("meta-llama/Meta-Llama-3.1-405B", 126, 16384, 128, 8, 128, 128256, 405.85, 405.85, 258048, 0, 0),
        Model("mistralai/Mixtral-8x7B-v0.1", 32, 4096, 32, 8, 128, 32000, 46.7, 12.88, 65536, 8, 2),
        Model("mistralai/Mixtral-8x22B-v0.1", 56, 6144, 48, 8, 128, 32000, 140.62, 39.15, 114688, 8, 2),
        Model("Qwen/Qwen3-0.6B", 28, 1024, 16, 8, 128, 151936, 0.6, 0.6, 57344, 0, 0),
        Model("Qwen/Qwen3-8B", 36, 4096, 32, 8, 128, 151936, 8.19, 8.19, 73728, 0, 0),
        Model("Qwen/Qwen3-32B", 64, 5120, 64, 8, 128, 151936, 32.76, 32.76, 131072, 0, 0),
        Model("Qwen/Qwen3-30B-A3B", 48, 2048, 32, 4, 128, 151936, 30.53, 3.35, 49152, 128, 8),
        Model("Qwen/Qwen3-235B-A22B", 94, 4096, 64, 4, 128, 151936, 235.09, 22.19, 96256, 128, 8),
        Model("deepseek-ai/DeepSeek-V3", 61, 7168, 128, 128, 56, 129280, 671.03, 37.55, 35136, 256, 8),
        Model("deepseek-ai/DeepSeek-R1", 61, 7168, 128, 128, 56, 129280, 671.03, 37.55, 35136, 256, 8),
        Model("openai/gpt-oss-20b", 24, 2880, 64, 8, 64, 201088, 20.91, 4.19, 24576, 32, 4),
        Model("openai/gpt-oss-120b", 36, 2880, 64, 8, 64, 201088, 116.79, 5.71, 36864, 128, 4),
        Model("moonshotai/Kimi-K2-Instruct", 61, 7168, 64, 64, 112, 163840, 1026.41, 32.86, 35136, 384, 8),
        Model("Qwen/Qwen2.5-3B", 36, 2048, 16, 2, 128, 151936, 3.09, 3.09, 18432, 0, 0),
        Model("Qwen/Qwen2.5-7B", 28, 3584, 28, 4, 128, 152064, 7.62, 7.62, 28672, 0, 0),
        Model("Qwen/Qwen2.5-14B", 48, 5120, 40, 8, 128, 152064, 14.77, 14.77, 98304, 0, 0),
        Model("Qwen/Qwen2.5-32B", 64, 5120, 40, 8, 128, 152064, 32.76, 32.76, 131072, 0, 0),
        Model("meta-llama/Llama-3.2-3B", 28, 3072, 24, 8, 128, 128256, 3.21, 3.21, 57344, 0, 0),
        Model("Qwen/Qwen3-4B", 36, 2560, 32, 8, 128, 151936, 4.02, 4.02, 73728, 0, 0),
        Model("Qwen/Qwen3-14B", 40, 5120, 40, 8, 128, 151936, 14.77, 14.77, 81920, 0, 0),
        Model("meta-llama/Llama-2-70b-hf", 80, 8192, 64, 8, 128, 32000, 68.98, 68.98, 163840, 0, 0),
    ]
)
# fmt: on
"""By name."""
