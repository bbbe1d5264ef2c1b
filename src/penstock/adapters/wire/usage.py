"""What an engine says a call used: OpenAI's and Anthropic's `usage` objects, found at the end of an answer."""

import re
from typing import Final

import msgspec

from penstock.adapters.wire.usage_shape import MOST_TOKENS, UsageFields
from penstock.base.nouns import Usage

TAIL_BYTES: Final = 16 << 10
"""A usage object is looked for in so many last bytes of an answer."""

_KEY: Final = b'"usage"'
_NESTED = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(\{[^{}]{0,4096}+(?:\{[^{}]{0,4096}+\}[^{}]{0,4096}+){0,16}+\})')
_PLAIN: Final = msgspec.json.Decoder(Usage)
_DECODER: Final = msgspec.json.Decoder(UsageFields)


def usage_in(tail: bytes) -> Usage | None:
    """The last usage object of an answer's tail; None: there is none that can be read.

    A text that a model wrote cannot pass for one: inside a JSON string its quotes are escaped. Anthropic names the
    prompt's tokens at the start of a stream, so a stream's own tail may give the completion alone.
    """
    at = tail.rfind(_KEY)
    if at < 0:
        return None
    start = tail.find(b"{", at)
    end = tail.find(b"}", start) + 1
    if start < 0 or not end or tail[at + len(_KEY) : start].strip(b" \t\r\n") != b":":
        return None
    flat = tail.find(b"{", start + 1, end) < 0
    told = tail[start:end]
    if not flat:
        nested = _NESTED.match(tail, at)
        if nested is None:
            return None
        told = nested[1]
    try:
        if flat:
            usage = _PLAIN.decode(told)  # OpenAI's names are ours, so most need no translation
            prompt, completion, cached = usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens
            if 0 < prompt <= MOST_TOKENS and 0 <= completion <= MOST_TOKENS and 0 <= cached <= MOST_TOKENS:
                return usage
        return _DECODER.decode(told).usage()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
