"""How long a step takes, read off a profile of kernels: measured tables, straight between their points.

For whoever has profiled an engine layer by layer. What is not in the table of tokens (attention) is linear in what it
does, with prices of its own for steps that read prompts, where kernels serve both kinds of sequences less well.
"""

from bisect import bisect_right
from typing import Annotated

from msgspec import Meta, Struct

Points = Annotated[tuple[tuple[float, float], ...], Meta(min_length=2)]


class Profile(Struct, frozen=True, kw_only=True, tag="profile", tag_field="kind", forbid_unknown_fields=True):
    """Seconds of one step."""

    tokens_s: Points
    """(tokens of the step, seconds of everything but attention and sampling), by tokens."""
    sequences_s: Points
    """(sequences, seconds of giving each a token), by sequences."""
    base_s: float = 0.0
    sequence_s: float = 0.0
    """Attention of one sequence that generates."""
    context_token_s: float = 0.0
    pair_s: float = 0.0
    prefill_token_s: float = 0.0
    mixed_sequence_s: float = 0.0
    """More for one sequence that generates, in a step that reads prompts too."""
    mixed_context_token_s: float = 0.0

    def step_s(self, prefill_tokens: int, decode_sequences: int, context_tokens: int, pairs: int = 0) -> float:
        """Duration of one step in seconds. `pairs`: new tokens of prompts x the tokens each looks at."""
        seconds = (
            self.base_s
            + between(self.tokens_s, prefill_tokens + decode_sequences)
            + between(self.sequences_s, max(1, decode_sequences))
            + self.sequence_s * decode_sequences
            + self.context_token_s * context_tokens
        )
        if prefill_tokens:
            seconds += (
                self.prefill_token_s * prefill_tokens
                + self.pair_s * pairs
                + self.mixed_sequence_s * decode_sequences
                + self.mixed_context_token_s * context_tokens
            )
        return seconds

    def growth_s(self, decode_sequences: int) -> float:
        """How much longer each step takes than the one before, while so many sequences generate and nothing else."""
        return self.context_token_s * decode_sequences


def between(points: tuple[tuple[float, float], ...], at: float) -> float:
    """The value on the line through the two points around `at`; beyond the ends, the line goes on."""
    index = min(max(bisect_right(points, (at,)), 1), len(points) - 1)
    (left, low), (right, high) = points[index - 1], points[index]
    return low + (high - low) * (at - left) / (right - left)
