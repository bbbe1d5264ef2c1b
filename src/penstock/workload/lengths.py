"""How many tokens: distributions of lengths, and of the pairs of prompt and answer. A spec is the object."""

import math
from array import array
from collections.abc import Callable, Iterable
from random import Random
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from penstock.base.rand import Rand
from penstock.workload import draws
from penstock.workload.formats import MAX_TOKENS, read_sizes

Read = Callable[[str], Iterable[bytes]]
"""Hands over a file's bytes by its name, piece by piece. Given by who may open files. Raises TraceError."""
Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
Some = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
Weight = Annotated[float, Meta(gt=0)]
Draw = Callable[[], int]


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Fixed(_Spec, frozen=True, kw_only=True, tag="fixed"):
    """Always the same."""

    tokens: Annotated[Tokens, Meta(description="the length")]

    def sampler(self, stream: Random) -> Draw:
        """Draws lengths from the stream."""
        tokens = self.tokens
        return lambda: tokens


class Uniform(_Spec, frozen=True, kw_only=True, tag="uniform"):
    """Every length from `low` to `high` alike, both included."""

    low: Annotated[Tokens, Meta(description="the shortest")]
    high: Annotated[Tokens, Meta(description="the longest")]

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")

    def sampler(self, stream: Random) -> Draw:
        """Draws lengths from the stream."""
        low, width, uniform = self.low, self.high - self.low + 1, stream.random
        return lambda: low + int(uniform() * width)


class LogNormal(_Spec, frozen=True, kw_only=True, tag="lognormal"):
    """Lengths whose logarithm is normal, as those of chats are roughly. What falls outside `low` to `high` becomes
    the nearer of them."""

    median: Annotated[float, Meta(gt=0, le=MAX_TOKENS, description="half of the lengths are below")]
    sigma: Annotated[
        float, Meta(ge=0, le=10, description="standard deviation of the logarithm; p90 = median × e^(1.2816 sigma)")
    ] = 1.0
    low: Annotated[Tokens, Meta(description="the shortest")] = 1
    high: Annotated[Tokens, Meta(description="the longest")] = 131_072

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")

    def sampler(self, stream: Random) -> Draw:
        """Draws lengths from the stream."""
        mu, sigma, low, high = math.log(self.median), self.sigma, self.low, self.high
        normally, exp, most = draws.normal(stream), math.exp, math.log(MAX_TOKENS)

        def draw() -> int:
            x = mu + sigma * normally()
            tokens = int(exp(x) + 0.5) if x < most else high
            return low if tokens < low else min(tokens, high)

        return draw


class Empirical(_Spec, frozen=True, kw_only=True, tag="empirical"):
    """A distribution by its quantiles, straight between two of them."""

    quantiles: Annotated[
        tuple[tuple[float, float], ...],
        Meta(min_length=2, description="pairs of share (from 0 to 1, rising) and tokens (rising)"),
    ]

    def __post_init__(self) -> None:
        shares, tokens = [share for share, _ in self.quantiles], [tokens for _, tokens in self.quantiles]
        if shares != sorted(shares) or (shares[0], shares[-1]) != (0, 1):
            raise ValueError("the shares must rise from 0 to 1")
        if tokens != sorted(tokens) or not 0 <= tokens[0] <= tokens[-1] <= MAX_TOKENS:
            raise ValueError(f"the tokens must rise, from 0 or more to at most {MAX_TOKENS:,}")

    def sampler(self, stream: Random) -> Draw:
        """Draws lengths from the stream."""
        draw = draws.quantiles(stream, [share for share, _ in self.quantiles], [value for _, value in self.quantiles])
        return lambda: int(draw() + 0.5)


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One distribution of a mixture."""

    of: "Length"
    weight: Annotated[Weight, Meta(description="how often it is drawn from, beside the others' weights")] = 1.0


class Mixture(_Spec, frozen=True, kw_only=True, tag="mixture"):
    """Each length from one of several distributions."""

    parts: Annotated[tuple[Part, ...], Meta(min_length=1, description="the distributions and their weights")]

    def sampler(self, stream: Random) -> Draw:
        """Draws lengths from the stream."""
        pick = draws.index(stream, [part.weight for part in self.parts])
        samplers = [part.of.sampler(stream) for part in self.parts]
        return lambda: samplers[pick()]()


Length = Fixed | Uniform | LogNormal | Empirical | Mixture

# ===== pairs =====

Pair = Callable[[], tuple[int, int]]


class Independent(_Spec, frozen=True, kw_only=True, tag="independent"):
    """Prompt and answer drawn apart from each other."""

    prompt: Annotated[Length, Meta(description="tokens of the prompt, beside what is shared")] = field(
        default_factory=lambda: LogNormal(median=1020, sigma=0.77, high=16_384)
    )
    output: Annotated[Length, Meta(description="tokens of the answer")] = field(
        default_factory=lambda: LogNormal(median=129, sigma=0.93, high=4_096)
    )

    def pairs(self, rand: Rand, read: Read) -> Pair:
        """Draws (prompt, output)."""
        prompt, output = self.prompt.sampler(rand.stream("prompt")), self.output.sampler(rand.stream("output"))
        return lambda: (prompt(), output())

    def chosen(self, rand: Rand, read: Read) -> dict[str, Any]:
        """What the seed or a file decided once and for all."""
        return {}


class Rows(_Spec, frozen=True, kw_only=True, tag="rows"):
    """Prompt and answer as they stand together in the rows of a file: a trace, or lengths without times."""

    file: Annotated[str, Meta(min_length=1, description="a trace or a CSV of num_prefill_tokens,num_decode_tokens")]
    drawn: Annotated[
        bool, Meta(description="true: any row, by lot; false: in the file's order, from the start again at its end")
    ] = True

    def pairs(self, rand: Rand, read: Read) -> Pair:
        """Gives (prompt, output)."""
        prompts, outputs = read_sizes(read(self.file), self.file)
        if self.drawn:
            return _any_row(prompts, outputs, rand.stream("rows"))
        return _each_row(prompts, outputs)

    def chosen(self, rand: Rand, read: Read) -> dict[str, Any]:
        """What the seed or a file decided once and for all."""
        prompts, outputs = read_sizes(read(self.file), self.file)
        count = len(prompts)
        return {"rows": count, "prompt_mean": sum(prompts) / count, "output_mean": sum(outputs) / count}


Sizes = Independent | Rows


def _any_row(prompts: "array[int]", outputs: "array[int]", stream: Random) -> Pair:
    uniform, count = stream.random, len(prompts)

    def draw() -> tuple[int, int]:
        at = int(uniform() * count)
        return prompts[at], outputs[at]

    return draw


def _each_row(prompts: "array[int]", outputs: "array[int]") -> Pair:
    count, at = len(prompts), -1

    def draw() -> tuple[int, int]:
        nonlocal at
        at = (at + 1) % count
        return prompts[at], outputs[at]

    return draw
