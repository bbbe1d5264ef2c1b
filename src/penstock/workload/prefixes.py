"""Shared system prompts, and the ids of the blocks that prompts share.

Ids of a generator never meet: those of shared prompts are even, those of sessions odd, and each prompt or session has
room for 2^24 blocks. `combine` keeps the ids of several generators apart.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from penstock.base.rand import Rand
from penstock.workload import draws
from penstock.workload.lengths import Fixed, Length

BLOCK_BITS = 24
CACHED_GROUPS = 4096

BlockTokens = Annotated[
    int, Meta(ge=1, le=1 << 20, description="tokens in a block; only what fills whole blocks counts as shared")
]


class Shared(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """System prompts (or documents) that stand before many requests' own text."""

    groups: Annotated[int, Meta(ge=1, le=1_000_000, description="how many different ones there are")]
    exponent: Annotated[
        float, Meta(ge=0, le=10, description="the n-th is used in proportion to 1/n^exponent; 0: all alike")
    ] = 1.0
    tokens: Annotated[Length, Meta(description="length of one; drawn once for each")] = field(
        default_factory=lambda: Fixed(tokens=1024)
    )

    def lengths(self, rand: Rand) -> list[int]:
        """Tokens of each shared prompt."""
        draw = self.tokens.sampler(rand.stream("shared/tokens"))
        return [draw() for _ in range(self.groups)]

    def sampler(self, rand: Rand) -> Callable[[], int]:
        """Draws the number of a shared prompt."""
        return draws.index(rand.stream("shared/group"), draws.zipf_weights(self.groups, self.exponent))

    def chosen(self, rand: Rand, block_tokens: int) -> dict[str, Any]:
        """What the seed decided: how long the prompts are, the first ten one by one."""
        lengths = self.lengths(rand)
        blocks = sum(tokens // block_tokens for tokens in lengths)
        return {"shared_tokens_total": sum(lengths), "shared_blocks": blocks, "shared_tokens": lengths[:10]}


def beginnings(shared: Shared | None, rand: Rand, block_tokens: int) -> Callable[[], tuple[int, tuple[int, ...]]]:
    """Draws what a prompt begins with: tokens of a shared prompt, and the ids of its whole blocks."""
    if shared is None:
        return lambda: (0, ())
    lengths, group = shared.lengths(rand), shared.sampler(rand)
    blocks = group_blocks(lengths, block_tokens)

    def begin() -> tuple[int, tuple[int, ...]]:
        number = group()
        return lengths[number], blocks(number)

    return begin


def group_blocks(lengths: list[int], block_tokens: int) -> Callable[[int], tuple[int, ...]]:
    """Group -> the ids of its whole blocks; the tuples of groups that are in use are one object each."""

    @lru_cache(maxsize=CACHED_GROUPS)
    def blocks(group: int) -> tuple[int, ...]:
        return _ids(group, 0, lengths[group] // block_tokens, 0)

    return blocks


def session_blocks(session: int, since: int, till: int) -> tuple[int, ...]:
    """Ids of a session's own blocks, from place `since` to before `till` in its text."""
    return _ids(session, since, till, 1)


def _ids(owner: int, since: int, till: int, parity: int) -> tuple[int, ...]:
    base = owner << BLOCK_BITS
    return tuple(range((base + since) * 2 + parity, (base + till) * 2 + parity, 2))
