"""Clients' connections: the same requests whatever the cuts, and an exact end for everything hostile."""

import asyncio
import hashlib
import json
import time
from typing import Any

import pytest

from penstock.config.schema import GatewayTimeouts, LimitSpec
from penstock.core.events import Arrived, ClientGone
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.client.inbound import Inbound
from tests.helpers.plane import Rig, serving
from tests.helpers.wire import Client, Engine, answer, error_of, get, post, request, run, until

BODY = b'{"model":"m","messages":["\xc3\xa9"]}'
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = CHUNKED + b"5;x=y\r\n" + BODY[:5] + b"\r\n%X\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\nX-T: 1\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """A transport without a socket, for feeding exact cuts."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.9", 1)})
        self.out = b""
        self.reading = True

    def write(self, data: Any) -> None:
        """Keep it."""
        self.out += data

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """Never."""
        return False

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
        """Noted."""
        self.reading = False

    def resume_reading(self) -> None:
        """Noted."""
        self.reading = True


def feed(rig: Rig, pieces: list[bytes]) -> tuple[list[Any], bytes]:
    """Feed pieces to a fresh connection whose calls stay waiting; what arrived, and what was answered.

    A waiting call is refused at once, so that a pipelined one behind it gets its turn.
    """
    inbound = Inbound(rig.plane)
    transport = FakeTransport()
    inbound.connection_made(transport)
    seen: list[Any] = []

    def note() -> None:
        while isinstance(inbound.exchange, Exchange):
            exchange = inbound.exchange
            (call,) = (fact.call for fact in rig.gate.told(Arrived) if fact.call.id == exchange.id)
            seen.append((exchange.body, exchange.head.forward, exchange.head.target, call.model, call.host))
            exchange.end_with("no_replica", 503)
            rig.pump.tell(ClientGone(exchange.id))

    for piece in pieces:
        if piece:
            inbound.data_received(piece)
        note()
    rig.plane.outbox.flush()
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


def test_a_client_that_does_not_read_is_not_read_from_for_ever() -> None:
    """While answers wait for it, what it sends on is bounded, and goes on when it has read them."""

    async def main() -> None:
        async with serving() as rig:
            inbound, transport = Inbound(rig.plane), FakeTransport()
            inbound.connection_made(transport)
            inbound.pause_writing()
            inbound.data_received(get("/health") * 4000)
            held = transport.reading
            inbound.resume_writing()
            assert (held, transport.reading) == (False, True)
            inbound.connection_lost(None)

    run(main)
