"""Which replica's engine is believed to have which beginnings of prompts in its prefix cache [R6].

Learnt from what was sent where, and bounded like the engines' own caches: by replica, least recently used first. What
engines tell (tokens that they found cached) corrects the estimates. Knows hashes and numbers, no replicas' health or
load, and no text.

Blocks of one prompt are kept so that a block never outlives the one before it: whenever a block is used, all before
it are used after it (`core.runs`). That is why the longest match can be found by bisection.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final
from zlib import crc32

from msgspec import Struct

from penstock.base.nouns import EngineStats, Usage
from penstock.base.prefix import ENDS, MAX_BLOCKS, SHORTEST_BYTES
from penstock.core.runs import Keys, Runs

BYTES_PER_TOKEN: Final = 4.0
"""Until answers have told better."""
MOST_BLOCKS = 500_000
"""Blocks of all replicas of a pool together, some 200 bytes each. (Not Final: a test makes it small, of the
compiled package too, where a final number stands in the code itself.)"""
MARKED: Final[tuple[int, ...]] = (0, *range(3, MAX_BLOCKS, 4))
"""Places of the blocks whose holders are remembered in a large fleet: the first, and every fourth."""
ROOT: Final[tuple[int, ...]] = (0,)
"""The same in a small one, where everybody is asked: whether anybody has the first one is enough."""
SMALL_FLEET: Final = 64
"""So many replicas are all looked at for every call."""
_MARKED_IN: Final = tuple(tuple(at for at in reversed(MARKED) if at < count) for count in range(MAX_BLOCKS + 1))
"""The marked places of a prompt with so many blocks, the last first."""
_HOLDERS: Final = 16
"""Replicas that are remembered as holders of one block; the latest."""
_MODELS: Final = 256
"""Models that have their own bytes per token; more share one."""
_KEEP: Final = 0.98
"""What a new lesson leaves of the old ones: some fifty count."""
_PRIOR_TOKENS: Final = 1024
"""Tokens that an estimate counts as right before anything was told."""
_MOST_TRUST: Final = 1.5
_ALL: Final = 0.9
"""What we sent and what an engine looked up are counted at other times: from such a share on all of it was ours."""


def _salt(model: str) -> int:
    return (crc32(model.encode()) << 1 | 1) << 32


class Cached(Struct, frozen=True, gc=False):
    """How many tokens of a prompt a replica is believed to have cached."""

    counted: int
    """By the blocks that were sent there."""
    tokens: int
    """The same, as far as such counts were right lately."""
    owner: str = ""
    """Which replica: a call may be sent to several, and another one than the last may answer it."""


NOTHING: Final = Cached(0, 0)


class Cache(Runs):
    """What one replica is believed to have."""

    __slots__ = (
        "_asked", "_estimated", "_given", "_hits", "_queries", "_right", "_said", "answers", "owner", "tells", "tokens",
        "trust", "turn", "unit",
    )  # fmt: skip

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.owner = owner
        """The replica's id."""
        self.answers = 0
        """Bytes of short answers that have no block yet: one for each would cost more than it tells."""
        self.tokens: int | None = None
        """What its engine's KV cache holds; None: it does not say."""
        self.unit = 1
        """Tokens of one block of its engine: less is never shared."""
        self.turn = 0
        """When it last got a prompt of which nobody knew anything."""
        self.tells = False
        """Its answers tell how many tokens were cached; else the engine's counters are read."""
        self._queries = -1
        self._hits = 0
        self._given = self._asked = 0.0
        """Prompt tokens that we sent there, and that it looked up, lately."""
        self._estimated = 0
        self._right = self._said = float(_PRIOR_TOKENS)
        self.trust = 1.0
        """What was found cached over what had been estimated, lately."""

    def depth(self, keys: Keys, guess: int = 0) -> int:
        """How many leading blocks it has. A guess that is right costs two look-ups rather than a bisection."""
        blocks, count = self.blocks, len(keys)
        if keys[0] in blocks:
            return count
        if keys[-1] not in blocks:
            return 0
        if guess and keys[count - guess] in blocks and keys[count - guess - 1] not in blocks:
            return guess
        return count - bisect_left(keys, True, key=blocks.__contains__)

    def sent(self, estimated: int, prompt_tokens: float) -> None:
        """A call of so many tokens was sent there, with so many of them cached as far as we know."""
        self._estimated += estimated
        self._given += prompt_tokens

    def learn(self, said: float, right: float) -> None:
        """So many cached tokens were estimated (before trust), and so many found."""
        self._said = _PRIOR_TOKENS + _KEEP * (self._said - _PRIOR_TOKENS) + said
        self._right = _PRIOR_TOKENS + _KEEP * (self._right - _PRIOR_TOKENS) + right
        self.trust = min(_MOST_TRUST, self._right / self._said)

    def observed(self, stats: EngineStats) -> bool:
        """Its engine's own numbers. Whether it must have been started anew: its counters went backwards.

        The counters tell of all traffic; where others use the engine too, our share of it is taken."""
        if stats.kv_tokens is not None:
            self.tokens = stats.kv_tokens
        if stats.kv_block_tokens is not None:
            self.unit = max(1, stats.kv_block_tokens)
        queries, hits = stats.prefix_queries, stats.prefix_hits
        if queries is None or hits is None:
            return False
        anew = queries < self._queries
        if self._queries < 0 or anew:
            self._given = self._asked = 0.0
        elif queries > self._queries:
            self._asked += queries - self._queries
            if self._estimated and not self.tells:
                ours = self._given / self._asked
                self.learn(self._estimated, (hits - self._hits) * (1.0 if ours > _ALL else ours))
            self._asked *= _KEEP
            self._given *= _KEEP
        self._queries, self._hits, self._estimated = queries, hits, 0
        return anew


class Index:
    """The caches of a pool's replicas, and who has a block."""

    __slots__ = (
        "_caches", "_first", "_keys", "_large", "_last", "_lessons", "_model", "_most", "_salted", "max_blocks",
        "per_token", "tokens", "turn", "who",
    )  # fmt: skip

    def __init__(self, tokens: int, max_blocks: int) -> None:
        self.tokens = tokens
        """Of the KV cache of an engine that does not tell."""
        self.max_blocks = max_blocks
        self._most = max_blocks
        self._caches: dict[str, Cache] = {}
        self.who: dict[int, list[Cache]] = {}
        """Block -> who has it, the latest last; for some blocks (`MARKED`). To be read."""
        self._large = False
        self._lessons: dict[str, list[float]] = {}
        """Model -> bytes, tokens."""
        self.per_token: dict[str, float] = {}
        """Model -> bytes of a token, as far as answers have told. To be read; see `bytes_per_token`."""
        self._last: tuple[tuple[int, ...], str] = ((), "")
        self._keys: Keys = ()
        self._first: str | None = None
        self._model: str | None = None
        self._salted = 0
        self.turn = 0
        """Prompts so far of which nobody knew anything."""

    def __len__(self) -> int:
        return sum(cache.held for cache in self._caches.values())

    # ===== reads =====

    def _salt(self, model: str) -> int:
        """What makes one model's blocks others than another's: most pools have one, which needs nothing."""
        if model != self._model:
            if self._first is None:
                self._first = model
            self._model, self._salted = model, 0 if model == self._first else _salt(model)
        return self._salted

    def keys(self, prefix: tuple[int, ...], model: str) -> Keys:
        """The blocks of a prompt for this model: another model, or LoRA adapter, shares nothing with it."""
        last, of = self._last
        if last is not prefix or of != model:  # one call asks twice: when it is placed, and when it is sent
            salt = self._salt(model)
            self._keys = tuple([block | salt for block in reversed(prefix)]) if salt else prefix[::-1]
            self._last = (prefix, model)
        return self._keys

    def begins(self, prefix: tuple[int, ...], model: str) -> bool:
        """Whether anybody has the first block of a prompt."""
        return prefix[0] | (self._salted if model == self._model else self._salt(model)) in self.who

    def root(self, prefix: tuple[int, ...], model: str) -> tuple[int, Sequence[Cache]]:
        """The first block of a prompt, and some who have it."""
        key = prefix[0] | self._salt(model)
        return key, self.who.get(key, ())

    def known(self, keys: Keys) -> bool:
        """The same, of its blocks."""
        return keys[-1] in self.who

    def holders(self, keys: Keys) -> list[Cache]:
        """Some who have the longest known part of it."""
        count, holders = len(keys), self.who
        for at in _MARKED_IN[count]:
            if (key := keys[count - 1 - at]) in holders:
                return holders[key]
        return []

    def bytes_per_token(self, model: str) -> float:
        """Of this model's prompts, as far as answers have told."""
        return self.per_token.get(model, BYTES_PER_TOKEN)

    # ===== what happens =====

    def keep(self, caches: Iterable[Cache]) -> None:
        """Only these exist any longer."""
        now = {cache.owner: cache for cache in caches}
        for owner, cache in list(self._caches.items()):
            if now.get(owner) is not cache:
                self.forget(cache)
                del self._caches[owner]
        self._caches.update(now)
        self._large = len(now) > SMALL_FLEET
        self._most = min(self.max_blocks, MOST_BLOCKS // max(1, len(now)))

    def forget(self, cache: Cache) -> None:
        """Its engine has lost everything."""
        for key in cache.clear():
            self._unmark(key, cache)
        cache.answers = 0

    def sent(self, prefix: tuple[int, ...], model: str, prompt_bytes: int, cache: Cache) -> Cached:
        """A call goes there and will leave its prompt in the cache. What of it is there already.

        Where all of its full blocks are known it is taken to be known to its end, and the engine finds whole blocks of
        its own, all but the last token. Where prompts part in a block, that may be anywhere: the middle is taken, of
        its block and of the engine's."""
        keys = self.keys(prefix, model)
        count = len(keys)
        depth = count if keys[0] in cache.blocks else cache.depth(keys)
        found = NOTHING
        rate = self.per_token.get(model, BYTES_PER_TOKEN)
        if depth:
            if depth == count:
                tokens = max(0, int(prompt_bytes / rate) - 1)
                tokens -= tokens % cache.unit
            else:
                tokens = max(0, int((ENDS[depth] + ENDS[depth + 1]) / 2 / rate - (cache.unit - 1) / 2))
            found = Cached(tokens, int(tokens * cache.trust), cache.owner)
        elif keys[-1] not in self.who:
            self.turn += 1
            cache.turn = self.turn
        cache.sent(found.counted, prompt_bytes / rate)
        cache.use(keys, depth)
        if not depth or self._large:
            for at in MARKED if self._large else ROOT:
                if at >= count:
                    break
                if at >= depth:
                    self._mark(keys[count - 1 - at], cache)
        self._shrink(cache, rate)
        return found

    def ended(self, model: str, prompt_bytes: int, cached: Cached, usage: Usage, cache: Cache) -> None:
        """An answer is complete: its tokens have taken room too, and it tells what a token is in bytes."""
        if usage.prompt_tokens:
            self._learn(model, prompt_bytes, usage.prompt_tokens)
        if usage.cached_tokens and not cache.tells:
            cache.tells = True
        if cache.tells and cached.counted:
            cache.learn(cached.counted, usage.cached_tokens)
        if usage.completion_tokens:
            rate = self.per_token.get(model, BYTES_PER_TOKEN)
            size = cache.answers + int(usage.completion_tokens * rate)
            if size >= SHORTEST_BYTES:
                cache.answered(size)
                size = 0
                self._shrink(cache, rate)
            cache.answers = size

    def _learn(self, model: str, prompt_bytes: int, prompt_tokens: int) -> None:
        """So many bytes were so many tokens."""
        lesson = self._lessons.get(model)
        if lesson is None:
            model = model if len(self._lessons) < _MODELS else ""
            lesson = self._lessons.setdefault(model, [0.0, 0.0])
        lesson[0] = size = lesson[0] * _KEEP + prompt_bytes
        lesson[1] = tokens = lesson[1] * _KEEP + prompt_tokens
        self.per_token[model] = size / tokens

    def _shrink(self, cache: Cache, rate: float) -> None:
        """Let go what its engine has let go by now."""
        most_bytes = (self.tokens if cache.tokens is None else cache.tokens) * rate
        if cache.bytes > most_bytes or cache.held > self._most:
            who = self.who
            for key in [key for key in cache.shrink(most_bytes, self._most) if key in who]:
                self._unmark(key, cache)

    def _mark(self, key: int, cache: Cache) -> None:
        holders = self.who.get(key)
        if holders is None:
            self.who[key] = [cache]
            return
        holders.append(cache)
        if len(holders) > _HOLDERS:
            del holders[0]

    def _unmark(self, key: int, cache: Cache) -> None:
        holders = self.who.get(key)
        if holders == [cache]:
            del self.who[key]
        elif holders is not None and cache in holders:
            holders.remove(cache)
