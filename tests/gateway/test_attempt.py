"""Attempts at replicas: what they send, and the exact name of everything that can go wrong."""

import gzip
import json
import socket
import time
from typing import Any

import pytest

from penstock.adapters.wire.response import MAX_HEAD_BYTES
from penstock.base.nouns import Replica, Usage
from penstock.core.events import Arrived, Began, Ended, Failed
from penstock.gateway.attempt import retry_after_s, verdict
from tests.helpers.plane import serving
from tests.helpers.wire import (
    BEGUN,
    CLOSE,
    DONE,
    END,
    HANG,
    RESET,
    ROLE,
    SSE_HEAD,
    USAGE,
    Answer,
    Client,
    Engine,
    Script,
    answer,
    chunk,
    event,
    request,
    run,
    stream,
    until,
)

STREAM = b'{"model":"m","stream":true}'
GOOD = b'{"good":1}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n"
WHOLE = event("a") + event("b") + USAGE + DONE


def call(
    *scripts: Script, body: bytes = b'{"model":"m"}', extra: str = "", second: Script | None = None, **options: Any
) -> tuple[Answer, list[Any], list[Engine]]:
    """One call over one engine that plays the scripts, and a second engine where one is given."""

    async def main() -> tuple[Answer, list[Any], list[Engine]]:
        engines = [Engine([list(script) for script in scripts]), Engine([second or [answer(GOOD)]])]
        async with engines[0], engines[1]:
            chosen = engines if second is not None else engines[:1]
            async with serving(*chosen) as rig:
                rig.gate.attempts = options.get("attempts", 1)
                rig.gate.timeouts = options.get("timeouts", rig.gate.timeouts)
                async with Client(rig.port) as client:
                    client.send(request(body, extra=extra, path=options.get("path", "/v1/chat/completions")))
                    found = await client.answer()
                    return found, rig.gate.facts, engines

    return run(main)


def only(facts: list[Any], kind: type) -> Any:
    """The one fact of a kind."""
    (found,) = (fact for fact in facts if isinstance(fact, kind))
    return found


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
    "501": ([answer(b"", 501)], "upstream_5xx", 502),
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


def test_what_is_sent_is_rebuilt_from_what_was_understood() -> None:
    """Our Host, one length, the client's own headers, the body byte for byte; no connection headers, no secrets."""
    body = b'{ "model" : "m",\n"x":1.50, "unknown_field":[1,  2]}'
    _, facts, (engine, _) = call(
        [answer()],
        body=body,
        extra="User-Agent: ua\r\nX-Mine: y\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nCookie: c\r\n"
        "Authorization: Bearer k\r\n",
    )
    (got,) = engine.got
    assert got.line == b"POST /v1/chat/completions HTTP/1.1"
    assert got.body == body
    assert got.headers == [
        ("host", f"127.0.0.1:{engine.port}"), ("content-type", "application/json"), ("user-agent", "ua"),
        ("x-mine", "y"),
        ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"), ("content-length", str(len(body))),
        ("x-request-id", only(facts, Arrived).call.id),
    ]  # fmt: skip


def test_the_call_is_told_as_it_was_understood() -> None:
    """Everything that decisions need, and nothing of the prompt."""
    body = b'{"model":"m","stream":true,"max_tokens":9,"messages":["secret prompt"]}'
    _, facts, _ = call(stream("a"), body=body, extra="X-Request-Id: mine\r\n", path="/v1/chat/completions?x=1")
    arrived = only(facts, Arrived).call
    assert (arrived.model, arrived.path, arrived.host, arrived.client_id) == (
        "m",
        "/v1/chat/completions",
        "test",
        "mine",
    )
    assert (arrived.stream, arrived.repeatable, arrived.max_tokens, arrived.body_bytes) == (True, True, 9, len(body))
    assert arrived.prompt_tokens == len(body) // 4
    assert "secret" not in repr(arrived)


def test_an_answer_passes_as_it_is() -> None:
    """Status, type and body are the engine's; id, replica, queue time and attempts are ours; not its server's name."""
    found, facts, _ = call(
        [answer(b'{"a": 1}', extra="server: uvicorn\r\nx-request-id: theirs\r\nx-own: 1\r\n")],
        extra="X-Request-Id: mine\r\n",
    )
    assert (found.status, found.body) == (200, b'{"a": 1}')
    assert found.headers == [
        ("content-type", "application/json"), ("x-own", "1"), ("content-length", "8"), ("x-request-id", "mine"),
        ("x-penstock-replica", "r0"), ("x-penstock-queue-ms", "2"), ("x-penstock-attempts", "1"),
    ]  # fmt: skip
    assert [type(fact) for fact in facts] == [Arrived, Ended]


@pytest.mark.parametrize("status", [201, 400, 404, 413, 422])
def test_a_clients_mistake_that_the_engine_found_is_an_answer(status: int) -> None:
    """2xx and most of 4xx pass with their body."""
    found, facts, _ = call([answer(b'{"error":"x"}', status)])
    assert (found.status, found.body) == (status, b'{"error":"x"}')
    assert only(facts, Ended).status == status


def test_a_clients_mistake_told_in_a_stream_becomes_a_status() -> None:
    """An error event with a 4xx code before any content is a plain answer with that status."""
    text = b'{"error":{"message":"too long","code":400}}'
    found, facts, _ = call([SSE_HEAD + chunk(b"data: " + text + b"\n\n") + chunk(DONE) + END], body=STREAM)
    assert (found.status, found.body) == (400, text)
    assert only(facts, Ended).status == 400


def test_interim_answers_are_skipped() -> None:
    """100 and 103 are not the answer."""
    found, _, _ = call([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: y\r\n\r\n" + answer(GOOD)])
    assert (found.status, found.body) == (200, GOOD)
    assert found.header("link") is None


FRAMINGS: dict[str, Script] = {
    "counted": [answer(GOOD)],
    "counted, in pieces": [HEAD + b"content-le", b"ngth: %d\r\n\r" % len(GOOD), b"\n" + GOOD[:3], GOOD[3:]],
    "chunked": [CHUNKED + b"\r\n" + chunk(GOOD[:4]) + chunk(GOOD[4:]) + b"0\r\nx: y\r\n\r\n"],
    "until close": [HEAD + b"\r\n" + GOOD, CLOSE],
    "of HTTP/1.0": [b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + GOOD, CLOSE],
}


@pytest.mark.parametrize("what", FRAMINGS)
def test_every_framing_of_an_answer_is_understood(what: str) -> None:
    """The client gets the whole body, with its length."""
    found, _, _ = call(FRAMINGS[what])
    assert (found.status, found.body, found.complete) == (200, GOOD, True)
    assert found.header("content-length") == str(len(GOOD))


STREAMS: dict[str, Script] = {
    "chunked": stream("a", "b", usage=True),
    "in one piece": [b"".join(stream("a", "b", usage=True))],
    "byte by byte": [bytes([byte]) for byte in b"".join(stream("a", "b", usage=True))],
    "until close": [b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", WHOLE, CLOSE],
    "counted": [EVENTS + b"content-length: %d\r\n\r\n" % len(WHOLE) + WHOLE],
}  # fmt: skip


@pytest.mark.parametrize("what", STREAMS)
@pytest.mark.parametrize("wanted", [False, True], ids=["usage not asked for", "usage asked for"])
def test_every_framing_of_a_stream_is_understood(what: str, wanted: bool) -> None:
    """The same events come out; the usage reaches the Gate always and the client only when it asked."""
    body = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}' if wanted else STREAM
    found, facts, (engine, _) = call(STREAMS[what], body=body)
    assert found.body == event("a") + event("b") + (USAGE if wanted else b"") + DONE
    assert found.complete
    assert only(facts, Ended).usage == Usage(7, 3, 0)
    assert json.loads(engine.got[0].body)["stream_options"] == {"include_usage": True}
    if wanted:
        assert engine.got[0].body == body


def test_tokens_are_counted_where_no_usage_is_told() -> None:
    """Events with content that reached the client."""
    _, facts, _ = call([SSE_HEAD, chunk(ROLE), chunk(event("a")), chunk(event("b")), chunk(DONE), END], body=STREAM)
    ended = only(facts, Ended)
    assert (ended.usage, ended.relayed_tokens) == (None, 2)


def test_large_json_is_compressed_for_who_takes_it() -> None:
    """gzip, with its own length; never a stream, never for who did not ask."""
    body = b'{"data":[' + b"0.123456," * 4000 + b"1]}"
    found, _, (engine, _) = call([answer(body)], extra="Accept-Encoding: gzip\r\n")
    assert found.header("content-encoding") == "gzip"
    assert gzip.decompress(found.body) == body
    assert engine.got[0].header("accept-encoding") is None
    plain, _, _ = call([answer(body)])
    assert (plain.header("content-encoding"), plain.body) == (None, body)


def test_a_stale_connection_has_its_own_name() -> None:
    """A kept connection that closes before any byte of an answer is no fault of the replica's health."""

    async def main() -> None:
        async with (
            Engine([[answer(GOOD)], [CLOSE], [answer(GOOD)]]) as engine,
            serving(engine) as rig,
            Client(rig.port) as client,
        ):
            for _ in range(2):
                client.send(request())
                assert (await client.answer()).body == GOOD
            (failed,) = rig.gate.told(Failed)
            assert failed.label == "stale_connection"
            assert engine.connections == 2

    run(main)


def test_nobody_there_is_a_refused_connection() -> None:
    """Also for a name that does not exist."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine:
            port = engine.port
        for url in (f"http://127.0.0.1:{port}", "http://nowhere.invalid:1", "https://127.0.0.1:1"):
            async with serving(replicas=(Replica(id="r", url=url, pool="p"),)) as rig, Client(rig.port) as client:
                rig.gate.attempts = 1
                client.send(request())
                assert (await client.answer()).status == 502
                assert rig.gate.told(Failed)[0].label == "connect_refused"

    run(main)


def test_a_connection_that_does_not_come_about_times_out() -> None:
    """A full backlog answers nothing: that is a connect timeout."""

    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with (
                serving(replicas=(Replica(id="r", url=f"http://127.0.0.1:{port}", pool="p"),)) as rig,
                Client(rig.port) as client,
            ):
                rig.gate.attempts = 1
                rig.gate.timeouts = (0.05, 5.0, 5.0)
                client.send(request())
                assert (await client.answer()).status == 504
                assert rig.gate.told(Failed)[0].label == "connect_timeout"
            for filler in fillers:
                filler.close()

    run(main)


def test_an_unknown_replica_is_a_refused_connection() -> None:
    """An order for a replica that was just forgotten fails like one that is down."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            rig.plane.outbound.forget("r0")
            client.send(request())
            assert (await client.answer()).status == 502
            assert {failed.label for failed in rig.gate.told(Failed)} == {"connect_refused"}

    run(main)


def test_statuses_mean_what_the_table_says() -> None:
    """Every status of a replica is an answer or one failure."""
    assert [verdict(status) for status in (200, 204, 299, 400, 404, 409, 422, 499)] == [None] * 8
    assert [verdict(status) for status in (300, 301, 304, 399)] == ["bad_response"] * 4
    assert [verdict(status) for status in (500, 501, 502, 504, 599, 408)] == ["upstream_5xx"] * 6
    assert (verdict(503), verdict(429), verdict(401)) == ("upstream_unavailable", "upstream_busy", "upstream_auth")


def test_retry_after_is_read_in_both_forms() -> None:
    """Seconds or a date; nonsense is nothing; nothing is longer than an hour."""
    assert retry_after_s(b"12") == 12.0
    assert retry_after_s(b"99999999") == 3600.0
    assert retry_after_s(b"Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_s(
        time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60)).encode()
    ) == pytest.approx(60, abs=3)
    for nonsense in (b"", b"soon", b"-1", b"1.5", b"\xff", b"\xd9\xa1"):
        assert retry_after_s(nonsense) is None


def test_bytes_behind_an_answer_end_the_connection() -> None:
    """An engine that says more than its answer is not asked again on that connection."""

    async def main() -> None:
        async with (
            Engine([[answer(GOOD) + b"HTTP/1.1 200 OK\r\n"], [answer(GOOD)]]) as engine,
            serving(engine) as rig,
            Client(rig.port) as client,
        ):
            for _ in range(2):
                client.send(request())
                assert (await client.answer()).body == GOOD
            assert engine.connections == 2
            assert not rig.gate.told(Failed)

    run(main)


def test_a_slow_reader_is_held_by_backpressure() -> None:
    """A client that does not read makes its replica wait; nothing piles up here, and everything arrives in the end."""

    async def main() -> None:
        piece = chunk(b"data: " + b"x" * 60_000 + b"\n\n")
        count = 150
        script: Script = [SSE_HEAD + chunk(event("a")), *([piece] * count), chunk(DONE), END]
        async with Engine([script]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request(STREAM))
            await until(lambda: any(inbound.paused for inbound in rig.plane._connections))
            (inbound,) = rig.plane._connections
            assert inbound.transport.get_write_buffer_size() < 1 << 20
            found = await client.answer()
            assert len(found.body) == len(event("a") + DONE) + count * (60_000 + 8)

    run(main)
