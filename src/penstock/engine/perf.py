"""How long a step of an engine takes: a linear model, and a few named ones.

What every model promises, because the Batcher jumps by it: with the same new tokens and the same sequences, a step's
time is linear in the context (`step_s(0, n, c + n) = step_s(0, n, c) + growth_s(n)`).
"""

from msgspec import Struct


class StepCost(Struct, frozen=True, kw_only=True, tag="linear", tag_field="kind", forbid_unknown_fields=True):
    """Seconds of one step = base + prefill tokens + decoding sequences + context tokens, each at its price.

    A step reads all weights once (base), computes every prompt token that it takes in (compute-bound), samples one
    token a decoding sequence, and reads the KV cache of all tokens that its sequences already have (memory-bound).
    Attention among the new tokens of a long chunk is quadratic; within the budget of one step a line is close enough.
    """

    base_s: float
    """Reading the weights, launching kernels, scheduling."""
    prefill_token_s: float
    """One prompt token."""
    decode_sequence_s: float
    """One sequence that generates."""
    context_token_s: float = 0.0
    """One token of context whose keys and values are read."""

    def step_s(self, prefill_tokens: int, decode_sequences: int, context_tokens: int, pairs: int = 0) -> float:
        """Duration of one step in seconds. `pairs` (new tokens x tokens they look at) do not matter here."""
        return (
            self.base_s
            + self.prefill_token_s * prefill_tokens
            + self.decode_sequence_s * decode_sequences
            + self.context_token_s * context_tokens
        )

    def growth_s(self, decode_sequences: int) -> float:
        """How much longer each step takes than the one before, while so many sequences generate and nothing else."""
        return self.context_token_s * decode_sequences


PRESETS: dict[str, StepCost] = {
    # For people to watch: about 20 ms a decode step at ten sequences, 60 ms for a prompt of 1,000 tokens.
    "demo": StepCost(base_s=0.018, prefill_token_s=60e-6, decode_sequence_s=150e-6, context_token_s=20e-9),
    # For tests: a token in 0.2 ms.
    "fast": StepCost(base_s=0.0002, prefill_token_s=0.2e-6, decode_sequence_s=2e-6),
    # Llama-3.1-8B in FP8 on one H200 by vLLM. Solved from three decode points of the profile that NVIDIA's Dynamo
    # planner ships (4.38 ms at 1 x 350 tokens, 19.1 ms at 263 x 350, 9.94 ms at 49 x 2,997) and the slope of its
    # prefill times (50 ms at 2,134 tokens, 232 ms at 10,270).
    "h200-8b-fp8": StepCost(base_s=0.0043, prefill_token_s=22e-6, decode_sequence_s=48.5e-6, context_token_s=22e-9),
}  # fmt: skip
"""By name."""
