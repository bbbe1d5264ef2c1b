"""Clients' connections: the same requests whatever the cuts, and an exact end for everything hostile."""

import asyncio
import hashlib
import json
import time
from typing import Any

import pytest

from penstock.config.schema import GatewayTimeouts, LimitSpec
from penstock.core.events import Arrived, ClientGone
from penstock.gateway.inbound import Inbound
from tests.helpers.plane import Rig, serving
from tests.helpers.wire import Client, Engine, answer, get, request, run, until

BODY = b'{"model":"m","messages":["\xc3\xa9"]}'
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = CHUNKED + b"5;x=y\r\n" + BODY[:5] + b"\r\n%X\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\nX-T: 1\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """A transport without a socket, for feeding exact cuts."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.9", 1)})
        self.out = b""

    def write(self, data: Any) -> None:
        """Keep it."""
        self.out += data

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def can_write_eof(self) -> bool:
        """As TCP."""
        return True

    def write_eof(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def abort(self) -> None:
        """Nothing to do."""

    def pause_reading(self) -> None:
        """Nothing to do."""

    def resume_reading(self) -> None:
        """Nothing to do."""


def feed(rig: Rig, pieces: list[bytes]) -> tuple[list[Any], bytes]:
    """Feed pieces to a fresh connection whose calls stay waiting; what arrived, and what was answered.

    A waiting call is refused at once, so that a pipelined one behind it gets its turn.
    """
    inbound = Inbound(rig.plane)
    transport = FakeTransport()
    inbound.connection_made(transport)
    seen: list[Any] = []

    def note() -> None:
        while inbound.exchange is not None:
            exchange = inbound.exchange
            (call,) = (fact.call for fact in rig.gate.told(Arrived) if fact.call.id == exchange.id)
            seen.append((exchange.body, exchange.head.forward, exchange.head.target, call.model, call.host))
            exchange.end_with("no_replica", 503)
            rig.pump.tell(ClientGone(exchange.id))

    for piece in pieces:
        if piece:
            inbound.data_received(piece)
        note()
    inbound.connection_lost(None)
    return seen, transport.out.replace(b"\r\n", b"\n")


MESSAGES = {
    "counted": request(BODY, extra="X-A: b\r\nX-Request-Id: me\r\n"),
    "chunked": CHUNKS,
    "two in one": request(BODY, extra="X-Request-Id: me\r\n") + request(b'{"model":"n"}', extra="X-Request-Id: me\r\n"),
    "chunked and then counted": CHUNKS + request(BODY, extra="X-Request-Id: me\r\n"),
    "a page of ours and then a call": get("/health") + request(BODY, extra="X-Request-Id: me\r\n"),
    "an empty line first": b"\r\n" + request(BODY, extra="X-Request-Id: me\r\n"),
    "a wrong body and then a right one": request(b"{") + request(BODY, extra="X-Request-Id: me\r\n"),
    "a refused path": get("/nothing") + get("/health"),
    "bad in the middle": get("/health") + b"GET /x HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n" + get("/health"),
    "bare line feeds": b"GET /health HTTP/1.1\nHost: a\n\n",
    "bad chunks": CHUNKED + b"2\r\nab\r\nzz\r\n",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_a_message_cut_anywhere_is_the_same(what: str) -> None:
    """In one piece, cut in two at every byte, and byte by byte: the same calls, bodies and answers."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            rig.gate.hold = True
            message = MESSAGES[what]
            mark = rig.plane._prefix.encode()

            def outcome(pieces: list[bytes]) -> Any:
                seen, out = feed(rig, pieces)
                # ids of ours count on; everything else must be equal
                return seen, [line for line in out.split(b"\n") if mark not in line]

            whole = outcome([message])
            assert whole[0] or whole[1] != [b""]
            for cut in range(1, len(message)):
                assert outcome([message[:cut], message[cut:]]) == whole, cut
            assert outcome([message[at : at + 1] for at in range(len(message))]) == whole

    run(main)


def error_of(body: bytes) -> dict[str, Any]:
    """The error of an answer in OpenAI's shape; fails if it is another shape."""
    found = json.loads(body)
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = found["error"]
    return error


def post(lines: bytes, body: bytes = b"") -> bytes:
    """A POST with these header lines."""
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n" + body


SMUGGLED = get("/v1/smuggled")
HOSTILE: dict[str, tuple[bytes, int]] = {
    "length and chunks": (post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED), 400),
    "two lengths": (post(b"Content-Length: 0\r\nContent-Length: 39\r\n", SMUGGLED), 400),
    "a list of lengths": (post(b"Content-Length: 0, 39\r\n", SMUGGLED), 400),
    "a signed length": (post(b"Content-Length: +0\r\n", SMUGGLED), 400),
    "a hexadecimal length": (post(b"Content-Length: 0x0\r\n", SMUGGLED), 400),
    "an unknown coding": (post(b"Transfer-Encoding: xchunked\r\n", SMUGGLED), 400),
    "a hidden coding": (post(b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n", SMUGGLED), 400),
    "a folded coding": (post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + SMUGGLED), 400),
    "a fold": (post(b"X: a\r\n b\r\n", SMUGGLED), 400),
    "a bare line feed": (b"GET /health HTTP/1.1\nHost: h\n\n" + SMUGGLED, 400),
    "a NUL": (post(b"X: \x00\r\n"), 400),
    "a control byte": (post(b"X: \x07\r\n"), 400),
    "no Host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "an absolute target": (b"GET http://other/health HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2": (b"GET /health HTTP/2.0\r\nHost: h\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "garbage": (b"\r\n\r\n\r\nGET", 400),
    "TRACE": (b"TRACE /health HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    "CONNECT": (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    "no such path": (get("/etc/passwd"), 404),
    "dots": (get("/v1/../admin"), 404),
    "a wrong method": (get("/v1/chat/completions"), 405),
    "a wrong method with a body": (b"DELETE /health HTTP/1.1\r\nHost: h\r\nContent-Length: 39\r\n\r\n" + SMUGGLED, 405),
    "no such path with a body": (b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999\r\n\r\n" + SMUGGLED, 404),
    "too large a head": (b"GET /health HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 5000 + b"\r\n\r\n", 431),
    "an endless head": (b"GET /health HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 9000, 431),
    "too many headers": (b"GET /health HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 60 + b"\r\n", 431),
    "too large a body": (post(b"Content-Length: 100001\r\n", b"x" * 100), 413),
    "too large a body in chunks": (CHUNKED + b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"x" * 40000, 413),
    "chunks without digits": (CHUNKED + b"\r\n\r\n", 400),
    "a signed chunk": (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", 400),
    "a bare line feed in chunks": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400),
    "a chunk too long": (CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n", 400),
    "endless extension": (CHUNKED + b"5;" + b"x" * 1000, 400),
    "tiny chunks": (CHUNKED + b"1\r\nx\r\n" * 11_000, 400),
    "chunks in HTTP/1.0": (b"POST /v1/chat/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "another expectation": (post(b"Expect: the worst\r\n"), 400),
    "no JSON": (request(b"hello"), 400),
    "no object": (request(b"[]"), 400),
    "an empty body": (request(b""), 400),
    "no body": (b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "half of JSON": (request(b'{"model":"m"'), 400),
    "no model": (request(b'{"messages":[]}'), 400),
    "an empty model": (request(b'{"model":""}'), 400),
    "a wrong model": (request(b'{"model":{}}'), 400),
    "two models": (request(b'{"model":"m","model":"n"}'), 400),
    "two models, one disguised": (request(b'{"model":"m","\\u006dodel":"n"}'), 400),
    "a wrong stream": (request(b'{"model":"m","stream":"yes"}'), 400),
    "a million choices": (request(b'{"model":"m","n":1000000}'), 400),
    "a deep body": (request(b'{"model":"m","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"), 400),
    "wrong letters": (request(b'{"model":"m","x":"\xff"}'), 400),
    "a form where JSON belongs": (request(b"--x--", extra="X: y\r\n"), 400),
    "no form": (request(b"{}", path="/v1/audio/transcriptions"), 400),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_requests_get_their_status_and_nothing_else(what: str) -> None:
    """One error in OpenAI's shape, then either a clean close or an intact connection; never a second request; nothing
    reaches the engine; and an ordinary request on a fresh connection is served."""

    async def main() -> None:
        limits = {"head_bytes": 4096, "headers": 50, "body_bytes": 100_000}
        async with Engine([[answer(b'{"fine":1}')]]) as engine, serving(engine, limits=limits) as rig:
            message, status = HOSTILE[what]
            async with Client(rig.port) as client:
                client.send(message)
                found = await client.answer()
                assert found.status == status
                assert found.complete
                error_of(found.body)
                if found.header("connection") == "close":
                    assert await client.closed() == b""
                else:
                    client.send(get("/health"))
                    assert (await client.answer()).status == 200
            async with Client(rig.port) as client:
                client.send(request())
                assert (await client.answer()).body == b'{"fine":1}'
            assert len(engine.got) == 1
            assert len(rig.gate.told(Arrived)) == 1

    run(main)


def test_a_refusal_names_the_field() -> None:
    """OpenAI's `param` says which one is wrong."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request(b'{"model":"m","max_tokens":"many"}'))
            error = error_of((await client.answer()).body)
            assert (error["param"], error["code"], error["type"]) == (
                "max_tokens",
                "bad_request",
                "invalid_request_error",
            )

    run(main)


def test_pipelined_requests_are_answered_in_order() -> None:
    """Three at once, one after the other, each answered before the next is sent on."""

    async def main() -> None:
        scripts = [[answer(b'{"n":%d}' % number)] for number in range(3)]
        async with Engine(scripts) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request() + get("/health") + request() + request())
            bodies = [(await client.answer()).body for _ in range(4)]
            assert bodies == [b'{"n":0}', b'{"status":"ok"}', b'{"n":1}', b'{"n":2}']

    run(main)


def test_far_too_much_pipelining_waits() -> None:
    """A client that sends without end while it is answered is not read, and is served all the same."""

    async def main() -> None:
        go = asyncio.Event()
        async with Engine([[go, answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            count = 600
            client.send(request() * count)
            await until(lambda: len(engine.got) == 1)
            (inbound,) = rig.plane._connections
            assert len(inbound._buffer) < 1 << 20
            go.set()
            for _ in range(count):
                assert (await client.answer()).status == 200

    run(main)


def test_continue_is_sent_to_who_waits_for_it() -> None:
    """Expect: 100-continue is answered before the body, unless the request is refused by its head."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            async with Client(rig.port) as client:
                whole = request(extra="Expect: 100-continue\r\n")
                head, _, body = whole.partition(b"\r\n\r\n")
                client.send(head + b"\r\n\r\n")
                assert (await client.answer()).status == 100
                client.send(body)
                assert (await client.answer()).status == 200
            assert engine.got[0].header("expect") is None
            async with Client(rig.port) as client:
                client.send(b"POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
                assert (await client.answer()).status == 404

    run(main)


def test_http10_clients_are_closed_after_their_answer() -> None:
    """Also where they ask for keep-alive."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            found = await client.answer()
            assert found.header("connection") == "close"
            assert await client.closed() == b""

    run(main)


def test_head_requests_get_no_body() -> None:
    """HEAD is GET without the body."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n" + get("/health"))
            await client.writer.drain()
            raw = b""
            while raw.count(b"\r\n\r\n") < 2 or not raw.endswith(b"}"):
                raw += await client.reader.read(1000)
            assert raw.count(b'{"status":"ok"}') == 1

    run(main)


def test_our_own_pages() -> None:
    """Models, one model, health and readiness."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(get("/v1/models"))
            listed = json.loads((await client.answer()).body)
            assert [entry["id"] for entry in listed["data"]] == ["m", "n"]
            for path, status in (("/v1/models/n", 200), ("/v1/models/zz", 404), ("/health", 200), ("/ready", 200)):
                client.send(get(path))
                assert (await client.answer()).status == status
            rig.plane.ready = lambda: False
            client.send(get("/ready"))
            assert (await client.answer()).status == 503

    run(main)


def test_keys_are_asked_for() -> None:
    """A wrong key is 401 and reaches nobody; a right one is known by its name and goes no further."""
    server = {"open": False, "key_names": {hashlib.sha256(b"sk-1").hexdigest(): "one"}}

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, server=server) as rig:
            async with Client(rig.port) as client:
                client.send(request(extra="Authorization: Bearer sk-2\r\n"))
                found = await client.answer()
                assert found.status == 401
                assert b"sk-2" not in found.raw
            async with Client(rig.port) as client:
                client.send(request(extra="Authorization: Bearer sk-1\r\n"))
                assert (await client.answer()).status == 200
            (arrived,) = rig.gate.told(Arrived)
            assert (arrived.call.key, arrived.call.tenant) == ("one", "one")
            assert b"sk-1" not in engine.got[0].head
            assert rig.plane.refused == {"unauthorized": 1}

    run(main)


SLOW = {
    "no head": (b"", None),
    "half a head": (b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n", 408),
    "half a body": (post(b"Content-Length: 100\r\n", b"{"), 408),
    "half a chunk": (CHUNKED + b"5\r\nab", 408),
}


@pytest.mark.parametrize("what", SLOW)
def test_who_does_not_finish_is_cut(what: str) -> None:
    """Silence before, in the head, or in the body ends in 408 or a close, soon after the bound."""
    timeouts = GatewayTimeouts(request_head_s=0.1, request_body_s=0.1, keep_alive_s=0.1)

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, server={"timeouts": timeouts}) as rig:
            message, status = SLOW[what]
            async with Client(rig.port) as client:
                client.send(message)
                began_s = time.monotonic()
                if status is not None:
                    assert (await client.answer()).status == status
                assert await client.closed() == b""
                assert 0.09 < time.monotonic() - began_s < 1.0

    run(main)


@pytest.mark.slow
def test_a_dripping_head_or_body_does_not_reset_its_bound() -> None:
    """A byte now and then is not progress."""
    timeouts = GatewayTimeouts(request_head_s=0.15, request_body_s=0.15)

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, server={"timeouts": timeouts}) as rig:
            for start in (b"GET /he", post(b"Content-Length: 1000\r\n", b"{")):
                async with Client(rig.port) as client:
                    client.send(start)
                    began_s = time.monotonic()
                    answered = asyncio.ensure_future(client.answer())
                    while not answered.done():
                        client.send(b"x")
                        await asyncio.sleep(0.02)
                    assert answered.result().status == 408
                    assert time.monotonic() - began_s < 1.0

    run(main)


@pytest.mark.slow
def test_idle_connections_are_closed_and_slow_bodies_that_move_are_not() -> None:
    """Keep-alive ends silently; an upload that keeps moving may take longer than the idle bound."""
    timeouts = GatewayTimeouts(keep_alive_s=0.1, request_body_s=0.1)

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, server={"timeouts": timeouts}) as rig:
            async with Client(rig.port) as client:
                client.send(get("/health"))
                assert (await client.answer()).status == 200
                assert await client.closed() == b""
            async with Client(rig.port) as client:
                body = b'{"model":"m","x":"' + b"y" * 5000 + b'"}'
                whole = request(body)
                at = len(whole) - len(body)
                client.send(whole[:at])
                for piece in range(at, len(whole), 500):
                    await asyncio.sleep(0.03)
                    client.send(whole[piece : piece + 500])
                assert (await client.answer()).status == 200
            assert engine.got[0].body == body

    run(main)


def test_connections_beyond_the_limit_are_told_so() -> None:
    """503 with Retry-After, and room again when somebody leaves."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, limits={"connections": 2}) as rig:
            async with Client(rig.port) as one, Client(rig.port) as two:
                for client in (one, two):
                    client.send(get("/health"))
                    assert (await client.answer()).status == 200
                async with Client(rig.port) as third:
                    found = await third.answer()
                    assert (found.status, found.header("retry-after")) == (503, "1")
                    assert error_of(found.body)["code"] == "overloaded"
                await until(lambda: rig.plane.counters()["connections"] == 2)
            await until(lambda: rig.plane.counters()["connections"] == 0)
            async with Client(rig.port) as client:
                client.send(get("/health"))
                assert (await client.answer()).status == 200

    run(main)


def test_bodies_beyond_the_common_bound_are_told_so() -> None:
    """All bodies held together are bounded; what does not fit gets 503 and frees what it took."""

    async def main() -> None:
        go = asyncio.Event()
        async with Engine([[go, answer()]]) as engine, serving(engine, limits={"buffered_bytes": 3000}) as rig:
            big = b'{"model":"m","x":"' + b"y" * 2000 + b'"}'
            async with Client(rig.port) as one, Client(rig.port) as two:
                one.send(request(big))
                await until(lambda: rig.plane.buffered_bytes == len(big))
                two.send(request(big))
                assert (await two.answer()).status == 503
                three = request(big)
                two.send(three[: len(three) - 5])
                go.set()
                assert (await one.answer()).status == 200
                two.send(three[len(three) - 5 :])
                assert (await two.answer()).status in (200, 503)

    run(main)


def test_limits_are_the_configurations() -> None:
    """A body of exactly the limit is served."""
    assert LimitSpec().body_bytes == 32 << 20

    async def main() -> None:
        body = b'{"model":"m","x":"' + b"y" * 70_000 + b'"}'
        async with (
            Engine([[answer()]]) as engine,
            serving(engine, limits={"body_bytes": len(body)}) as rig,
            Client(rig.port) as client,
        ):
            client.send(request(body))
            assert (await client.answer()).status == 200
            assert engine.got[0].body == body

    run(main)
