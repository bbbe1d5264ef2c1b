"""Reading request heads: what is accepted, and above all what is not."""

import pytest

from penstock.adapters.wire.malformed import Malformed
from penstock.adapters.wire.request import CHUNKED, check_start, parse_request_head

HOST = b"Host: a\r\n"


def head(lines: bytes, line: bytes = b"POST /x HTTP/1.1", host: bytes = HOST) -> bytes:
    """A head around some header lines."""
    return line + b"\r\n" + host + lines + b"\r\n"


def test_a_plain_head_is_read() -> None:
    """Method, target, headers, host and length come out; names lower case, values without outer white space."""
    parsed = parse_request_head(head(b"X-Y:  a b \t\r\nContent-Length: 12\r\n", b"POST /x?y=1 HTTP/1.1"), 100)
    assert (parsed.method, parsed.target, parsed.host, parsed.length) == (b"POST", b"/x?y=1", b"a", 12)
    assert parsed.headers == [(b"host", b"a"), (b"x-y", b"a b"), (b"content-length", b"12")]
    assert parsed.keep_alive
    assert not parsed.http10


def test_framing_is_read() -> None:
    """No length, a length, and the chunked coding are told apart."""
    assert parse_request_head(head(b""), 100).length is None
    assert parse_request_head(head(b"Content-Length: 0\r\n"), 100).length == 0
    assert parse_request_head(head(b"Transfer-Encoding: Chunked\r\n"), 100).length == CHUNKED


def test_connection_options_are_read() -> None:
    """Close ends keep-alive, and the options name headers that concern the connection alone."""
    parsed = parse_request_head(head(b"Connection: close, X-Foo\r\nConnection: x-bar\r\n"), 100)
    assert not parsed.keep_alive
    assert parsed.connection == {b"close", b"x-foo", b"x-bar"}


def test_http10_is_understood() -> None:
    """HTTP/1.0 needs no Host and is never kept alive."""
    parsed = parse_request_head(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 100)
    assert parsed.http10
    assert not parsed.keep_alive


def test_an_offer_to_upgrade_is_ignored() -> None:
    """Upgrade headers do not change how the request is read (RFC 9110 7.8 lets a server ignore them)."""
    parsed = parse_request_head(
        head(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n"), 100
    )
    assert parsed.length == 3


def test_expect_continue_is_read() -> None:
    """The one expectation that exists is understood, and means nothing to HTTP/1.0."""
    assert parse_request_head(head(b"Expect: 100-Continue\r\n"), 100).expect
    assert not parse_request_head(head(b"Expect: 100-continue\r\n", b"POST /x HTTP/1.0"), 100).expect


AMBIGUOUS = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "two different lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a negative length": b"Content-Length: -5\r\n",
    "a hexadecimal length": b"Content-Length: 0x5\r\n",
    "a length with a separator": b"Content-Length: 1_0\r\n",
    "a length with inner space": b"Content-Length: 1 0\r\n",
    "an empty length": b"Content-Length: \r\n",
    "an endless length": b"Content-Length: 99999999999999999999999\r\n",
    "digits of another script": b"Content-Length: \xd9\xa5\r\n",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two codings in one": b"Transfer-Encoding: gzip, chunked\r\n",
    "two coding headers": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "an empty coding": b"Transfer-Encoding: \r\n",
    "a coding with a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "a quoted coding": b'Transfer-Encoding: "chunked"\r\n',
    "a coding with a comma": b"Transfer-Encoding: ,chunked\r\n",
    "a coding with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n",
    "a folded header": b"X: a\r\n b\r\n",
    "a header folded with a tab": b"X: a\r\n\tb\r\n",
    "a fold first": b" X: a\r\n",
    "a bare line feed": b"X: a\nY: b\r\n",
    "a bare carriage return": b"X: a\rb\r\n",
    "a NUL": b"X: a\x00b\r\n",
    "a control byte": b"X: a\x01b\r\n",
    "a delete byte": b"X: a\x7fb\r\n",
    "a NUL in a name": b"X\x00: a\r\n",
    "an empty name": b": a\r\n",
    "a space in a name": b"X Y: a\r\n",
    "a high byte in a name": b"X\xff: a\r\n",
    "no colon": b"nonsense\r\n",
    "a second Host": b"Host: b\r\n",
    "a strange expectation": b"Expect: 200-ok\r\n",
    "a broken Connection": b"Connection: a b\r\n",
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_what_two_servers_could_read_differently_is_refused(what: str) -> None:
    """Ambiguous lengths, folding, bare line ends and control bytes are 400."""
    with pytest.raises(Malformed) as caught:
        parse_request_head(head(AMBIGUOUS[what]), 100)
    assert caught.value.label == "bad_http"


LINES = {
    "an absolute target": b"GET http://a/b HTTP/1.1",
    "a star": b"OPTIONS * HTTP/1.1",
    "no slash": b"GET x HTTP/1.1",
    "two spaces": b"GET  /x HTTP/1.1",
    "a space in the target": b"GET /x y HTTP/1.1",
    "tabs": b"GET\t/x\tHTTP/1.1",
    "a trailing space": b"GET /x HTTP/1.1 ",
    "no version": b"GET /x",
    "HTTP/2": b"GET /x HTTP/2.0",
    "HTTP/1.2": b"GET /x HTTP/1.2",
    "HTTP/0.9": b"GET /x HTTP/0.9",
    "a padded version": b"GET /x HTTP/01.1",
    "a lower-case version": b"GET /x http/1.1",
    "the preface of HTTP/2": b"PRI * HTTP/2.0",
    "a lower-case method": b"get /x HTTP/1.1",
    "an unknown method": b"BREW /x HTTP/1.1",
    "a fragment": b"GET /x#y HTTP/1.1",
    "a high byte in the target": b"GET /\xff HTTP/1.1",
    "a control byte in the target": b"GET /\x01 HTTP/1.1",
    "a NUL in the target": b"GET /\x00 HTTP/1.1",
}


@pytest.mark.parametrize("what", LINES)
def test_strange_request_lines_are_refused(what: str) -> None:
    """Anything but METHOD, one space, a path, one space, HTTP/1.0 or HTTP/1.1 is 400."""
    with pytest.raises(Malformed) as caught:
        parse_request_head(head(b"", LINES[what]), 100)
    assert caught.value.label == "bad_http"


@pytest.mark.parametrize("method", [b"TRACE /x", b"CONNECT a:1", b"CONNECT /x"])
def test_methods_that_proxies_must_not_take_are_refused(method: bytes) -> None:
    """TRACE and CONNECT are not for us."""
    with pytest.raises(Malformed) as caught:
        parse_request_head(head(b"", method + b" HTTP/1.1"), 100)
    assert caught.value.label == "method_not_allowed"


@pytest.mark.parametrize(
    "host",
    [b"", b"Host: \r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a@b\r\n", b"Host: a:b\r\n", b"Host: a,b\r\n"],
)
def test_a_missing_or_strange_host_is_refused(host: bytes) -> None:
    """HTTP/1.1 needs exactly one Host that is one."""
    with pytest.raises(Malformed):
        parse_request_head(head(b"", host=host), 100)


@pytest.mark.parametrize("host", [b"a.example:80", b"127.0.0.1", b"[::1]:8080", b"a_b"])
def test_real_hosts_are_accepted(host: bytes) -> None:
    """Names, addresses and ports are fine."""
    assert parse_request_head(head(b"", host=b"Host: " + host + b"\r\n"), 100).host == host


def test_too_many_headers_are_refused() -> None:
    """The number of headers is bounded before any is read."""
    lines = b"X: y\r\n" * 10
    assert len(parse_request_head(head(lines), 11).headers) == 11
    with pytest.raises(Malformed) as caught:
        parse_request_head(head(lines), 10)
    assert caught.value.label == "head_too_large"


def feed(data: bytes, step: int) -> None:
    """Check ever more of some bytes."""
    for cut in range(step, len(data) + step, step):
        check_start(data[:cut], 0, cut - step)


def test_an_unfinished_head_is_refused_as_soon_as_it_is_hopeless() -> None:
    """A bare line feed is seen however the bytes are cut, and a TLS hello at its first byte."""
    good = b"POST /x HTTP/1.1\r\nHost: a\r\nX: "
    bad = b"POST /x HTTP/1.1\nHost: a\n\n"
    for cut in range(1, len(good) + 1):
        check_start(good[:cut], 0, cut - 1)
    for step in (1, 3, 7):
        with pytest.raises(Malformed):
            feed(bad, step)
    with pytest.raises(Malformed):
        check_start(b"\x16\x03\x01", 0, 0)
