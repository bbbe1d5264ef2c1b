"""What a call that is over is charged, and what that costs.

Only what its tenant got: an attempt that failed, or lost against another, costs the tenant nothing.
"""

from math import ceil
from typing import Final, NamedTuple

from penstock.base.nouns import Call
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


NOTHING: Final = Charge(False)
_MISTAKEN: Final = Charge(True)


def most_output(call: Call, default: int) -> int:
    """Tokens that its answer can have."""
    if call.path not in GENERATES:
        return 0
    return (default if call.max_tokens is None else call.max_tokens) * call.choices


def charge(
    call: Call, outcome: str, status: int, relayed: int, *, begun: bool, sent: bool, prompt: int, output: int
) -> Charge:  # fmt: skip
    """What a call is charged that ended so, of which no engine said what it used. `prompt` is what its prompt was
    believed to have, `output` what was held for its answer; `sent`: a replica was working on it when it ended.

    An answer whose engine tells no usage is charged what was relayed, or, where it came in one piece, all that was
    held. Who leaves early is charged the prompt once an engine has it, and what was relayed of the answer.
    """
    if outcome == "ok":
        if status >= 400:  # the client's mistake, found by the engine: an answer, but no tokens
            return _MISTAKEN
        return Charge(True, prompt, relayed if call.stream else output)
    if begun:
        return Charge(True, prompt, relayed)
    return Charge(True, prompt) if outcome == "client_gone" and sent else NOTHING


Price = tuple[float, float, float]
"""Billionths for a token of a prompt, of a cached prompt, and of an answer."""


def price_of(spec: PriceSpec) -> Price:
    """A price as it is reckoned with."""
    cached = spec.prompt if spec.cached is None else spec.cached
    return spec.prompt * _PER_TOKEN, cached * _PER_TOKEN, spec.completion * _PER_TOKEN


def cost(price: Price | None, prompt: int, completion: int, cached: int = 0) -> int:
    """What it costs, in billionths, rounded up. No price: nothing."""
    if price is None:
        return 0
    if cached > prompt:
        cached = prompt
    money = (prompt - cached) * price[0] + cached * price[1] + completion * price[2]
    return ceil(money - 1e-6)  # less than a millionth of a billionth is the float's
