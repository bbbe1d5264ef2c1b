"""Anthropic's shape: events in their order, reasons by their names, errors in its own form."""

import msgspec
import pytest

from penstock.emulator.messages import CountBody, MessagesFrames, conversation, refused
from penstock.emulator.openai import Reply
from penstock.emulator.plan import Plan
from penstock.emulator.replica import Job
from penstock.emulator.text import Answer
from penstock.emulator.wire import Message, Part, Wrong
from penstock.engine.words import Finish

REPLY = Reply("chatcmpl-1", 5, "tiny", "f")
ENDS = [Finish("0", 8, 1, 0, "length")]


def plan(said: Answer) -> Plan:
    """One message."""
    return Plan([Job(8, 1, ())], [said], 1)


def test_a_stream_literally() -> None:
    """Start, block, one delta a token, end with usage, stop."""
    frames = MessagesFrames(REPLY, plan(Answer(["oak0"], ["oak0"], "length")))
    body = frames.head() + frames.tokens(0, 0, 1, ENDS[0]) + frames.tail(ENDS)
    assert body.decode().removesuffix("\n\n").split("\n\n") == [
        'event: message_start\ndata: {"type":"message_start","message":{"id":"chatcmpl-1","type":"message",'
        '"role":"assistant","content":[],"model":"tiny","stop_reason":null,"stop_sequence":null,'
        '"usage":{"input_tokens":8,"output_tokens":0}}}',
        'event: content_block_start\ndata: {"type":"content_block_start","content_block":{"type":"text","text":""},'
        '"index":0}',
        'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"oak0"},'
        '"index":0}',
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}',
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"max_tokens",'
        '"stop_sequence":null},"usage":{"input_tokens":8,"output_tokens":1}}',
        'event: message_stop\ndata: {"type":"message_stop"}',
    ]


@pytest.mark.parametrize(
    "said, reason",
    [
        (Answer(["a"], ["a"], "length"), {"stop_reason": "max_tokens"}),
        (Answer(["a"], ["a"], "stop"), {"stop_reason": "end_turn"}),
        (Answer(["ab"], ["a"], "stop", "b"), {"stop_reason": "stop_sequence", "stop_sequence": "b"}),
    ],
)
def test_reasons_have_other_names(said: Answer, reason: dict[str, str]) -> None:
    """length is max_tokens, stop is end_turn, and a stop string is named."""
    whole = msgspec.json.decode(MessagesFrames(REPLY, plan(said)).whole([Finish("0", 8, 1, 3, said.reason)]))
    assert {key: value for key, value in whole.items() if key.startswith("stop")} == reason
    assert whole["content"] == [{"type": "text", "text": "a"}]
    assert whole["usage"] == {"input_tokens": 8, "output_tokens": 1, "cache_read_input_tokens": 3}


def test_the_system_prompt_comes_first() -> None:
    """It stands beside the messages and may be made of parts."""
    body = CountBody(messages=[Message("user", "hi")], system=[Part(text="be"), Part(text="brief")])
    assert conversation(body) == [("system", "be\nbrief"), ("user", "hi")]


def test_errors_have_their_own_form() -> None:
    """The type says error, and the status is kept."""
    response = refused(Wrong("no such model", None, 404, "NotFoundError"))
    assert response.status_code == 404
    assert bytes(response.body) == b'{"type":"error","error":{"type":"NotFoundError","message":"no such model"}}'
