"""The profile of a request: what is known of it before it is served [R8]. Decides nothing; for people and reports.

Complexity is what a call is expected to cost an engine, in input tokens, by the measure that shares seats fairly
(`fair`): estimated prompt tokens + 2 x expected output tokens. Below 1,000 it is low (a short chat), below 8,000
medium, from there on high (a long document, or a long answer). What a prompt *asks* is not looked at: nobody reads
prompts here.
"""

from typing import Literal

from msgspec import Struct

from penstock.core.fair import OUTPUT_COST

MEDIUM_COST, HIGH_COST = 1000.0, 8000.0
Complexity = Literal["low", "medium", "high"]


class Profile(Struct, frozen=True, kw_only=True, gc=False):
    """One request, as far as it can be known when it arrives."""

    prompt_tokens: int
    """Estimate: bytes of the body / 4."""
    output_tokens: int
    """Expected: the mean of its tenant's answers, never more than its `max_tokens`."""
    max_tokens: int | None
    complexity: Complexity
    latency_s: float | None
    """How long its client can wait for the whole answer; None: it did not say."""
    priority: str
    tier: str
    session: str
    """A digest; empty: none."""
    stream: bool
    body_bytes: int
    prefix_blocks: int
    """Leading blocks of the prompt whose hashes are known."""


def complexity(prompt_tokens: int, output_tokens: float) -> Complexity:
    """How much work a call is: see the top of this file."""
    cost = prompt_tokens + OUTPUT_COST * output_tokens
    return "low" if cost < MEDIUM_COST else "medium" if cost < HIGH_COST else "high"
