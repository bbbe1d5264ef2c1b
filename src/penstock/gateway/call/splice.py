"""Changing a request's body in place: the model's name, the wish for usage, the longest answer. Every other byte stays
as it came. Where a body can only be read by the exact scan and is too complex for it, they raise Malformed."""

import re
from typing import Final

import msgspec

from penstock.gateway.client.peek import top_level

_MODEL: Final = re.compile(rb'"model"[ \t\r\n]*+:[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")')


def with_model(body: bytes, model: str) -> bytes:
    """The body, which was peeked at, with another model."""
    value = msgspec.json.encode(model)
    if body.count(b'"model"') == 1 and b"\\u00" not in body:
        # the only place where these bytes stand is the key that the peek has read
        found = _MODEL.search(body)
        if found is not None:
            return body[: found.start(1)] + value + body[found.end(1) :]
    return _with(body, b"model", value)


def with_usage(body: bytes) -> bytes:
    """The body of a stream, which was peeked at, asking for the usage at its end."""
    if b'"stream_options"' not in body and b"\\u00" not in body:
        return _before_all(body, b'"stream_options":{"include_usage":true}')
    for name, start, end in top_level(body):
        if name == "stream_options":
            return body[:start] + _asking(body[start:end]) + body[end:]
    return _before_all(body, b'"stream_options":{"include_usage":true}')


def _asking(options: bytes) -> bytes:
    """The stream's options, whatever else they say, with the wish for usage."""
    if not options.startswith(b"{"):
        return b'{"include_usage":true}'  # null
    told = [(start, end) for name, start, end in top_level(options) if name == "include_usage"]
    for start, end in reversed(told):
        options = options[:start] + b"true" + options[end:]
    return options if told else _before_all(options, b'"include_usage":true')


def with_most_tokens(body: bytes, name: bytes, tokens: int) -> bytes:
    """The body, which was peeked at and says nothing of how many tokens its answer may have, saying that."""
    if b'"%b"' % name not in body and b"\\u00" not in body:
        return _before_all(body, b'"%b":%d' % (name, tokens))
    return _with(body, name, b"%d" % tokens)


def _with(body: bytes, key: bytes, value: bytes) -> bytes:
    name = key.decode()
    for found, start, end in top_level(body):
        if found == name:
            return body[:start] + value + body[end:]
    return _before_all(body, b'"%b":%b' % (key, value))


def _before_all(body: bytes, member: bytes) -> bytes:
    start = body.find(b"{") + 1
    separator = b"" if body[start:].lstrip()[:1] == b"}" else b","
    return body[:start] + member + separator + body[start:]
