"""Answers that the gateway gives itself: errors in OpenAI's shape and small JSON pages, as bytes ready to write."""

import re
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from penstock.adapters.wire.bodies import LAST_CHUNK, chunk
from penstock.adapters.wire.response import REASONS
from penstock.base.errors import Refusal, error_body
from penstock.base.nouns import Rates
from penstock.config.schema import CompressionSpec
from penstock.core.limits.bars import duration
from penstock.gateway.call.packing import packed
from penstock.gateway.client.head import Head

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
RETRY_AFTER_S: Final = 1.0
"""What `Retry-After` says where nobody knows better."""
_RATES: Final = re.compile(rb"^x-ratelimit-[^\r]*\r\n", re.MULTILINE)


def patience_s(row: Refusal) -> float | None:
    """What `Retry-After` says to a client that is refused here, without the Gate; None: nothing."""
    return RETRY_AFTER_S if row.says_retry_after else None


def packed_page(status: int, body: Any, spec: CompressionSpec | None, head: Head) -> bytes:
    """A whole JSON answer, compressed as an engine's would be."""
    payload = msgspec.json.encode(body)
    lines = b""
    if spec is not None and spec.min_bytes <= len(payload) <= spec.max_bytes:
        lines = b"vary: accept-encoding\r\n"
        if head.gzip:
            payload, lines = packed(payload, spec), lines + b"content-encoding: gzip\r\n"
    return raw_page(status, payload, close=not head.keep_alive, head_only=head.head_only, lines=lines)


def page(status: int, body: Any, *, close: bool, head_only: bool = False, lines: bytes = b"") -> bytes:
    """A whole JSON answer; `lines` are further header lines, each with its CR LF."""
    return raw_page(status, msgspec.json.encode(body), close=close, head_only=head_only, lines=lines)


def raw_page(status: int, payload: bytes, *, close: bool, head_only: bool = False, lines: bytes = b"") -> bytes:
    """A whole answer around a payload that is JSON already."""
    return b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b%b\r\n%b" % (
        status,
        REASONS.get(status, b"-"),
        len(payload),
        lines,
        b"connection: close\r\n" if close else b"",
        b"" if head_only else payload,
    )


def error_page(
    label: str,
    status: int,
    *,
    detail: str = "",
    param: str | None = None,
    close: bool,
    head_only: bool = False,
    lines: bytes = b"",
    retry_after_s: float | None = None,
) -> bytes:
    """An error in OpenAI's shape."""
    if status == 405 and b"allow: " not in lines:
        lines += b"allow: GET, HEAD, POST\r\n"  # one must stand there (RFC 9110 15.5.6); these are known at all
    if status == 415:
        lines += b"accept-encoding: identity\r\n"  # what would be understood (RFC 9110 15.5.16)
    if retry_after_s is not None:
        lines += b"retry-after: %d\r\n" % max(1, ceil(retry_after_s))
    return page(status, error_body(label, detail, param), close=close, head_only=head_only, lines=lines)


def rate_lines(rates: Rates) -> bytes:
    """Header lines that tell a client of its limits, under OpenAI's names and in its form."""
    lines = ""  # a text, encoded at once: formats of bytes cost more
    if rates.limit_requests is not None:
        lines = (
            f"x-ratelimit-limit-requests: {rates.limit_requests}\r\n"
            f"x-ratelimit-remaining-requests: {rates.remaining_requests or 0}\r\n"
            f"x-ratelimit-reset-requests: {duration(rates.reset_requests_s or 0.0)}\r\n"
        )
    if rates.limit_tokens is not None:
        lines = (
            f"{lines}x-ratelimit-limit-tokens: {rates.limit_tokens}\r\n"
            f"x-ratelimit-remaining-tokens: {rates.remaining_tokens or 0}\r\n"
            f"x-ratelimit-reset-tokens: {duration(rates.reset_tokens_s or 0.0)}\r\n"
        )
    return lines.encode("ascii")


def without_rates(block: bytes) -> bytes:
    """Header lines of an upstream without what it tells of its own limits: a client has one kind."""
    return _RATES.sub(b"", block) if b"x-ratelimit-" in block else block


def error_event(label: str, detail: str, *, named: bool = False) -> bytes:
    """The error as a server-sent event; no `[DONE]` follows it. `named`: as Anthropic's clients know it, which look at
    an event's name and pass over those that have none."""
    body: dict[str, Any] = error_body(label, detail)
    if named:
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode({"type": "error", **body})
    return b"data: %b\n\n" % msgspec.json.encode(body)


def last_event(label: str, detail: str, *, chunked: bool, named: bool = False) -> bytes:
    """The error event and the end of the stream's framing."""
    event = error_event(label, detail, named=named)
    return chunk(event) + LAST_CHUNK if chunked else event


def models_page(names: list[str], name: str = "") -> tuple[int, Any]:
    """Status and body of GET /v1/models, or of one model's page. Engines do not agree on a date of creation, so none
    is claimed."""
    if name:
        return (200, _entry(name)) if name in names else (404, None)
    return 200, {"object": "list", "data": [_entry(name) for name in names]}


def _entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock"}


def health_page() -> tuple[int, Any]:
    """Status and body of GET /health: who can answer is alive."""
    return 200, {"status": "ok"}


def ready_page(ready: bool) -> tuple[int, Any]:
    """Status and body of GET /ready: whether work should be sent here."""
    return (200, {"status": "ok"}) if ready else (503, {"status": "not ready"})


def local_page(head: Head, models: Callable[[], Sequence[str]], ready: Callable[[], bool]) -> tuple[int, Any]:
    """Status and body of a path that needs no replica."""
    local = head.route.local
    if local == "health":
        return health_page()
    if local == "ready":
        return ready_page(ready())
    name = unquote(head.path[len("/v1/models/") :]) if local == "model" else ""  # clients write org%2Fmodel, too
    return models_page([model for model in models() if head.models is None or model in head.models], name)
