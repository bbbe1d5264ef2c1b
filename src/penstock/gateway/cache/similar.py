"""Questions in other words: what is done of the Gate's orders about them. Vectors stay here, in memory: a Gate, a
journal or a store never sees one, because much of a question could be read out of it.

Needs numpy: imported only where there is a semantic cache (see `comparing`).
"""

from collections.abc import Callable, Collection

from msgspec import UNSET
from msgspec.structs import replace

from penstock.base.contents import Content
from penstock.base.ports import Embedder
from penstock.core.cache.nearest import Nearest, Vector, unit
from penstock.core.cache.spec import CacheSpec, SemanticSpec
from penstock.core.effects import Compare, Keep
from penstock.core.events import Compared, Event
from penstock.gateway.cache.question import Question, question_of
from penstock.gateway.cache.shelf import Kept


class Similar:
    """The kept questions, and where their vectors come from."""

    def __init__(
        self, semantic: SemanticSpec, embedder: Embedder, tell: Callable[[Event], None], kept: dict[str, Kept]
    ) -> None:
        self.semantic = semantic
        self._embedder = embedder
        self._tell = tell
        self._kept = kept
        """The answers, by key."""
        self._nearest = Nearest(semantic.compared)
        self.away = 0
        """Vectors that were not to be had."""

    def __len__(self) -> int:
        return len(self._nearest)

    def framed(self, content: Content, path: str, body: bytes, cache: CacheSpec) -> tuple[Content, Question | None]:
        """What the cache needs to know of a request, and its question; None: it does not take part."""
        if not content.digest or not (content.wish == "similar" or _all_take_part(self.semantic, cache)):
            return content, None
        question = question_of(path, body, self.semantic.longest_bytes)
        return (content, None) if question is None else (replace(content, frame=question.frame), question)

    def compare(self, order: Compare, question: Question | None) -> None:
        """Find the kept question that is most similar, and tell."""
        if question is None or not len(self._nearest):
            self._tell(Compared(order.id))
        else:
            self._embedded(question, lambda vector: self._find(order, question, vector))

    def _find(self, order: Compare, question: Question, vector: Vector | None) -> None:
        if vector is None:
            self._tell(Compared(order.id))
            return
        marks = question.marks if self.semantic.guard else None
        key, similarity = self._nearest.find(order.frame, vector, marks)
        self._tell(Compared(order.id, key, round(similarity, 4)))

    def keep(self, order: Keep, question: Question | None) -> None:
        """Its answer is kept: other questions are compared with it from now on."""
        frame = order.frame
        if frame is not UNSET and question is not None:
            self._embedded(question, lambda vector: self._add(order.key, frame, question, vector))

    def _add(self, key: str, frame: str, question: Question, vector: Vector | None) -> None:
        if vector is not None and key in self._kept:  # it may have been let go of meanwhile
            self._nearest.add(key, frame, vector, question.marks if self.semantic.guard else None)

    def drop(self, keys: tuple[str, ...]) -> None:
        """These answers are not kept any more."""
        self._nearest.drop(keys)

    def close(self) -> None:
        """Let go."""
        self._embedder.close()

    def _embedded(self, question: Question, then: Callable[[Vector | None], None]) -> None:
        if question.vector is not None:
            then(question.vector)
            return

        def told(values: Collection[float] | None) -> None:
            question.vector = None if values is None else unit(values)
            self.away += question.vector is None
            then(question.vector)

        self._embedder.embed(question.text, told)


def _all_take_part(semantic: SemanticSpec, cache: CacheSpec) -> bool:
    """Some need not ask for it."""
    return semantic.mode == "all" or any(rule.semantic == "all" for rule in cache.rules)
