"""The shape of a usage object, whoever wrote it. Apart from `usage`, which finds them, because that is compiled where
the package is, and shapes cannot be.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from penstock.base.nouns import Usage

MOST_TOKENS: Final = 1 << 31
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
