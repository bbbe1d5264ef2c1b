"""What of a request is its question, and which requests have none."""

import json
from typing import Any

import pytest

from penstock.gateway.cache.question import Question, question_of

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "Why is the sky blue?"}
BODY: dict[str, Any] = {"model": "m", "temperature": 0, "messages": [{"role": "system", "content": "Be short."}, USER]}


def question(path: str = CHAT, longest_bytes: int = 100, **fields: Any) -> Question | None:
    """Of this body, with other fields."""
    return question_of(path, json.dumps({**BODY, **fields}).encode(), longest_bytes)


def frame(**fields: Any) -> str:
    """What is around it."""
    found = question(**fields)
    assert found is not None
    return found.frame


def said(*contents: Any) -> list[dict[str, Any]]:
    """Messages of the user, one after another."""
    return [{"role": "user", "content": content} for content in contents]


def test_the_last_message_is_the_question() -> None:
    """Whatever it says, what is around it is the same; its marks are made once."""
    found = question()
    assert found is not None
    assert found.text == "Why is the sky blue?"
    assert found.marks is found.marks
    other = [*BODY["messages"][:1], {"role": "user", "content": "Why is the sea blue?"}]
    assert frame(messages=other) == found.frame
    assert frame(model="n", user="me", stream=True) == found.frame


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [USER]},
        {"messages": [{"role": "system", "content": "Be long."}, USER]},
        {"messages": [*BODY["messages"], {"role": "assistant", "content": "Rayleigh."}, USER]},
        {"messages": [BODY["messages"][0], {**USER, "name": "bob"}]},
        {"messages": [BODY["messages"][0], {"role": "user", "content": [{"type": "text", "text": "Why?"}]}]},
        {"temperature": 1},
        {"seed": 1},
        {"max_tokens": 5},
        {"response_format": {"type": "json_object"}},
        {"whatever_comes_next": 1},
    ],
)
def test_all_else_is_the_frame(fields: dict[str, Any]) -> None:
    """The system's words, what was said before, parameters known and unknown: whose differ are not compared."""
    assert frame(**fields) != frame()


PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
NONE: dict[str, dict[str, Any]] = {
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "functions": {"functions": [{"name": "f"}]},
    "an image": {"messages": said([{"type": "text", "text": "What is that?"}, PICTURE])},
    "an image before": {"messages": [*said([PICTURE]), {"role": "assistant", "content": "A cat."}, USER]},
    "a tool's answer": {"messages": [{"role": "tool", "content": "5", "tool_call_id": "1"}, USER]},
    "a call of a tool": {"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}, USER]},
    "two texts": {"messages": said([{"type": "text", "text": "What"}, {"type": "text", "text": "now?"}])},
    "not the user's": {"messages": [USER, {"role": "assistant", "content": "It"}]},
    "no messages": {"messages": []},
    "strange messages": {"messages": ["hello"]},
    "no text": {"messages": said("  ")},
    "nothing": {"messages": said(None)},
    "long": {"messages": said("é" * 51)},
    "half a character": {"messages": said("\ud800")},
}


@pytest.mark.parametrize("fields", NONE.values(), ids=NONE)
def test_what_is_more_than_words_has_no_question(fields: dict[str, Any]) -> None:
    """Tools, images, or anything else by which its answer may differ."""
    assert question(**fields) is None


def test_other_requests_have_none() -> None:
    """Other paths, very long ones, and those whose keys stand twice."""
    assert question("/v1/embeddings") is None
    assert question("/v1/messages") is not None
    assert question(metadata="x" * 70_000) is None
    twice = b'{"model":"m","messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b"}]}'
    assert question_of(CHAT, twice, 100) is None


def test_a_text_may_stand_in_one_part() -> None:
    """As some clients write it."""
    found = question(messages=said([{"type": "text", "text": "Why?"}]))
    assert found is not None
    assert found.text == "Why?"
