"""An engine by what people know of it: a model, a GPU, a type of numbers. Everything else is computed.

Step times come from the roofline with the constants that were measured on H100 (`roofline.CALIBRATED`), blocks of the
KV cache from what the weights leave of the memory, seats and tokens of a step from vLLM's defaults.
"""

from collections.abc import Iterable
from math import ceil

from penstock.engine.capacity import RESERVE_BYTES, kv_blocks
from penstock.engine.hardware import GIB, Gpu
from penstock.engine.modelled import Misses, Modelled
from penstock.engine.models import Model
from penstock.engine.rent import RENTS
from penstock.engine.roofline import CALIBRATED, roofline

LARGE_BYTES = 70 * GIB
"""From here on, but for A100, vLLM serves with larger defaults (`vllm/engine/arg_utils.py`, get_batch_defaults)."""
HELD_BACK: dict[tuple[str, str], tuple[Misses, str, str]] = {
    ("H100-SXM", "bf16"): (
        Misses(points=20, tpot_median=0.077, tpot_p95=0.393, ttft_median=0.213, ttft_p95=0.583),
        "Qwen/Qwen3-32B", "Qwen3-32B in bf16 by vLLM on 2 to 8 H100",
    ),
    ("H100-SXM", "fp8"): (
        Misses(points=25, tpot_median=0.025, tpot_p95=0.091, ttft_median=0.089, ttft_p95=0.274),
        "meta-llama/Meta-Llama-3.1-70B", "Llama-3.1-70B in FP8 by vLLM on 2 to 8 H100",
    ),
}  # fmt: skip
"""GPU and type of the weights -> errors, the model that was measured, and words for it (`bench.engine_reality`)."""

OTHER_MODEL = (
    "The constants were fitted to Qwen3-32B and Llama-3.1-70B on 2 to 8 H100; decode steps of other models on H100 were"
    " 6 to 27 % off at the median below 64 sequences at once, and 9 to 31 % too fast above."
)
"""`bench.engine_reality --data`, measurements of ML.ENERGY."""
ELSEWHERE = (
    "It is computed with the constants of dense models on H100, and was never held against this engine: other GPUs,"
    " engines and mixtures of experts were 6 to 60 % off in time per token, 20 to 97 % in TTFT."
)


def short(name: str) -> str:
    """A name as people type it: meta-llama/Meta-Llama-3.1-8B is llama-3.1-8b."""
    return name.rpartition("/")[2].lower().removeprefix("meta-")


def matches(name: str, known: Iterable[str]) -> list[str]:
    """The full names that a short one may mean, whatever its case: that very name, or all that have its parts
    (h100 is H100-SXM; a100 may be two). An instruct model has the shape of its base."""
    wanted, names = short(name).removesuffix("-instruct"), list(known)
    exact = [full for full in names if _plain(wanted) == _plain(short(full))]
    parts = set(wanted.split("-"))
    return exact or [full for full in names if parts <= set(short(full).split("-"))]


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum())


def computed(
    model: Model, gpu: Gpu, weights: str = "bf16", kv: str = "bf16", tensor_parallel: int = 1, utilization: float = 0.9
) -> Modelled:
    """The engine. Types by the names in `models.BYTES`. Raises ValueError, with a way out, where it cannot run so."""
    if model.heads % tensor_parallel:
        raise ValueError(f"{model.heads} attention heads cannot be divided among {tensor_parallel} GPUs")
    blocks = kv_blocks(model, gpu, weights, kv, tensor_parallel, utilization=utilization)
    if not blocks:
        raise ValueError(_too_large(model, gpu, weights, kv, utilization))
    key = "h100-bf16" if weights in ("bf16", "fp16", "fp32") else "h100-fp8"
    constants, outside_s = CALIBRATED[key]
    large = gpu.memory_bytes >= LARGE_BYTES and not gpu.name.startswith("A100")
    held_back, measured, doubt = _known(model, gpu, weights, tensor_parallel)
    rent = RENTS.get(gpu.name)
    return Modelled(
        about=f"{short(model.name)} in {weights} on {tensor_parallel} × {gpu.name}",
        cost=roofline(model, gpu, constants, weights, kv, tensor_parallel),
        outside_s=outside_s,
        max_num_seqs=1024 if large else 256,
        max_num_batched_tokens=8192 if large else 2048,
        kv_blocks=blocks,
        block_size=16,
        hourly_cost=None if rent is None else rent.usd_per_hour * tensor_parallel,
        price_of="" if rent is None else rent.source,
        held_back=held_back,
        measured=measured,
        doubt=doubt,
    )


def _too_large(model: Model, gpu: Gpu, weights: str, kv: str, utilization: float) -> str:
    fits = (2**power for power in range(1, 7) if model.heads % 2**power == 0)
    enough = next((n for n in fits if kv_blocks(model, gpu, weights, kv, n, utilization=utilization)), None)
    room_gb = (gpu.memory_bytes * utilization - RESERVE_BYTES) / 1e9
    way_out = f"tensor_parallel: {enough} would do" if enough else "another type of weights may"
    return (
        f"{short(model.name)} in {weights} has {ceil(model.weight_bytes(weights) / 1e9)} GB of weights, and a"
        f" {gpu.name} has room for {max(0.0, room_gb):.0f} GB: it does not fit; {way_out}"
    )


def _known(model: Model, gpu: Gpu, weights: str, tensor_parallel: int) -> tuple[Misses | None, str, str]:
    """(errors, what was measured, doubt)."""
    found = HELD_BACK.get((gpu.name, weights))
    if found is None or model.experts:
        return None, "", ELSEWHERE
    misses, name, words = found
    if name != model.name:
        return None, "", OTHER_MODEL
    return misses, words, "" if tensor_parallel > 1 else "One GPU alone was not measured."
