"""What the cache needs to know of a request, and what people see of the cache."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

CacheState = Literal["hit", "similar", "coalesced", "miss", "bypass"]
"""How a call got its answer: it was kept; it was kept for a question in other words; it was generated for another call
at the same time; it was generated for this one, and others may have it; the cache had nothing to do with it."""


class Content(Struct, frozen=True, gc=False):
    """A request's body, as far as the cache needs it."""

    digest: str
    """Of all in it that changes the answer, but for the model's name; empty: it has none, and nothing is cached."""
    fixed: bool = False
    """It determines its answer: the same request would be answered the same."""
    wish: Literal["", "use", "similar", "bypass", "refresh"] = ""
    """What the client says."""
    tags: tuple[str, ...] = ()
    """By which the answer can be invalidated."""
    frame: str | UnsetType = UNSET
    """A digest of all around its question, which may be put in other words; unset: only the same words are the same."""


class CacheView(Struct, frozen=True, kw_only=True):
    """The cache in memory, for people: admin API, metrics. Counts are since the gateway started."""

    entries: int
    bytes: int
    calls: dict[str, int]
    """How calls got their answers: hit, similar (where there is a semantic cache), coalesced, miss, bypass."""
    kept: int
    evicted: int
    """For want of room."""
    expired: int
    invalidated: int
    leading: int
    """Calls that run now, and whose answer others may join."""
    following: int
    """Calls that wait for another's answer."""
