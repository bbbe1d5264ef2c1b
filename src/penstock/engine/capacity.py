"""How much KV cache is left on a GPU once a model is on it.

As vLLM plans it: of each GPU's memory a share is taken (`gpu_memory_utilization`), the weights and what a step needs
for its own work are subtracted, and the rest becomes blocks. vLLM measures what a step needs with a trial run; here it
is a reserve, with a default from real runs (docs/background/engine-model.md).
"""

from penstock.engine.hardware import GIB, Gpu
from penstock.engine.models import Model

RESERVE_BYTES = int(1.25 * GIB)
"""Activations, CUDA graphs and contexts of one GPU. vLLM 0.19 with an 8B model on an RTX 4090 took 1.15 GiB."""


def kv_blocks(
    model: Model,
    gpu: Gpu,
    weights: str = "bf16",
    kv: str = "bf16",
    tensor_parallel: int = 1,
    block_size: int = 16,
    utilization: float = 0.9,
    reserve_bytes: int = RESERVE_BYTES,
) -> int:
    """Blocks of the KV cache; 0 where the model does not fit. Types by the names in `models.BYTES`."""
    share = model.weight_bytes(weights) / tensor_parallel
    left = gpu.memory_bytes * utilization - share - reserve_bytes
    # Each GPU keeps its KV heads; with more GPUs than heads, several keep the same one.
    block_bytes = model.kv_bytes_per_token(kv) * block_size / min(tensor_parallel, model.kv_heads)
    return max(0, int(left / block_bytes))
