"""Orders about questions in other words, performed over vectors that a test gives."""

from collections.abc import Callable, Collection
from typing import Any

import pytest

pytest.importorskip("numpy", reason="the extra `semantic` is not installed")

from penstock.base.contents import Content
from penstock.core.cache.spec import CacheRule, CacheSpec, SemanticSpec
from penstock.core.effects import Compare, Keep
from penstock.core.events import Compared
from penstock.gateway.cache.question import Question
from penstock.gateway.cache.shelf import Kept
from penstock.gateway.cache.similar import Similar
from tests.helpers.caching import ask_for

KEPT = Kept(b"", b"", b"", (b"x",), (), 200, None, 0)
CHAT = "/v1/chat/completions"


class Late:
    """An embedder that answers when it is told to: by the length of a text, and nothing for an empty one."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Callable[[Collection[float] | None], None]]] = []
        self.asked = 0
        self.closed = False

    def embed(self, text: str, told: Callable[[Collection[float] | None], None]) -> None:
        self.asked += 1
        self.waiting.append((text, told))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for text, told in waiting:
            told([1.0, len(text)] if text else None)

    def close(self) -> None:
        self.closed = True


class House:
    """What compares, and what it tells."""

    def __init__(self, **spec: Any) -> None:
        self.late = Late()
        self.told: list[Any] = []
        self.kept: dict[str, Kept] = {}
        self.similar = Similar(SemanticSpec(**spec), self.late, self.told.append, self.kept)

    def keep(self, key: str, text: str) -> None:
        """A question with its answer."""
        self.kept[key] = KEPT
        self.similar.keep(Keep("c", key, 60.0, "", "", frame="f"), Question(text, "f"))
        self.late.answer()

    def compare(self, text: str) -> Any:
        """What is told of another one."""
        self.similar.compare(Compare("c", "f"), Question(text, "f"))
        self.late.answer()
        return self.told.pop()


def test_the_most_similar_one_is_told() -> None:
    """With four places; without any kept one nothing is asked for."""
    house = House(guard=False)
    assert house.compare("a") == Compared("c")
    assert house.late.asked == 0
    house.keep("k1", "why")
    house.keep("k2", "why on earth now")
    assert house.compare("who") == Compared("c", "k1", 1.0)
    assert house.compare("why on earth and why now") == Compared("c", "k2", 0.9998)
    house.similar.drop(("k1", "k2"))
    assert house.compare("who") == Compared("c")
    assert len(house.similar) == 0


def test_the_guard_may_be_left_out() -> None:
    """It is there by default."""
    for guard, found in ((True, ""), (False, "k1")):
        house = House(guard=guard)
        house.keep("k1", "open port 1")
        assert house.compare("open port 2").key == found


def test_a_vector_that_is_not_to_be_had_is_a_miss() -> None:
    """It is counted; a call that has no question here is told at once."""
    house = House()
    house.keep("k1", "why")
    assert house.compare("") == Compared("c")
    assert house.similar.away == 1
    house.similar.compare(Compare("c", "f"), None)
    assert house.told == [Compared("c")]


def test_a_question_is_embedded_once() -> None:
    """For being compared, and for being kept."""
    house = House()
    house.keep("k1", "why")
    question = Question("why not", "f")
    house.similar.compare(Compare("c", "f"), question)
    house.late.answer()
    house.kept["k2"] = KEPT
    house.similar.keep(Keep("c", "k2", 60.0, "", "", frame="f"), question)
    assert (house.late.asked, len(house.similar)) == (2, 2)


def test_what_was_let_go_of_meanwhile_is_not_kept() -> None:
    """A vector may come later than its answer goes; what nobody may have in other words is not embedded."""
    house = House()
    house.kept["k"] = KEPT
    house.similar.keep(Keep("c", "k", 60.0, "", "", frame="f"), Question("why", "f"))
    del house.kept["k"]
    house.late.answer()
    assert len(house.similar) == 0
    house.similar.keep(Keep("c", "k", 60.0, "", ""), Question("why", "f"))
    assert house.late.asked == 1
    house.similar.close()
    assert house.late.closed


@pytest.mark.parametrize(
    "mode,rule,wish,takes_part",
    [
        ("asked", None, "", False),
        ("asked", None, "use", False),
        ("asked", None, "similar", True),
        ("asked", "all", "", True),
        ("all", None, "", True),
        ("all", None, "refresh", True),
    ],
)
def test_who_takes_part(mode: Any, rule: Any, wish: Any, takes_part: bool) -> None:
    """Who asks, or all where the file says so, be it for some; others' bodies are not even read."""
    spec = CacheSpec(rules=(CacheRule(semantic=rule),) if rule else ())
    content, question = House(mode=mode).similar.framed(Content("d", wish=wish), CHAT, ask_for("Hello?"), spec)
    assert (question is not None) == takes_part
    assert bool(content.frame) == takes_part
    if question is not None:
        assert (question.text, question.frame) == ("Hello?", content.frame)


def test_what_has_no_digest_or_no_question_takes_no_part() -> None:
    """It is no part of the cache either, or more than words."""
    similar = House(mode="all").similar
    assert similar.framed(Content(""), CHAT, ask_for(), CacheSpec()) == (Content(""), None)
    tools = ask_for(tools=[{"type": "function"}])
    assert similar.framed(Content("d"), CHAT, tools, CacheSpec()) == (Content("d"), None)
