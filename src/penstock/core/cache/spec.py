"""The settings of the cache, as far as decisions need them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from penstock.base.units import Bytes, Seconds


def _doc(text: str) -> Meta:
    return Meta(description=text)


Mode = Literal["off", "asked", "fixed", "all"]
Words = Literal["off", "asked", "all"]
"""Whose questions are compared with others in other words."""
Count = Annotated[int, Meta(ge=1)]


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class CacheRule(_Spec, frozen=True, kw_only=True):
    """What is cached of some calls. What is left out matches all of them."""

    tenant: Annotated[str | None, _doc("the tenant")] = None
    model: Annotated[str | None, _doc("the served model, after aliases")] = None
    path: Annotated[str | None, _doc("path prefix, e.g. /v1/embeddings")] = None
    mode: Annotated[Mode, _doc("as the `mode` of the cache")] = "fixed"
    ttl_s: Annotated[Seconds | None, _doc("how long their answers are kept; none: as the cache's")] = field(default=None, name="ttl")
    semantic: Annotated[Words | None, _doc("as the `mode` of `semantic`; none: as there")] = None


class SemanticSpec(_Spec, frozen=True, kw_only=True):
    """Kept answers are given also to questions in other words, by how similar their embeddings are [C4]. It can be wrong: docs/how-to/cache.md has measurements."""

    mode: Annotated[Words, _doc("asked: only calls with `x-penstock-cache: similar` take part; all: every chat that the cache has to do with and that is text alone, without tools; off: none")] = "asked"
    threshold: Annotated[float, Meta(gt=0, le=1, description="cosine similarity of two questions from which one may have the other's answer")] = 0.9
    guard: Annotated[bool, _doc("only questions with the same numbers, units, quoted texts, negations, names and opposites (enable, disable) are compared: embeddings hardly see these")] = True
    model: Annotated[str | None, _doc("a served model that is asked for embeddings, by /v1/embeddings, like any call; none: the small one that comes with the extra `semantic`")] = None
    timeout_s: Annotated[Seconds, _doc("how long a call waits for an embedding of `model`; then it is a miss")] = field(default=0.3, name="timeout")
    compared: Annotated[Count, Meta(le=100_000, description="questions that one is compared with at most: the last ones of its tenant, model and all around them")] = 1000
    longest_bytes: Annotated[Bytes, _doc("a longer question is not compared; 8 KiB at most")] = field(default=512, name="longest")


class CacheSpec(_Spec, frozen=True, kw_only=True):
    """Answers that are given again, and identical calls at the same time that are answered by one [C1, C2]."""

    mode: Annotated[Mode, _doc("fixed: calls whose request determines its answer (`temperature` 0 or a `seed`; embeddings, rerank, score and the like), and those that ask with `x-penstock-cache: use`; asked: only those that ask; all: also calls whose answer is drawn; off: none, even where they ask")] = "fixed"
    rules: Annotated[tuple[CacheRule, ...], _doc("other modes for some tenants, models or paths; the first that matches holds")] = ()
    ttl_s: Annotated[Seconds, _doc("how long an answer may be given again")] = field(default=3600.0, name="ttl")
    entries: Annotated[Count, _doc("answers kept in memory; beyond, the least recently used goes")] = 1000
    memory_bytes: Annotated[Bytes, _doc("bytes of answers kept in memory")] = field(default=64 << 20, name="memory")
    largest_bytes: Annotated[Bytes, _doc("a larger answer is not kept; of one that goes to several clients at once so much is held for those that read slowly")] = field(default=1 << 20, name="largest")
    version: Annotated[str, _doc("part of every key: another version finds none of the answers that were kept before")] = ""
    isolate: Annotated[bool, _doc("false: an answer for one tenant may be given to another")] = True
    coalesce: Annotated[bool, _doc("false: identical calls at the same time run each on its own")] = True
    charge: Annotated[Literal["none", "tokens"], _doc("what an answer costs that was not generated for its call: a request and no tokens, or what it would have cost")] = "none"
    replay_pace: Annotated[Literal["none", "recorded"], _doc("how fast a kept stream is given again: at once, or as fast as it came")] = "none"
    semantic: Annotated[SemanticSpec | None, _doc("kept answers are given to questions in other words as well; needs the extra `semantic`; none: only to the same question")] = None
