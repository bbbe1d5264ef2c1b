"""What a call that is over is charged, and what that costs.

Only what its tenant got: an attempt that failed, or lost against another, costs the tenant nothing.
"""

from math import ceil
from typing import Final, NamedTuple

from penstock.base.nouns import Call, Usage
from penstock.core.limits.spec import PriceSpec

NANO: Final = 1_000_000_000
"""Money is counted in billionths, in whole ones, so that sums are exact."""
_PER_TOKEN: Final = NANO / 1_000_000

GENERATES: Final = frozenset({
    "/v1/chat/completions", "/chat/completions", "/v1/completions", "/completions", "/v1/responses", "/responses",
    "/v1/messages", "/generate", "/generate_stream",
})  # fmt: skip
"""Paths whose answers are generated, token by token; elsewhere only the prompt counts."""


class Charge(NamedTuple):
    """What one call used."""

    served: bool
    """It counts as a request."""
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Of the prompt."""

    @property
    def tokens(self) -> int:
        """Of the prompt and the answer."""
        return self.prompt + self.completion


NOTHING = Charge(False)
_MISTAKEN = Charge(True)


def most_output(call: Call, default: int) -> int:
    """Tokens that its answer can have."""
    if call.path not in GENERATES:
        return 0
    return (default if call.max_tokens is None else call.max_tokens) * call.choices


def charge(
    call: Call, outcome: str, status: int, usage: Usage | None, relayed: int, *, begun: bool, sent: bool, prompt: int,
    output: int,
) -> Charge:  # fmt: skip
    """What a call is charged that ended so. `prompt` is what its prompt was believed to have, `output` what was held
    for its answer; `sent`: a replica was working on it when it ended.

    An answer whose engine tells no usage is charged what was relayed, or, where it came in one piece, all that was
    held. Who leaves early is charged the prompt once an engine has it, and what was relayed of the answer.
    """
    if outcome == "ok":
        if status >= 400:  # the client's mistake, found by the engine: an answer, but no tokens
            return _MISTAKEN
        if usage is not None:
            return Charge(True, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
        return Charge(True, prompt, relayed if call.stream else output)
    if begun:
        return Charge(True, prompt, relayed)
    return Charge(True, prompt) if outcome == "client_gone" and sent else NOTHING


def cost(price: PriceSpec | None, prompt: int, completion: int, cached: int = 0) -> int:
    """What it costs, in billionths, rounded up. No price: nothing."""
    if price is None:
        return 0
    cheap = price.prompt if price.cached is None else price.cached
    cached = min(cached, prompt)
    money = (prompt - cached) * price.prompt + cached * cheap + completion * price.completion
    return ceil(money * _PER_TOKEN - 1e-6)  # less than a thousandth of a billionth is the float's
