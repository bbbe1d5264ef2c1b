"""What an engine says a call used: OpenAI's and Anthropic's `usage` objects, found at the end of an answer."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from penstock.base.nouns import Usage

TAIL_BYTES = 16 << 10
"""A usage object is looked for in so many last bytes of an answer."""

_FLAT = re.compile(rb'"usage"[ \t\r\n]*+:[ \t\r\n]*+(\{[^{}]*+\})')
_NESTED = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(\{[^{}]{0,4096}+(?:\{[^{}]{0,4096}+\}[^{}]{0,4096}+){0,16}+\})')


MOST_TOKENS = 1 << 31
Tokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
"""No call uses less than nothing, nor more than fits where numbers are summed."""


class _Cached(Struct, gc=False):
    cached_tokens: Tokens | None = None


class UsageFields(Struct, gc=False):
    """A usage object as engines write it."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    prompt_tokens_details: _Cached | None = None
    input_tokens_details: _Cached | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None

    def usage(self) -> Usage | None:
        """The noun; None where no number was given."""
        prompt = self.prompt_tokens if self.prompt_tokens is not None else self._input()
        completion = self.completion_tokens if self.completion_tokens is not None else self.output_tokens
        if prompt is None and completion is None:
            return None
        details = self.prompt_tokens_details or self.input_tokens_details
        cached = details.cached_tokens if details is not None else self.cache_read_input_tokens
        return Usage(prompt or 0, completion or 0, cached or 0)

    def _input(self) -> int | None:
        """Anthropic's `input_tokens` are those that no cache had to do with: what was read from one, and written to it,
        comes on top (Anthropic's documentation, prompt caching; llama.cpp, tools/server/server-task.cpp)."""
        anew = self.input_tokens
        if anew is None:
            return None
        more = (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        return min(anew + more, MOST_TOKENS)


_PLAIN = msgspec.json.Decoder(Usage)
_DECODER = msgspec.json.Decoder(UsageFields)


def usage_in(tail: bytes) -> Usage | None:
    """The last usage object of an answer's tail; None: there is none that can be read.

    A text that a model wrote cannot pass for one: inside a JSON string its quotes are escaped. Anthropic names the
    prompt's tokens at the start of a stream, so a stream's own tail may give the completion alone.
    """
    at = tail.rfind(b'"usage"')
    if at < 0:
        return None
    flat = _FLAT.match(tail, at)
    found = flat or _NESTED.match(tail, at)
    if found is None:
        return None
    try:
        if flat is not None:
            usage = _PLAIN.decode(flat[1])  # OpenAI's names are ours, so most need no translation
            prompt, completion, cached = usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens
            if 0 < prompt <= MOST_TOKENS and 0 <= completion <= MOST_TOKENS and 0 <= cached <= MOST_TOKENS:
                return usage
        return _DECODER.decode(found[1]).usage()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
