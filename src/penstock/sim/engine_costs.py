"""The page of built-in engines: which GPUs and models there are, what they cost an hour, and what one replica does at a
usual point. Computed, like every engine of a scenario; not measured.
"""

from collections.abc import Iterator

from penstock.engine.computed import computed, short
from penstock.engine.hardware import GPUS, Gpu
from penstock.engine.modelled import Modelled
from penstock.engine.models import MODELS, Model
from penstock.engine.rent import RENTS

PROMPT_TOKENS = 1000
OUTPUT_TOKENS = 250
AT_ONCE = 32
TYPES = ("bf16", "fp8")
MOST_GPUS = 8
_HEAD = """\
# Built-in engines

<!-- Made by `penstock simulate --engines` from src/penstock/engine: hardware.py, models.py, rent.py. Do not edit. -->

What `cost: {model: …, gpu: …}` of a [scenario](scenarios.md) and of [`penstock
emulate`](../how-to/without-a-gpu.md) knows. A name may be shortened where it stays clear (`h100`, `qwen3-32b`); an
instruct model is its base. Others come by [a calibration of your own](../how-to/simulate.md#your-engines).

**These numbers are computed, not measured**: a roofline with constants fitted to dense models on H100. [How wrong it
is](../background/engine-model.md#how-near-it-is) was looked at for a few of them; mixtures of experts and other GPUs
were 6 to 60 % off.

## GPUs

| GPU | memory, GiB | memory, GB/s | bf16, TFLOPS | fp8, TFLOPS | W | USD an hour | list price of |
|---|---:|---:|---:|---:|---:|---:|---|
"""
_POINT = f"""
## One replica at a usual point

Prompts of {PROMPT_TOKENS:,} tokens, none of them cached, answers of {OUTPUT_TOKENS}, {AT_ONCE} requests at once without
a pause. A cell is the fewest GPUs that hold the model and one such batch (a power of two, at most {MOST_GPUS}), output
tokens a second of that replica, and USD per million of them at the list price (–: there is none). Empty: too large.
"""


def markdown() -> str:
    """The page."""
    parts = [_HEAD, *(f"{_gpu_row(gpu)}\n" for gpu in GPUS.values()), _POINT]
    for dtype in TYPES:
        parts += [f"\n### Weights in {dtype}\n\n", *(f"{line}\n" for line in _table(dtype))]
    return "".join(parts)


def _gpu_row(gpu: Gpu) -> str:
    rent = RENTS.get(gpu.name)
    price, source = ("–", "–") if rent is None else (f"{rent.usd_per_hour:.2f}", rent.source)
    fp8 = f"{gpu.flops['fp8'] / 1e12:,.0f}" if "fp8" in gpu.flops else "–"
    return (
        f"| `{gpu.name}` | {gpu.memory_bytes / 2**30:.1f} | {gpu.bandwidth_bytes_s / 1e9:,.0f} "
        f"| {gpu.flops['bf16'] / 1e12:,.0f} | {fp8} | {gpu.watts} | {price} | {source} |"
    )


def _table(dtype: str) -> Iterator[str]:
    gpus = [gpu for gpu in GPUS.values() if dtype in gpu.flops]
    yield "| model | " + " | ".join(gpu.name for gpu in gpus) + " |"
    yield "|---|" + "---:|" * len(gpus)
    for model in MODELS.values():
        yield f"| `{short(model.name)}` | " + " | ".join(_cell(model, gpu, dtype) for gpu in gpus) + " |"


def _cell(model: Model, gpu: Gpu, dtype: str) -> str:
    found = smallest(model, gpu, dtype)
    if found is None:
        return ""
    count, engine = found
    rate = output_tokens_per_s(engine)
    price = "–" if engine.hourly_cost is None else f"{engine.hourly_cost / 3600 / rate * 1e6:.2f}"
    return f"{count} × · {rate:,.0f} · {price}"


def smallest(model: Model, gpu: Gpu, dtype: str) -> tuple[int, Modelled] | None:
    """How many GPUs hold the model and a usual batch, and the engine; None: not even the most."""
    count = 1
    while count <= MOST_GPUS:
        try:
            engine = computed(model, gpu, dtype, "bf16", count, 0.9)
        except ValueError:  # it does not fit, or its heads cannot be divided
            pass
        else:
            if (engine.kv_blocks or 0) * (engine.block_size or 0) >= AT_ONCE * (PROMPT_TOKENS + OUTPUT_TOKENS):
                return count, engine
        count *= 2
    return None


def output_tokens_per_s(engine: Modelled) -> float:
    """Of a replica that has the usual number of requests all the time: as many prompts are read as answers end."""
    cost = engine.cost
    reads_s = cost.step_s(PROMPT_TOKENS, 0, 0, PROMPT_TOKENS * (PROMPT_TOKENS + 1) // 2)
    makes_s = cost.step_s(0, AT_ONCE, AT_ONCE * (PROMPT_TOKENS + OUTPUT_TOKENS // 2), 0)
    return AT_ONCE * OUTPUT_TOKENS / (OUTPUT_TOKENS * makes_s + AT_ONCE * reads_s)
