"""The profile of a request: what is known of it before it is served [R8]. Decides nothing; for people and reports.

Complexity is what a call is expected to cost an engine, in input tokens, by the measure that shares seats fairly
(`fair`): estimated prompt tokens + 2 x expected output tokens. Below 1,000 it is low (a short chat), below 8,000 medium,
from there on high (a long document, or a long answer). What a prompt *asks* is not looked at: nobody reads prompts here.
"""

from typing import Literal

from msgspec import Struct

from penstock.base.nouns import PRIORITIES, Call
from penstock.core.fair import OUTPUT_COST, TYPICAL_OUTPUT

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


def profile_of(call: Call, output_tokens: float | None = None) -> Profile:
    """A call's profile; `output_tokens`: what its tenant's answers are like, where something is known of that."""
    expected = TYPICAL_OUTPUT if output_tokens is None else output_tokens
    if call.max_tokens is not None:
        expected = min(expected, call.max_tokens)
    return Profile(
        prompt_tokens=call.prompt_tokens, output_tokens=round(expected), max_tokens=call.max_tokens,
        complexity=complexity(call.prompt_tokens, expected), latency_s=call.latency_s,
        priority=PRIORITIES[call.priority] if 0 <= call.priority < len(PRIORITIES) else str(call.priority),
        tier=call.tier, session=call.session, stream=call.stream, body_bytes=call.body_bytes,
        prefix_blocks=len(call.prefix),
    )  # fmt: skip
