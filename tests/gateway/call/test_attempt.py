"""Attempts at replicas: what they send, and the exact name of everything that can go wrong."""

import asyncio
import gzip
import json
import socket

import pytest

from penstock.base.nouns import Replica, Usage
from penstock.core.events import Arrived, Ended, Failed
from tests.helpers.plane import call, only, serving
from tests.helpers.wire import (
    CLOSE,
    DONE,
    END,
    HANG,
    ROLE,
    SSE_HEAD,
    USAGE,
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
        async with Engine([script]) as engine, serving(engine) as rig, Client(rig.port, holds_bytes=1 << 16) as client:
            client.send(request(STREAM))
            await until(lambda: any(inbound.paused for inbound in rig.plane._connections))
            (inbound,) = rig.plane._connections
            assert inbound.transport.get_write_buffer_size() < 1 << 20
            found = await client.answer()
            assert len(found.body) == len(event("a") + DONE) + count * (60_000 + 8)

    run(main)


def test_a_body_that_cannot_be_spliced_is_the_clients_mistake() -> None:
    """Known only when it is to be sent: the replica is not blamed, and nothing waits for a time-out."""
    body = b'{"model":"m","stream":true,"x":1,"x":2,"messages":["\\u0041",' + b"[]," * 30_000 + b"[]]}"
    got, facts, engines = call([HANG], body=body)
    assert got.status == 400
    assert only(facts, Failed).label == "bad_request"
    assert not engines[0].got


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
@pytest.mark.parametrize("framing", ["", "content-length: 0\r\n", "transfer-encoding: chunked\r\n"])
def test_an_answer_without_content_has_no_framing(kind: str, framing: str) -> None:
    """A 204 ends with its head, whatever the engine says or sends: nothing stands before the next answer."""

    async def main() -> None:
        head = f"HTTP/1.1 204 No Content\r\ncontent-type: {kind}\r\n{framing}\r\n".encode()
        rest = b"0\r\n\r\n" if "chunked" in framing else b""
        async with Engine([[head + rest]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request(STREAM))
            await until(lambda: bool(rig.gate.told(Ended)))
            client.send(request(b"{"))
            reader = client.reader
            first = await reader.readuntil(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 204 ")
            assert b"content-length" not in first
            assert b"transfer-encoding" not in first
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400 ")

    run(main)


def test_an_answer_that_begins_while_its_client_does_not_read_waits() -> None:
    """An earlier answer still stands in the way: the replica of the next one is not read from until it has gone."""

    async def main() -> None:
        go, on = asyncio.Event(), asyncio.Event()
        script: Script = [go, SSE_HEAD + chunk(event("a")), on, chunk(DONE), END]
        async with Engine([script]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request(STREAM))
            await until(lambda: bool(engine.got))
            (inbound,) = rig.plane._connections
            inbound.pause_writing()
            go.set()
            await rig.gate.begun.wait()
            (exchange,) = rig.plane.exchanges.values()
            assert exchange.winner is not None
            assert exchange.winner.conn is not None
            assert not exchange.winner.conn.transport.is_reading()
            inbound.resume_writing()
            on.set()
            assert (await client.answer()).body == event("a") + DONE

    run(main)
