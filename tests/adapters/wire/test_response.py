"""Reading response heads: strictly, and ready to be passed on."""

import pytest

from penstock.adapters.wire.bodies import Chunked, FramingError, Length, UntilClose
from penstock.adapters.wire.response import CHUNKED, UNTIL_CLOSE, parse_response_head


def head(lines: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A head around some header lines."""
    return line + b"\r\n" + lines + b"\r\n"


def test_a_plain_head_is_read() -> None:
    """Status, media type, length, keep-alive and Retry-After come out."""
    parsed = parse_response_head(
        head(b"Content-Type: Text/Event-Stream; charset=utf-8\r\nContent-Length: 5\r\nRetry-After: 7\r\n")
    )
    assert (parsed.status, parsed.content_type, parsed.length, parsed.retry_after) == (
        200,
        b"text/event-stream",
        5,
        b"7",
    )
    assert parsed.keep_alive
    assert isinstance(parsed.reader(), Length)


def test_framing_is_read() -> None:
    """The chunked coding, a length, and neither are told apart; without either the connection cannot be used again."""
    chunked = parse_response_head(head(b"Transfer-Encoding: chunked\r\n"))
    assert (chunked.length, type(chunked.reader()), chunked.keep_alive) == (CHUNKED, Chunked, True)
    endless = parse_response_head(head())
    assert (endless.length, type(endless.reader()), endless.keep_alive) == (UNTIL_CLOSE, UntilClose, False)


def test_only_end_to_end_headers_are_passed_on() -> None:
    """What belongs to the connection, to framing or to us is left out; the rest stays in order."""
    parsed = parse_response_head(
        head(
            b"Server: x\r\nX-A:  1 \r\nConnection: x-gone, close\r\nX-Gone: 1\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n"
            b"X-Request-Id: 1\r\nSet-Cookie: a\r\nX-Penstock-Replica: me\r\nDate: now\r\nUpgrade: h2c\r\n"
        )
    )
    assert parsed.block == b"x-a: 1\r\ndate: now\r\n"
    assert not parsed.keep_alive


def test_http10_answers_are_not_kept_alive_unless_they_say_so() -> None:
    """HTTP/1.0 closes by default."""
    assert not parse_response_head(head(b"Content-Length: 0\r\n", b"HTTP/1.0 200 OK")).keep_alive
    assert parse_response_head(head(b"Content-Length: 0\r\nConnection: Keep-Alive\r\n", b"HTTP/1.0 200 OK")).keep_alive


def test_no_content_has_no_body() -> None:
    """204 ends with its head whatever its headers say."""
    assert parse_response_head(head(b"Content-Length: 5\r\n", b"HTTP/1.1 204 No Content")).length == 0


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 599 Caf\xe9"])
def test_odd_but_legal_status_lines_are_accepted(line: bytes) -> None:
    """A reason may be missing, empty or of any letters."""
    assert parse_response_head(head(b"", line)).status in (200, 599)


BROKEN = {
    "no HTTP": head(b"", b"ICY 200 OK"),
    "HTTP/2": head(b"", b"HTTP/2 200 OK"),
    "two digits": head(b"", b"HTTP/1.1 20 OK"),
    "four digits": head(b"", b"HTTP/1.1 2000 OK"),
    "a status of zero": head(b"", b"HTTP/1.1 000 OK"),
    "a sign": head(b"", b"HTTP/1.1 +20 OK"),
    "two lengths": head(b"Content-Length: 5\r\nContent-Length: 5\r\n"),
    "a list of lengths": head(b"Content-Length: 5, 5\r\n"),
    "a negative length": head(b"Content-Length: -5\r\n"),
    "a length and chunks": head(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    "an unknown coding": head(b"Transfer-Encoding: gzip\r\n"),
    "chunks in HTTP/1.0": head(b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0 200 OK"),
    "a fold": head(b"X: a\r\n b\r\n"),
    "a bare line feed": head(b"X: a\nY: b\r\n"),
    "a bare carriage return": head(b"X: a\rb\r\n"),
    "a NUL": head(b"X: \x00\r\n"),
    "a space before the colon": head(b"X : a\r\n"),
    "no colon": head(b"nonsense\r\n"),
    "an empty name": head(b": a\r\n"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_heads_are_refused(what: str) -> None:
    """A replica's answer that two readers could understand differently is broken."""
    with pytest.raises(FramingError):
        parse_response_head(BROKEN[what])
