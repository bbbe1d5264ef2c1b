"""Hostile clients: each gets its status in one shape, or a close; none gets a second request in."""

import pytest

from penstock.core.events import Arrived
from tests.helpers.plane import serving
from tests.helpers.wire import Client, Engine, answer, error_of, get, post, request, run

CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


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
                assert bool(found.header("allow")) == (status == 405)
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


def test_a_wrong_method_is_told_the_right_ones() -> None:
    """As HTTP asks for: `allow`, and nobody need read the words of the error."""

    async def main() -> None:
        async with serving() as rig, Client(rig.port) as client:
            for target, allowed in (("/v1/chat/completions", "POST"), ("/v1/models", "GET, HEAD")):
                client.send(f"OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                found = await client.answer()
                assert (found.status, found.header("allow")) == (405, allowed)

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
