"""Compression at every edge: who gets gzip, what is never touched, what caches are told, and compressed requests."""

import gzip
import json
from typing import Any

import pytest

from penstock.adapters.wire.request import parse_request_head
from penstock.adapters.wire.response import ResponseHead, parse_response_head
from penstock.config.schema import CompressionSpec, ServerSpec
from penstock.gateway.call.answers import packed_page
from penstock.gateway.call.packing import framed, packed, takes_gzip
from penstock.gateway.client.head import Peer, judge
from tests.helpers.plane import serving
from tests.helpers.wire import Answer, Client, Engine, answer, request, run, stream

SPEC = CompressionSpec(min_bytes=100, max_bytes=1000)
BODY = b'{"data":[' + b"0.123456," * 40 + b"1]}"


def response(lines: str = "content-type: application/json\r\n", status: int = 200) -> ResponseHead:
    """A head of an engine's answer."""
    return parse_response_head(f"HTTP/1.1 {status} X\r\ncontent-length: 1\r\n{lines}\r\n".encode())


@pytest.mark.parametrize(
    "value, taken",
    [
        ("gzip", True), ("GZIP", True), ("x-gzip", True), ("br, gzip", True), ("gzip;q=0.5, br;q=1", True),
        ("*", True), ("identity, gzip", True), ("identity;q=0, gzip;q=0.001", True), ("*;q=0.5, identity;q=0.1", True),
        ("", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0, *", False), ("*;q=0", False), ("identity", False),
        ("identity;q=0", False), ("identity;q=1, gzip;q=0.5", False), ("gzip;q=much", False), ("gzipped", False),
    ],
)  # fmt: skip
def test_weights_are_understood(value: str, taken: bool) -> None:
    """Named or by `*`, above zero, and not where the client would rather have it plain. Who takes nothing that we have
    (`identity;q=0` alone) gets the answer all the same."""
    assert takes_gzip(value.encode()) is taken


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "application/problem+json", "text/plain", "text/csv",
     "application/x-ndjson"],
)  # fmt: skip
def test_texts_become_smaller(kind: str) -> None:
    """With the length of what is sent; any reader of gzip gets the body back; caches are told of it."""
    lines, body = framed(response(f"content-type: {kind}\r\n"), BODY, SPEC, True)
    assert gzip.decompress(body) == BODY
    assert lines == b"content-encoding: gzip\r\nvary: accept-encoding\r\ncontent-length: %d\r\n" % len(body)
    lines, body = framed(response(f"content-type: {kind}\r\n"), BODY, SPEC, False)
    assert (lines, body) == (b"vary: accept-encoding\r\ncontent-length: %d\r\n" % len(BODY), BODY)


JSON = "content-type: application/json\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        "", "content-type: audio/mpeg\r\n", "content-type: image/png\r\n", "content-type: text/event-stream\r\n",
        "content-type: application/jsonish\r\n", JSON + "content-encoding: br\r\n", JSON + 'etag: "1"\r\n',
        JSON + "digest: x\r\n", JSON + "content-range: bytes 0-1/2\r\n",
        JSON + "cache-control: private, No-Transform\r\n",
    ],
)  # fmt: skip
def test_what_is_not_ours_to_change_stays(lines: str) -> None:
    """Sounds, pictures, streams, what is encoded already, and what a header of the engine vouches for."""
    assert framed(response(lines), BODY, SPEC, True) == (b"content-length: %d\r\n" % len(BODY), BODY)


@pytest.mark.parametrize("size, small", [(99, False), (100, True), (1000, True), (1001, False)])
def test_only_within_the_bounds(size: int, small: bool) -> None:
    """Small ones are not worth it, large ones would hold up everybody; without a spec nothing is compressed."""
    body = b"0" * size
    assert (len(framed(response(), body, SPEC, True)[1]) < size) is small
    assert framed(response(), body, None, True)[1] == body
    assert framed(response(status=204), b"", SPEC, True) == (b"", b"")


def test_the_level_is_that_of_the_settings() -> None:
    """9 is smaller than 1."""
    body = json.dumps(list(range(5000))).encode()
    quick, small = (packed(body, CompressionSpec(level=level)) for level in (1, 9))
    assert len(small) < len(quick)
    assert gzip.decompress(small) == gzip.decompress(quick) == body


# ===== on the wire =====


def asked(*requests: bytes, script: list[bytes] | None = None, **server: Any) -> list[Answer]:
    """The answers to these on one connection, over an engine that says this."""

    async def main() -> list[Answer]:
        async with (
            Engine([script or [answer(BODY)]]) as engine,
            serving(engine, server={"compression": SPEC, **server}) as rig,
            Client(rig.port) as client,
        ):
            found = []
            for one in requests:
                client.send(one)
                found.append(await client.answer())
            assert all(got.header("accept-encoding") is None for got in engine.got)
            return found

    return run(main)


TAKES = "Accept-Encoding: gzip\r\n"


def test_who_takes_it_gets_it_and_the_others_do_not() -> None:
    """On one connection, request by request; a stream never; and not at all when it is switched off."""
    small, plain = asked(request(extra=TAKES), request())
    assert (small.header("content-encoding"), gzip.decompress(small.body)) == ("gzip", BODY)
    assert (plain.header("content-encoding"), plain.body) == (None, BODY)
    assert small.header("vary") == plain.header("vary") == "accept-encoding"
    (off,) = asked(request(extra=TAKES), compression=None)
    assert (off.header("content-encoding"), off.header("vary"), off.body) == (None, None, BODY)
    (events,) = asked(request(b'{"model":"m","stream":true}', extra=TAKES), script=stream("word " * 100))
    assert events.header("content-encoding") is None


def test_an_engines_refusal_is_compressed_like_its_answer() -> None:
    """A 400 that the client gets."""
    (found,) = asked(request(extra=TAKES), script=[answer(BODY, 400)])
    assert (found.status, gzip.decompress(found.body)) == (400, BODY)


def test_our_own_pages_too_where_they_are_large_enough() -> None:
    """/v1/models, as a small one is plain; HEAD has the head of GET and nothing behind it."""
    get = "{} /v1/models HTTP/1.1\r\nHost: x\r\n" + TAKES + "\r\n"
    (page,) = asked(get.format("GET").encode())
    assert page.header("content-encoding") == "gzip"
    assert [model["id"] for model in json.loads(gzip.decompress(page.body))["data"]] == ["m", "n"]
    (plain,) = asked(get.format("GET").encode(), compression=CompressionSpec())
    assert plain.header("content-encoding") is None
    assert json.loads(plain.body)["object"] == "list"
    raw = get.format("HEAD").encode()
    head = judge(parse_request_head(raw, 100), Peer(b"::1", False), ServerSpec())
    told, nothing = packed_page(200, ["word"] * 50, SPEC, head).split(b"\r\n\r\n")
    assert b"content-encoding: gzip" in told
    assert nothing == b""


def test_errors_of_ours_are_never_compressed() -> None:
    """They are small, and whoever debugs wants to read them."""
    (found,) = asked(request(b"no json", extra=TAKES), compression=CompressionSpec(min_bytes=1))
    assert (found.status, found.header("content-encoding")) == (400, None)
    assert json.loads(found.body)["error"]["code"] == "bad_request"


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity"])
def test_a_compressed_request_is_refused_plainly(coding: str) -> None:
    """415 that says what is understood: unpacking would let a thousandth of the bytes be a bomb, and engines do not
    take them either."""
    (refused,) = asked(request(gzip.compress(BODY), extra=f"Content-Encoding: {coding}\r\n"))
    assert (refused.status, refused.header("accept-encoding")) == (415, "identity")
    assert json.loads(refused.body)["error"]["code"] == "encoded_body"


def test_a_request_that_says_it_is_plain_is_plain() -> None:
    """`Content-Encoding: identity` means nothing, and does not travel on."""
    (found,) = asked(request(extra="Content-Encoding: identity\r\n"))
    assert found.status == 200
