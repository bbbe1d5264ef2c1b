"""Whole answers made smaller on their way to a client that takes gzip [D5]. Never streams, and only where it helps.

What is compressed is compressed on the event loop, so it is bounded: 256 KiB take some milliseconds at level 1. A
larger answer is passed on as it comes anyway.
"""

import re
import zlib
from typing import Final

from penstock.adapters.wire.response import ResponseHead
from penstock.config.schema import CompressionSpec

_TEXTS: Final = re.compile(
    rb"text/(?!event-stream)|application/(?:[a-z0-9.+-]*\+)?(?:json|xml|x-ndjson|javascript|jsonl)$"
)
"""Media types of which gzip makes less; sounds and pictures are compressed already."""


def takes_gzip(value: bytes) -> bool:
    """Whether an Accept-Encoding asks for gzip rather than for nothing (RFC 9110 12.5.3): named, or by `*`, with a
    weight above zero and not below that of `identity`."""
    weights: dict[bytes, float] = {}
    for part in value.lower().split(b",")[:32]:
        name, _, rest = part.partition(b";")
        weights.setdefault(name.strip(b" \t"), _weight(rest))
    every = weights.get(b"*", 0.0)
    gzip = weights.get(b"gzip", weights.get(b"x-gzip", every))
    return gzip > 0.0 and gzip >= weights.get(b"identity", 0.0)


def _weight(parameter: bytes) -> float:
    name, _, value = parameter.partition(b"=")
    if name.strip(b" \t") != b"q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def packed(body: bytes, spec: CompressionSpec) -> bytes:
    """The body in gzip."""
    return zlib.compress(body, spec.level, 31)


def framed(
    response: ResponseHead, body: bytes, spec: CompressionSpec | None, taken: bool | None
) -> tuple[bytes, bytes]:  # fmt: skip
    """The header lines that frame a whole answer, and its body: compressed where that is switched on, helps, and is
    `taken` by the client; None: that is for somebody else to do. Where another client would get other bytes, `vary`
    says so to caches."""
    if response.status == 204:
        return b"", body
    size = len(body)
    if spec is None or taken is None or not spec.min_bytes <= size <= spec.max_bytes or not may_change(response):
        return b"content-length: %d\r\n" % size, body
    return liked(body, spec, taken)


def liked(body: bytes, spec: CompressionSpec | None, taken: bool, zipped: bytes = b"") -> tuple[bytes, bytes]:
    """The same for a body that may be compressed. `zipped`: it, where somebody has done it before."""
    size = len(body)
    if spec is None or not spec.min_bytes <= size <= spec.max_bytes:
        return b"content-length: %d\r\n" % size, body
    if not taken:
        return b"vary: accept-encoding\r\ncontent-length: %d\r\n" % size, body
    body = zipped or packed(body, spec)
    return b"content-encoding: gzip\r\nvary: accept-encoding\r\ncontent-length: %d\r\n" % len(body), body


def may_change(response: ResponseHead) -> bool:
    """Whether an answer may be compressed at all."""
    return not response.fixed and _TEXTS.match(response.content_type) is not None
