"""A request's head: parsed by llhttp (strict, no leniency), then held to our own rules.

Two readers that must agree are the point: llhttp knows the grammar, the rules here refuse whatever two servers could
read differently (request smuggling). Nothing of a head is ever copied onwards as bytes: who forwards a request rebuilds
its head from what stands here.
"""

import re
from collections.abc import Sequence
from typing import Final

import httptools

from penstock.adapters.wire.malformed import Malformed

HEAD_END: Final = b"\r\n\r\n"
CHUNKED: Final = -1

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")
_TARGET: Final = re.compile(rb"/[!-\"$-~]*")
_MAY_START: Final = re.compile(rb"[A-Z]")
_LIST_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHODS_REFUSED: Final = frozenset((b"CONNECT", b"TRACE", b"TRACK"))


class RequestHead:
    """What a request's head says. Header names are lower case, values have no outer white space."""

    __slots__ = ("connection", "expect", "headers", "host", "http10", "keep_alive", "length", "method", "target")

    def __init__(self, method: bytes, target: bytes, http10: bool, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target
        self.http10 = http10
        self.headers = headers
        self.host = b""
        self.length: int | None = None
        """Bytes of the body; CHUNKED; None: there is no body."""
        self.expect = False
        """The client waits for 100 Continue."""
        self.keep_alive = False
        self.connection: frozenset[bytes] = frozenset()
        """Options of the Connection header: names of headers that concern this connection alone."""


class _Collector:
    """llhttp's callbacks."""

    __slots__ = ("complete", "headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def check_start(data: bytes, at: int, since: int) -> None:
    """Refuse at once what can never become a head: `data[at:]` is unfinished, up to `since` it was checked before.

    Without this a bare LF would make us wait for an end of the head that a laxer server has already seen.
    Raises Malformed.
    """
    if not _MAY_START.match(data, at):
        raise Malformed("bad_http", "That is not an HTTP/1.1 request.")
    since = max(at, since)
    if data.count(b"\n", since) != data.count(b"\r\n", max(at, since - 1)):
        raise Malformed("bad_http", "A line must end with CR LF.")


def parse_request_head(head: bytes, max_headers: int) -> RequestHead:
    """Read a whole head, its empty line included. Raises Malformed with a row of the refusal table."""
    line_ends = head.count(b"\r\n")
    if head.count(b"\n") != line_ends or head.count(b"\r") != line_ends:
        raise Malformed("bad_http", "A line must end with CR LF, and neither may stand alone.")
    if b"\r\n " in head or b"\r\n\t" in head:
        raise Malformed("bad_http", "Folded header lines are not accepted.")
    if line_ends - 2 > max_headers:
        raise Malformed("head_too_large", "The request has too many headers.")
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # offers to speak something else may be ignored (RFC 9110 7.8); CONNECT is refused below
    except httptools.HttpParserError:
        raise Malformed("bad_http") from None
    if not collector.complete:
        raise Malformed("bad_http")
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise Malformed("bad_http", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    parsed = RequestHead(parser.get_method(), collector.target, version == "1.0", collector.headers)
    _check_line(head, parsed)
    _check_headers(parsed)
    return parsed


def _check_line(head: bytes, parsed: RequestHead) -> None:
    if parsed.method in _METHODS_REFUSED:
        raise Malformed("method_not_allowed")
    if not _TARGET.fullmatch(parsed.target):
        raise Malformed("bad_http", "The request target must be a path.")
    # llhttp forgives runs of spaces here; another server might not
    version = b"HTTP/1.0" if parsed.http10 else b"HTTP/1.1"
    if not head.startswith(b"%b %b %b\r\n" % (parsed.method, parsed.target, version)):
        raise Malformed("bad_http", "The request line must have single spaces.")


def _check_headers(parsed: RequestHead) -> None:
    hosts = 0
    lengths = codings = 0
    coding = length = b""
    options: list[bytes] = []
    for name, value in parsed.headers:
        if name == b"host":
            hosts += 1
            parsed.host = value
        elif name == b"content-length":
            lengths += 1
            length = value
        elif name == b"transfer-encoding":
            codings += 1
            coding = value
        elif name == b"connection":
            options += value.lower().split(b",")
        elif name == b"expect":
            _check_expect(parsed, value)
    if hosts > 1 or (hosts == 0 and not parsed.http10) or (hosts == 1 and not _HOST.fullmatch(parsed.host)):
        raise Malformed("bad_http", "Exactly one valid Host header is needed.")
    parsed.length = _framing(parsed.http10, lengths, length, codings, coding)
    parsed.connection = frozenset(_option(option) for option in options)
    parsed.keep_alive = not parsed.http10 and b"close" not in parsed.connection


def _check_expect(parsed: RequestHead, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise Malformed("bad_http", "The only expectation that is understood is 100-continue.")
    parsed.expect = not parsed.http10


def _option(option: bytes) -> bytes:
    option = option.strip(b" \t")
    if option and not _LIST_TOKEN.fullmatch(option):
        raise Malformed("bad_http", "The Connection header is malformed.")
    return option


def _framing(http10: bool, lengths: int, length: bytes, codings: int, coding: bytes) -> int | None:
    if codings:
        if lengths or codings > 1 or http10 or coding.lower() != b"chunked":
            raise Malformed("bad_http", "The length of the body is ambiguous or its transfer coding is not 'chunked'.")
        return CHUNKED
    if not lengths:
        return None
    if lengths > 1 or not _DIGITS.fullmatch(length):
        raise Malformed("bad_http", "Content-Length must be given once, in decimal digits.")
    return int(length)
