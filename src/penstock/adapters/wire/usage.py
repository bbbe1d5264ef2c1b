"""What an engine says a call used: OpenAI's and Anthropic's `usage` objects, found at the end of an answer."""

import re

import msgspec
from msgspec import Struct

from penstock.base.nouns import Usage

TAIL_BYTES = 16 << 10
"""A usage object is looked for in so many last bytes of an answer."""

_OBJECT = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(\{[^{}]{0,4096}+(?:\{[^{}]{0,4096}+\}[^{}]{0,4096}+){0,16}+\})')


class _Cached(Struct, gc=False):
    cached_tokens: int | None = None


class UsageFields(Struct, gc=False):
    """A usage object as engines write it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    input_tokens_details: _Cached | None = None
    cache_read_input_tokens: int | None = None

    def usage(self) -> Usage | None:
        """The noun; None where no number was given."""
        prompt = self.prompt_tokens if self.prompt_tokens is not None else self.input_tokens
        completion = self.completion_tokens if self.completion_tokens is not None else self.output_tokens
        if prompt is None and completion is None:
            return None
        details = self.prompt_tokens_details or self.input_tokens_details
        cached = details.cached_tokens if details is not None else self.cache_read_input_tokens
        return Usage(max(prompt or 0, 0), max(completion or 0, 0), max(cached or 0, 0))


_DECODER = msgspec.json.Decoder(UsageFields)


def usage_in(tail: bytes) -> Usage | None:
    """The last usage object of an answer's tail; None: there is none that can be read.

    A text that a model wrote cannot pass for one: inside a JSON string its quotes are escaped. Anthropic names the
    prompt's tokens at the start of a stream, so a stream's own tail may give the completion alone.
    """
    at = tail.rfind(b'"usage"')
    if at < 0:
        return None
    start = tail.find(b"{", at)
    end = tail.find(b"}", start) + 1
    if start < 0 or not end:
        return None
    text = tail[start:end]
    if tail[at + 7 : start].strip() != b":" or text.count(b"{") > 1:
        found = _OBJECT.match(tail, at)
        if found is None:
            return None
        text = found[1]
    try:
        return _DECODER.decode(text).usage()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
