"""Whether questions in other words are compared here, and by whose vectors. What of that needs the extra `semantic` is
imported when somebody has it switched on: otherwise it costs nothing, also no memory.
"""

import logging
from functools import cache
from importlib.util import find_spec
from typing import Protocol

from penstock.base.contents import Content
from penstock.base.ports import Embedder
from penstock.core.cache.spec import CacheSpec, SemanticSpec
from penstock.core.effects import Compare, Keep
from penstock.core.events import Event
from penstock.gateway.cache.question import Question
from penstock.gateway.cache.shelf import Shelf
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.plane import Plane

log = logging.getLogger("penstock.cache")


class Comparer(Protocol):
    """Who compares questions in other words."""

    semantic: SemanticSpec
    away: int
    """Vectors that were not to be had."""

    def framed(self, content: Content, path: str, body: bytes, cache: CacheSpec) -> tuple[Content, Question | None]:
        """What the cache needs to know of a request, and its question; None: it does not take part."""
        ...

    def compare(self, order: Compare, question: Question | None) -> None:
        """Find the kept one that is most similar; it is told within a bounded time."""
        ...

    def keep(self, order: Keep, question: Question | None) -> None:
        """Its answer is kept."""
        ...

    def drop(self, keys: tuple[str, ...]) -> None:
        """These answers are not kept any more."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class House(Plane, Protocol):
    """The data plane, as seen from here."""

    exchanges: dict[str, Exchange]
    shelf: Shelf
    similar: Comparer | None

    def new_id(self) -> str:
        """For a call of our own."""
        ...


def missing(semantic: SemanticSpec | None) -> str:
    """Why questions cannot be compared here, for people; empty: they can, or nobody wants it."""
    if semantic is None:
        return ""
    needed = ("numpy",) if semantic.model is not None else ("numpy", "wordllama")
    lacking = [name for name in needed if find_spec(name) is None]
    return f"cache.semantic: {lacking[0]} is missing: pip install 'penstock[semantic]'" if lacking else ""


def comparer(house: House, semantic: SemanticSpec | None) -> Comparer | None:
    """Who compares under these settings, the same as before where they allow it; None: nobody, and where somebody wants
    it, why is logged."""
    old = house.similar
    if old is not None and semantic is not None and _same(old.semantic, semantic):
        old.semantic = semantic
        return old
    if old is not None:
        old.close()
    if semantic is None:
        return None
    if why := missing(semantic):
        _complain(why)
        return None
    from penstock.gateway.cache.similar import Similar

    def tell(event: Event) -> None:
        house.tell(event)  # which is attached later

    return Similar(semantic, _embedder(house, semantic), tell, house.shelf.kept)


@cache
def _complain(why: str) -> None:
    """Once, although settings are applied again and again."""
    log.error("%s; until then only the same questions are answered from the cache", why)


def _embedder(house: House, semantic: SemanticSpec) -> Embedder:
    if semantic.model is not None:
        from penstock.gateway.cache.asking import Asking

        return Asking(house, semantic.model, semantic.timeout_s)
    from penstock.adapters.embedders.local import Local

    return Local()


def _same(old: SemanticSpec, new: SemanticSpec) -> bool:
    """Nothing differs that kept vectors depend on: who is let in, and from which similarity on, may."""
    return (old.model, old.guard, old.compared, old.timeout_s) == (new.model, new.guard, new.compared, new.timeout_s)
