"""How long a step takes, from facts and measured constants: a roofline of a model on so many GPUs.

Multiplying the weights costs what arithmetic costs or what reading them costs, whichever is more, with a soft knee
between the two (Williams, Waterman, Patterson, "Roofline", CACM 2009). Attention of new tokens is arithmetic over
pairs of tokens, attention of those who generate is reading the KV cache. Tensor parallelism divides all of that and
adds two all-reduces a layer (Shoeybi et al., "Megatron-LM", 2019). Facts say how long each takes at best, constants
which share of that is reached; they come from `engine.fit`.
"""

from math import inf
from typing import Annotated

from msgspec import Meta, Struct

from penstock.engine.hardware import Gpu
from penstock.engine.models import BYTES, Model

Share = Annotated[float, Meta(gt=0, le=2)]


class Constants(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured: shares of the best that the hardware could do, and times that no data sheet knows.

    The defaults are near those of dense models on H100 with vLLM (`CALIBRATED`, docs/background/engine-model.md).
    """

    arithmetic: Share = 0.55
    bandwidth: Share = 0.95
    attention: Share = 0.35
    kv_bandwidth: Share = 0.75
    links: Share = 0.4
    knee: Annotated[float, Meta(ge=1, description="1: both costs add up; more: the larger one hides the other")] = 3.0
    step_s: Annotated[float, Meta(ge=0, description="scheduling and launching, a step")] = 0.003
    layer_s: Annotated[float, Meta(ge=0, description="launching, a layer")] = 0.0
    reduce_s: Annotated[float, Meta(ge=0, description="latency of an all-reduce")] = 15e-6
    sequence_s: Annotated[float, Meta(ge=0, description="sampling and book-keeping, a sequence that generates")] = 20e-6
    mixed: Annotated[
        float,
        Meta(ge=1, description="reading the KV cache takes so many times longer in a step that reads prompts too"),
    ] = 1.0


CALIBRATED: dict[str, tuple[Constants, float]] = {
    "h100-bf16": (
        Constants(
            arithmetic=0.5567, bandwidth=0.9552, attention=0.3171, kv_bandwidth=0.9841, links=0.3436, step_s=0.002911,
            reduce_s=15.29e-6, sequence_s=18.11e-6,
        ),
        0.0314,
    ),
    "h100-fp8": (
        Constants(
            arithmetic=0.5989, bandwidth=0.9824, attention=0.3203, kv_bandwidth=0.7039, links=0.4872, step_s=0.003023,
            reduce_s=19.1e-6, sequence_s=21.81e-6,
        ),
        0.0183,
    ),
}  # fmt: skip
"""By GPU and type of the weights: constants, and seconds of a request outside of the engine."""


class Roofline(Struct, frozen=True, kw_only=True, tag="roofline", tag_field="kind", forbid_unknown_fields=True):
    """Seconds of one step. Made by `roofline()`, or written down as constants of your own."""

    base_s: float
    """Launching kernels, scheduling, latency of links."""
    weights_s: float
    """Reading all weights that every token needs."""
    token_s: float
    """Multiplying them with one token."""
    knee: float = inf
    sequence_s: float = 0.0
    """One sequence that generates."""
    context_token_s: float = 0.0
    """Reading the keys and values of one token of context."""
    pair_s: float = 0.0
    """One new token of a prompt looking at one token."""
    link_token_s: float = 0.0
    """Telling the other GPUs of one token."""
    mixed: float = 1.0
    experts_s: float = 0.0
    """Reading all experts."""
    expert_share: float = 0.0
    """Share of the experts that one token uses."""

    def step_s(self, prefill_tokens: int, decode_sequences: int, context_tokens: int, pairs: int = 0) -> float:
        """Duration of one step in seconds. `pairs`: new tokens of prompts x the tokens each looks at."""
        tokens = prefill_tokens + decode_sequences
        compute_s, read_s = self.token_s * tokens, self.weights_s
        if self.experts_s:
            read_s += self.experts_s * (1.0 - (1.0 - self.expert_share) ** tokens)
        context_s = self.context_token_s * context_tokens
        if prefill_tokens:
            context_s = context_s * self.mixed + self.pair_s * pairs
        large, small = (compute_s, read_s) if compute_s > read_s else (read_s, compute_s)
        if large > 0.0 and self.knee < inf:
            large *= (1.0 + (small / large) ** self.knee) ** (1.0 / self.knee)
        return self.base_s + large + context_s + self.sequence_s * decode_sequences + self.link_token_s * tokens

    def growth_s(self, decode_sequences: int) -> float:
        """How much longer each step takes than the one before, while so many sequences generate and nothing else."""
        return self.context_token_s * decode_sequences


def roofline(
    model: Model,
    gpu: Gpu,
    constants: Constants,
    weights: str = "bf16",
    kv: str = "bf16",
    tensor_parallel: int = 1,
) -> Roofline:
    """The step times of this model on so many of these GPUs. Types by the names in `models.BYTES`.

    Raises KeyError for an unknown type.
    """
    size = BYTES[weights]
    looked_up = model.embedding_params
    all_params, active = model.params_billion * 1e9, model.active_params_billion * 1e9
    experts = all_params * model.expert_share
    read = gpu.bandwidth_bytes_s * constants.bandwidth * tensor_parallel
    arithmetic = gpu.flops_in(weights) * constants.arithmetic * tensor_parallel
    pairing = gpu.flops["bf16"] * constants.attention * tensor_parallel
    # A KV head is on one GPU, or where there are more GPUs than heads, on several.
    kv_parallel = min(tensor_parallel, model.kv_heads)
    reduces = 2 * model.layers if tensor_parallel > 1 else 0
    # Ring all-reduce: each GPU sends 2 (n - 1) / n of the data; activations are bf16.
    sent = 2 * (tensor_parallel - 1) / tensor_parallel * model.hidden * 2
    return Roofline(
        base_s=constants.step_s + constants.layer_s * model.layers + constants.reduce_s * reduces,
        weights_s=(all_params - experts - looked_up) * size / read,
        token_s=2 * (active - 2 * looked_up) / arithmetic,
        knee=constants.knee,
        sequence_s=constants.sequence_s,
        context_token_s=model.kv_elements * BYTES[kv] / (gpu.bandwidth_bytes_s * constants.kv_bandwidth * kv_parallel),
        pair_s=4 * model.layers * model.heads * model.head_dim / pairing,
        link_token_s=reduces * sent / (gpu.link_bytes_s * constants.links),
        mixed=constants.mixed,
        experts_s=experts * size / read,
        expert_share=model.experts_per_token / model.experts if model.experts else 0.0,
    )
