"""The Responses API: named events in their order, numbered, and the same object at their end as without a stream."""

from typing import Any

import msgspec

from penstock.emulator.openai import Reply
from penstock.emulator.plan import Plan
from penstock.emulator.replica import Job
from penstock.emulator.responses import Item, ResponsesBody, ResponsesFrames, conversation
from penstock.emulator.text import Answer
from penstock.engine.words import Finish

PLAN = Plan([Job(8, 2, ())], [Answer(["oak0", " elm1"], ["oak0", " elm1"], "length")], 1)
ENDS = [Finish("0", 8, 2, 0, "length")]


def frames() -> ResponsesFrames:
    """A response of two tokens."""
    return ResponsesFrames(Reply("resp_1", 5, "tiny", "f"), PLAN, ResponsesBody(input="hi", max_output_tokens=2))


def test_the_order_of_events() -> None:
    """What a vLLM sends around the deltas, each event numbered."""
    sent = frames()
    body = sent.head() + sent.tokens(0, 0, 2, ENDS[0]) + sent.tail(ENDS)
    events: list[Any] = [msgspec.json.decode(part.split("\ndata: ")[1]) for part in body.decode().split("\n\n")[:-1]]
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert events[-1]["response"] == msgspec.json.decode(frames().whole(ENDS))


def test_an_answer_that_was_cut_is_incomplete() -> None:
    """Reaching max_output_tokens is told in the status; usage has the counts."""
    whole = msgspec.json.decode(frames().whole(ENDS))
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"]) == (8, 2)
    assert whole["output"][0]["content"][0]["text"] == "oak0 elm1"


def test_input_is_a_text_or_a_conversation() -> None:
    """Instructions come first as the system's words."""
    assert conversation(ResponsesBody(input="hi", instructions="be brief")) == [("system", "be brief"), ("user", "hi")]
    items = [Item("user", "a"), Item("assistant", "b")]
    assert conversation(ResponsesBody(input=items)) == [("user", "a"), ("assistant", "b")]
