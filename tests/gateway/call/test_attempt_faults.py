"""Replicas' faults: the exact name of everything that can go wrong, and what the client sees of it."""

import json

import pytest

from penstock.adapters.wire.response import MAX_HEAD_BYTES
from penstock.core.events import Arrived, Began, Ended, Failed
from tests.helpers.plane import call, only, serving
from tests.helpers.wire import (
    BEGUN,
    CLOSE,
    DONE,
    HANG,
    RESET,
    ROLE,
    SSE_HEAD,
    USAGE,
    Client,
    Engine,
    Script,
    answer,
    chunk,
    event,
    run,
)

STREAM = b'{"model":"m","stream":true}'
GOOD = b'{"good":1}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n"
WHOLE = event("a") + event("b") + USAGE + DONE


BEFORE: dict[str, tuple[Script, str, int]] = {
    "closes at once": ([CLOSE], "closed_early", 502),
    "resets at once": ([RESET], "closed_early", 502),
    "half a status line": ([b"HTTP/1.1 2", CLOSE], "bad_response", 502),
    "half a head": ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", CLOSE], "bad_response", 502),
    "resets in its head": ([b"HTTP/1.1 200 OK\r\n", RESET], "bad_response", 502),
    "garbage": ([b"hello\r\n\r\n", HANG], "bad_response", 502),
    "garbage without an end": ([b"\x00\x01\x02\x03\x04\x05\x06\x07", HANG], "bad_response", 502),
    "an endless head": ([HEAD + b"x: y\r\n" * (MAX_HEAD_BYTES // 6 + 10), HANG], "bad_response", 502),
    "two lengths": ([HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}", HANG], "bad_response", 502),
    "a length and chunks": ([CHUNKED + b"content-length: 2\r\n\r\n{}", HANG], "bad_response", 502),
    "a switch of protocols": ([b"HTTP/1.1 101 X\r\nupgrade: h2c\r\n\r\n", HANG], "bad_response", 502),
    "endless interim answers": ([b"HTTP/1.1 102 X\r\n\r\n" * 100, HANG], "bad_response", 502),
    "a redirect": ([answer(b"", 302, extra="location: http://evil/\r\n")], "bad_response", 502),
    "not modified": ([b"HTTP/1.1 304 X\r\n\r\n"], "bad_response", 502),
    "500": ([answer(b'{"secret":"insides"}', 500)], "upstream_5xx", 502),
    "502": ([answer(b"", 502)], "upstream_5xx", 502),
    "504": ([answer(b"", 504)], "upstream_5xx", 502),
    "500 without an end": ([b"HTTP/1.1 500 X\r\n\r\noh", HANG], "upstream_5xx", 502),
    "503": ([answer(b"", 503, extra="retry-after: 7\r\n")], "upstream_unavailable", 503),
    "429": ([answer(b"", 429, extra="retry-after: 9\r\n")], "upstream_busy", 429),
    "401": ([answer(b'{"key":"sk-secret"}', 401)], "upstream_auth", 502),
    "403": ([answer(b"", 403)], "upstream_auth", 502),
    "407": ([answer(b"", 407)], "upstream_auth", 502),
    "silence": ([HANG], "first_byte_timeout", 504),
    "a head and silence": ([SSE_HEAD, HANG], "first_byte_timeout", 504),
    "a role and silence": ([SSE_HEAD + chunk(ROLE), HANG], "first_byte_timeout", 504),
    "half an answer and silence": ([HEAD + b"content-length: 20\r\n\r\n{", HANG], "idle_timeout", 504),
    "half an answer": ([HEAD + b"content-length: 20\r\n\r\n{", CLOSE], "died_mid_answer", 502),
    "half an answer and a reset": ([HEAD + b"content-length: 20\r\n\r\n{", RESET], "died_mid_answer", 502),
    "half a chunked answer": ([CHUNKED + b"\r\n5\r\n{", CLOSE], "died_mid_answer", 502),
    "no last chunk": ([CHUNKED + b"\r\n2\r\n{}\r\n", CLOSE], "died_mid_answer", 502),
    "bad chunks": ([CHUNKED + b"\r\nzz\r\n{}\r\n", HANG], "died_mid_answer", 502),
    "half of JSON until close": ([HEAD + b'\r\n{"a":', CLOSE], "died_mid_answer", 502),
    "a stream that dies before content": ([SSE_HEAD + chunk(ROLE), CLOSE], "died_mid_answer", 502),
    "a stream of nothing until close": ([EVENTS + b"\r\n", CLOSE], "died_mid_answer", 502),
    "an error event first": ([SSE_HEAD + chunk(b'data: {"error":{"message":"CUDA"}}\n\n'), HANG], "upstream_5xx", 502),
    "an error event behind a role": (
        [SSE_HEAD + chunk(ROLE) + chunk(b'data: {"error":{"code":503}}\n\n'), HANG], "upstream_unavailable", 503,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BEFORE)
def test_a_failure_before_content_is_a_status(what: str) -> None:
    """Its label is told once, the client gets the status in OpenAI's shape and nothing of the replica's insides."""
    script, label, status = BEFORE[what]
    found, facts, engines = call(script, body=STREAM, timeouts=(0.5, 0.05, 0.05))
    failed = only(facts, Failed)
    assert failed.label == label
    assert not [fact for fact in facts if isinstance(fact, Began | Ended)]
    assert (found.status, found.complete) == (status, True)
    assert json.loads(found.body)["error"]["code"] == label
    assert found.header("x-request-id") == only(facts, Arrived).call.id
    assert found.header("x-penstock-attempts") == "1"
    for secret in (b"secret", b"insides", b"CUDA", b"127.0.0.1", str(engines[0].port).encode()):
        assert secret not in found.raw
    assert found.header("retry-after") == {"429": "9", "503": "7"}.get(what)
    assert failed.retry_after_s == {"429": 9.0, "503": 7.0}.get(what)


@pytest.mark.parametrize("what", BEFORE)
def test_a_failure_before_content_fails_over(what: str) -> None:
    """Another replica's answer is all that the client sees, and each replica got the same bytes once."""
    script, _, _ = BEFORE[what]
    found, facts, engines = call(script, body=STREAM, second=[answer(GOOD)], attempts=2, timeouts=(0.5, 0.05, 0.05))
    assert (found.status, found.body) == (200, GOOD)
    assert found.header("x-penstock-attempts") == "2"
    assert [len(engine.got) for engine in engines] == [1, 1]
    assert engines[0].got[0].body == engines[1].got[0].body
    assert only(facts, Ended).attempt == 2
    assert engines[1].got[0].header("x-request-id") == f"{only(facts, Arrived).call.id}-2"


AFTER: dict[str, tuple[Script, str]] = {
    "closes": ([CLOSE], "died_mid_answer"),
    "resets": ([RESET], "died_mid_answer"),
    "closes within a chunk": ([b"50\r\ndata: {", CLOSE], "died_mid_answer"),
    "closes within an event": ([chunk(b'data: {"choices"'), CLOSE], "died_mid_answer"),
    "closes within a size": ([b"5", CLOSE], "died_mid_answer"),
    "closes behind its end mark": ([chunk(DONE), CLOSE], "died_mid_answer"),
    "breaks its chunks": ([b"zz\r\n", HANG], "died_mid_answer"),
    "signs its chunks": ([b"+5\r\nhello\r\n", HANG], "died_mid_answer"),
    "runs over its chunk": ([b"5\r\nhello!!\r\n", HANG], "died_mid_answer"),
    "falls silent": ([HANG], "idle_timeout"),
    "falls silent within an event": ([chunk(b"data: {"), HANG], "idle_timeout"),
}


@pytest.mark.parametrize("what", AFTER)
def test_a_stream_that_dies_ends_in_an_error_event(what: str) -> None:
    """The client gets what came whole, then one error event, no mark of success, and a close; nobody tries again."""
    script, label = AFTER[what]
    begin: Script = [SSE_HEAD, chunk(ROLE), chunk(event("a")), chunk(event("b")), BEGUN]
    found, facts, engines = call(
        [*begin, *script], body=STREAM, second=[answer(GOOD)], attempts=3, timeouts=(0.5, 5.0, 0.1)
    )
    assert only(facts, Failed).label == label
    assert found.status == 200
    expected = ROLE + event("a") + event("b")
    if what == "closes behind its end mark":
        expected += DONE
    assert found.body.startswith(expected)
    rest = found.body[len(expected) :]
    assert rest.startswith(b"data: {")
    assert rest.endswith(b"\n\n")
    assert json.loads(rest[6:])["error"]["code"] == label
    assert found.complete
    assert sum(len(engine.got) for engine in engines) == 1
    assert only(facts, Failed).relayed_tokens == (3 if what == "closes behind its end mark" else 2)


def test_a_stream_of_messages_that_dies_ends_in_an_error_of_its_kind() -> None:
    """Anthropic's clients pass over events without a name, and would take what came for the whole."""
    script: Script = [SSE_HEAD, chunk(event("a")), BEGUN, CLOSE]
    found, _, _ = call(script, body=STREAM, path="/v1/messages")
    assert found.body.startswith(event("a") + b'event: error\ndata: {"type":"error","error":{')


@pytest.mark.parametrize("what", ["closes", "resets", "falls silent"])
def test_other_answers_that_die_are_cut(what: str) -> None:
    """A large answer under way cannot be repaired: its connection breaks before the announced end."""
    script, _ = AFTER[what]
    size = 600_000
    found, facts, engines = call(
        [HEAD + b"content-length: %d\r\n\r\n" % size, b"x" * 400_000, BEGUN, *script], second=[answer(GOOD)],
        attempts=3,
        timeouts=(0.5, 5.0, 0.1),
    )  # fmt: skip
    assert found.status == 200
    assert not found.complete
    assert sum(len(engine.got) for engine in engines) == 1
    assert only(facts, Failed)


def test_an_http10_client_sees_a_cut_as_a_reset() -> None:
    """Where a close is the end of an answer, a broken one must not close cleanly."""

    async def main() -> None:
        script: Script = [HEAD + b"content-length: 600000\r\n\r\n", b"x" * 400_000, BEGUN, CLOSE]
        async with Engine([script]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(b'POST /v1/chat/completions HTTP/1.0\r\nContent-Length: 13\r\n\r\n{"model":"m"}')
            with pytest.raises(ConnectionResetError):
                await client.reader.read()

    run(main)
