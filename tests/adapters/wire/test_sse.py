"""Telling events apart: content, nothing yet, failure, usage."""

import pytest

from penstock.adapters.wire import sse
from penstock.base.nouns import Usage

EMPTY = {
    "a comment": b": ping\n\n",
    "an Anthropic ping": b'event: ping\ndata: {"type": "ping"}\n\n',
    "a role alone": b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    "an empty delta": b'data: {"choices":[{"delta":{}}]}\n\n',
    "an empty text": b'data: {"choices":[{"text":""}]}\n\n',
    "no choices": b'data: {"choices":[]}\n\n',
    "the start of a message": b'event: message_start\ndata: {"type":"message_start","message":{"usage":{}}}\n\n',
    "the start of a block": b'data: {"type":"content_block_start","content_block":{"type":"text","text":""}}\n\n',
    "a response created": b'event: response.created\ndata: {"type":"response.created","response":{"error":null}}\n\n',
}
CONTENT = {
    "a token": b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n',
    "reasoning": b'data: {"choices":[{"delta":{"reasoning_content":"x"}}]}\n\n',
    "a tool call": b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n',
    "a completion's text": b'data: {"choices":[{"text":"x"}]}\n\n',
    "the end of an empty answer": b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    "the end mark": b"data: [DONE]\n\n",
    "something unknown": b'data: {"what":"ever"}\n\n',
    "no JSON": b"data: hello\n\n",
    "broken JSON": b'data: {"choices":\n\n',
    "no space behind the colon": b'data:{"choices":[{"delta":{"content":"x"}}]}\n\n',
    "an Anthropic delta": b'data: {"type":"content_block_delta","delta":{"text":"x"}}\n\n',
    "line ends of Windows": b'data: {"choices":[{"delta":{"content":"x"}}]}\r\n\r\n',
    "deep nesting": b'data: {"a":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n",
}
ERRORS = {
    "OpenAI's": b'data: {"error":{"message":"x","code":500}}\n\n',
    "Anthropic's": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
    "a failed response": b'data: {"type":"response.failed","response":{}}\n\n',
    "a text": b'data: {"error":"CUDA"}\n\n',
}


@pytest.mark.parametrize("what", EMPTY)
def test_what_nobody_waits_for_is_empty(what: str) -> None:
    """Roles, pings, comments and announcements bring no content."""
    assert sse.kind_of(EMPTY[what]) == "empty"


@pytest.mark.parametrize("what", CONTENT)
def test_tokens_and_whatever_is_not_understood_are_content(what: str) -> None:
    """Nothing that might matter is held back."""
    assert sse.kind_of(CONTENT[what]) == "content"


@pytest.mark.parametrize("what", ERRORS)
def test_failures_are_recognised(what: str) -> None:
    """The engine's own error events are failures."""
    assert sse.kind_of(ERRORS[what]) == "error"


def test_the_status_of_an_error_is_found() -> None:
    """`code` or `status`, as a number or as digits; else none."""
    assert sse.status_of_error(b'data: {"error":{"code":400}}\n\n') == 400
    assert sse.status_of_error(b'data: {"error":{"code":"503"}}\n\n') == 503
    assert sse.status_of_error(b'data: {"error":{"code":"rate_limit","status":429}}\n\n') == 429
    assert sse.status_of_error(b'data: {"error":{"code":7}}\n\n') == 0
    assert sse.status_of_error(b'data: {"error":"x"}\n\n') == 0
    assert sse.status_of_error(b'data: {"error":{"type":7}}\n\n') == 0


def test_types_of_errors_have_a_status() -> None:
    """Where no number is told: OpenAI's and Anthropic's types, and TGI's, which stand beside the error."""
    assert sse.status_of_error(b'data: {"error":{"type":"invalid_request_error","code":null}}\n\n') == 400
    assert sse.status_of_error(b'data: {"type":"error","error":{"type":"overloaded_error"}}\n\n') == 503
    assert sse.status_of_error(b'data: {"error":{"type":"invalid_request_error","code":500}}\n\n') == 500
    assert sse.status_of_error(b'data: {"error":"too long","error_type":"validation"}\n\n') == 422
    assert sse.status_of_error(b'data: {"error":"full","error_type":"overloaded"}\n\n') == 429
    assert sse.status_of_error(b'data: {"error":"CUDA","error_type":"generation"}\n\n') == 0


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_events_are_split_at_their_own_ends(end: bytes) -> None:
    """Each event keeps its end, and what is unfinished comes last."""
    payload = b"data: a" + end + b"data: b" + end + b"data: c"
    assert sse.split(payload) == [b"data: a" + end, b"data: b" + end, b"data: c"]
    assert payload[: sse.last_end(payload)] == b"data: a" + end + b"data: b" + end
    assert sse.last_end(b"data: a") == 0


def test_events_of_mixed_line_ends_are_split() -> None:
    """A proxy or an engine's library may end some lines with LF and some with CRLF: no event is taken for a part of the
    one beside it."""
    events = [b"data: a\r\n\r\n", b"data: b\n\n", b"data: c\n\r\n", b"data: d\r\ndata: e\r\n\n", b": ping\r\r"]
    assert sse.split(b"".join(events)) == events
    for count in range(1, 6):
        whole = b"".join(events[:count])
        assert sse.last_end(whole + b"data: x\r\n") == len(whole)


def test_data_lines_are_joined() -> None:
    """Several data lines are one text; other fields are not part of it."""
    assert sse.data_of(b"event: x\ndata: a\ndata:b\nid: 1\n\n") == b"a\nb"
    assert sse.data_of(b": only a comment\n\n") == b""


def test_the_chunk_with_usage_alone_is_recognised() -> None:
    """Empty choices and a usage: that chunk brings nothing else; others are not it."""
    found = sse.usage_alone(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n')
    assert found == Usage(7, 3, 0)
    assert sse.usage_alone(b'data: {"choices":[{"delta":{"content":"[]"}}],"usage":{"prompt_tokens":7}}\n\n') is None
    assert sse.usage_alone(b'data: {"choices":[]}\n\n') is None
    assert sse.usage_alone(b"data: [DONE]\n\n") is None
    assert sse.usage_alone(b'data: {"choices":[],"usage":null}\n\n') is None


def test_streams_say_when_they_are_complete() -> None:
    """The marks at the end of the three families are known."""
    assert sse.ended(b"data: [DONE]\n\n")
    assert sse.ended(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert sse.ended(b'event: response.completed\ndata: {"type":"response.completed"}\n\n')
    assert not sse.ended(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
