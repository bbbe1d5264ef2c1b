"""A response's head, read once and strictly, and made ready to be passed on.

Replicas are ours but not trusted with framing: what two readers could understand differently is a broken answer.
"""

import re
from typing import Final

from penstock.adapters.wire.bodies import Chunked, FramingError, Length, Reader, UntilClose

MAX_HEAD_BYTES: Final = 64 << 10

_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_HEADERS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*+")
_HEADER: Final = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

_DROPPED: Final = frozenset((
    # of this connection alone (RFC 9110 7.6.1)
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
    # framing is ours to say
    b"content-length",
    # ours replace them; cookies would never come back, because those of clients are not forwarded
    b"server", b"x-request-id", b"set-cookie", b"www-authenticate", b"alt-svc",
))  # fmt: skip
_VOUCHING: Final = frozenset((b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"content-range"))
REASONS: Final = {
    200: b"OK", 201: b"Created", 202: b"Accepted", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized",
    403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict",
    413: b"Content Too Large", 415: b"Unsupported Media Type", 422: b"Unprocessable Content", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 499: b"Client Closed Request", 500: b"Internal Server Error",
    501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip


class ResponseHead:
    """What a response's head says, and the lines of it that may be passed on."""

    __slots__ = (
        "block",
        "content_type",
        "encoded",
        "fixed",
        "keep_alive",
        "length",
        "retry_after",
        "status",
        "status_line",
    )

    def __init__(self, status: int) -> None:
        self.status = status
        self.status_line = b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"-"))
        self.block = b""
        """End-to-end headers, rendered, each line with its CR LF."""
        self.length = UNTIL_CLOSE
        """Bytes of the body; or CHUNKED, UNTIL_CLOSE."""
        self.keep_alive = False
        self.content_type = b""
        """The media type alone, lower case."""
        self.encoded = False
        """It has a Content-Encoding: its bytes mean nothing to us."""
        self.fixed = False
        """Its bytes must stay as they are: they are encoded, or a header vouches for them."""
        self.retry_after = b""

    def reader(self) -> Reader:
        """A reader for its body."""
        if self.length >= 0:
            return Length(self.length)
        return Chunked() if self.length == CHUNKED else UntilClose()


def parse_response_head(head: bytes) -> ResponseHead:
    """Read a whole head, its empty line included. Raises FramingError."""
    first = _STATUS.match(head)
    if first is None:
        raise FramingError("no status line")
    lines = _HEADERS.match(head, first.end())
    if lines is None or lines.end() != len(head) - 2:
        raise FramingError("bad header line")
    parsed = ResponseHead(int(first[2]))
    headers = [
        (name.lower(), value.rstrip(b" \t")) for name, value in _HEADER.findall(head, first.end(), len(head) - 2)
    ]
    options = _connection_options(headers)
    _read_framing(parsed, headers, http10=first[1] == b"0", options=options)
    kept: list[bytes] = []
    for name, value in headers:
        if name == b"content-type":
            parsed.content_type = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            parsed.encoded = value.lower() != b"identity"
            parsed.fixed = parsed.fixed or parsed.encoded
        elif name in _VOUCHING or (name == b"cache-control" and b"no-transform" in value.lower()):
            parsed.fixed = True
        elif name == b"retry-after":
            parsed.retry_after = value
        if name not in _DROPPED and name not in options and not name.startswith(b"x-penstock-"):
            kept.append(b"%b: %b\r\n" % (name, value))
    parsed.block = b"".join(kept)
    return parsed


def _connection_options(headers: list[tuple[bytes, bytes]]) -> frozenset[bytes]:
    return frozenset(
        option.strip(b" \t") for name, value in headers if name == b"connection" for option in value.lower().split(b",")
    )


def _read_framing(
    parsed: ResponseHead, headers: list[tuple[bytes, bytes]], *, http10: bool, options: frozenset[bytes]
) -> None:
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings:
        if lengths or http10 or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise FramingError("ambiguous length")
        parsed.length = CHUNKED
    elif lengths:
        if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
            raise FramingError("ambiguous length")
        parsed.length = int(lengths[0])
    if parsed.status in (204, 304):
        parsed.length = 0
    alive = b"keep-alive" in options if http10 else b"close" not in options
    parsed.keep_alive = alive and parsed.length != UNTIL_CLOSE
