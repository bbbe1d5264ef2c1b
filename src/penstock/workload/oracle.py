"""Bounds that no router can beat, from the workload alone."""

from collections.abc import Iterable

from msgspec import Struct

from penstock.workload.prefixes import BLOCK_BITS
from penstock.workload.request import Request

MAX_BLOCKS = 20_000_000
"""Distinct blocks that are remembered, at about 100 bytes each."""


class InfiniteCache:
    """One prefix cache for all, that forgets nothing and has a block as soon as somebody asks for it."""

    __slots__ = ("_max_blocks", "_seen")

    def __init__(self, max_blocks: int = MAX_BLOCKS) -> None:
        self._seen: set[int] = set()
        self._max_blocks = max_blocks

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def exact(self) -> bool:
        """False: there were more distinct blocks than are remembered, and too little was found."""
        return len(self._seen) < self._max_blocks

    def ask(self, request: Request) -> tuple[int, int]:
        """Leading blocks of its prompt, and how many of them it had; from now on it has all, and the answer's."""
        if not request.blocks:
            return 0, 0
        seen = self._seen
        keys = [block << BLOCK_BITS | place for place, block in enumerate(request.blocks)]
        asked = min(-(-request.prompt_tokens // request.block_tokens), len(keys))
        found = next((place for place in range(asked) if keys[place] not in seen), asked)
        if len(seen) < self._max_blocks:
            seen.update(keys[found:])
        return asked, found


class PrefixBound(Struct, frozen=True, kw_only=True):
    """The best that prefix caches could do for a workload: one cache that holds all that was ever asked or answered."""

    requests: int
    prompt_tokens: int
    hit_tokens: int
    """Tokens in leading blocks that an earlier request had as well."""
    blocks: int
    """Leading blocks of all prompts."""
    hit_blocks: int
    distinct_blocks: int
    """Working set: blocks that a cache would have to hold for this. They are of the workload's own size."""
    exact: bool
    """False: there were more distinct blocks than were remembered, and the hits are counted too low."""

    @property
    def hit_share(self) -> float:
        """Hit tokens / prompt tokens; 0 where there are none."""
        return self.hit_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def prefix_bound(requests: Iterable[Request], max_blocks: int = MAX_BLOCKS) -> PrefixBound:
    """Prefix hits with an infinite cache and no delay before a block can be used again: an upper bound for any routing.

    One pass; memory grows with distinct blocks, up to `max_blocks`. A request's blocks beyond its prompt (what its
    answer fills) can be found by later ones and are not looked up themselves.
    """
    cache = InfiniteCache(max_blocks)
    count = prompts = hit_tokens = blocks = hit_blocks = 0
    for request in requests:
        count += 1
        prompts += request.prompt_tokens
        asked, found = cache.ask(request)
        blocks += asked
        hit_blocks += found
        hit_tokens += min(found * request.block_tokens, request.prompt_tokens)
    return PrefixBound(
        requests=count,
        prompt_tokens=prompts,
        hit_tokens=hit_tokens,
        blocks=blocks,
        hit_blocks=hit_blocks,
        distinct_blocks=len(cache),
        exact=cache.exact,
    )
