"""From a profile of kernels to a cost model: LLMServingSim's tables in, a `Profile` and its errors out.

The tables (github.com/casys-kaist/LLMServingSim, `profiler/perf`, MIT) give microseconds of one layer's operations on
one rank: `dense.csv` (layer, tokens), `per_sequence.csv` (layer, sequences), `attention.csv` (prefill_chunk,
kv_prefill, n_decode, kv_decode). What is neither in a kernel nor hidden behind one is not in them: `Profile.base_s` is
for that.
"""

import csv
from collections.abc import Callable, Iterable
from typing import NamedTuple

from penstock.engine.fit import Errors, by_regime, errors, hold_back, prices
from penstock.engine.profile import Profile, between

ONCE = ("embedding", "final_layernorm")
TWICE = ("layernorm",)
"""A transformer's block has two; everything else it has once."""


class Attention(NamedTuple):
    """One measured batch: a prompt's chunk beside sequences that generate, all of equal context."""

    chunk: int
    context: int
    """Tokens before the chunk."""
    decodes: int
    decode_context: int
    seconds: float
    """All layers."""

    @property
    def regime(self) -> str:
        """prefill, decode or mixed."""
        return "mixed" if self.chunk and self.decodes else "prefill" if self.chunk else "decode"

    def terms(self) -> tuple[float, ...]:
        """What each price of a `Profile` is paid for, in the order of `PRICES`."""
        pairs = self.chunk * (2 * self.context + self.chunk + 1) / 2
        read = self.decodes * self.decode_context + self.context
        mixed = 1.0 if self.chunk else 0.0
        return 1.0, self.decodes, read, pairs, self.chunk, mixed * self.decodes, mixed * read


PRICES = (
    "base_s", "sequence_s", "context_token_s", "pair_s", "prefill_token_s", "mixed_sequence_s", "mixed_context_token_s",
)  # fmt: skip


class Calibrated(NamedTuple):
    """A cost model, and how far it is from the points that it has not seen: whole steps, by regime and together."""

    cost: Profile
    fitted: Errors
    held_back: Errors
    by_regime: dict[str, Errors]
    """Of the points held back."""


def read_attention(lines: Iterable[str], layers: int) -> list[Attention]:
    """The lines of attention.csv. Raises KeyError or ValueError where they are something else."""
    return [
        Attention(
            int(row["prefill_chunk"]), int(row["kv_prefill"]), int(row["n_decode"]), int(row["kv_decode"]),
            float(row["time_us"]) * 1e-6 * layers,
        )
        for row in csv.DictReader(lines)
    ]  # fmt: skip


def read_layers(lines: Iterable[str], column: str, layers: int) -> tuple[tuple[float, float], ...]:
    """The lines of dense.csv or per_sequence.csv, all operations together. Sizes that one of them lacks are left."""
    sums: dict[int, tuple[int, float]] = {}
    names: dict[str, None] = {}
    for row in csv.DictReader(lines):
        name, size = row["layer"], int(row[column])
        names[name] = None
        times = 1 if column == "sequences" or name in ONCE else layers * (1 + (name in TWICE))
        count, total = sums.get(size, (0, 0.0))
        sums[size] = count + 1, total + times * float(row["time_us"]) * 1e-6
    return tuple((float(size), total) for size, (count, total) in sorted(sums.items()) if count == len(names))


def calibrate(
    attention: list[Attention],
    tokens_s: tuple[tuple[float, float], ...],
    sequences_s: tuple[tuple[float, float], ...],
    trusted: Callable[[Attention], bool] = lambda point: True,
) -> Calibrated:
    """Prices for attention from two thirds of the groups (chunk, decodes), errors from the others.

    What counts is the whole step: attention that is wrong by half matters little where it is a tenth of it. `trusted`
    says which points to use at all.
    """

    def rest_s(point: Attention) -> float:
        return between(tokens_s, point.chunk + point.decodes) + between(sequences_s, max(1, point.decodes))

    points = [point for point in attention if trusted(point)]
    fit, held = hold_back(points, lambda point: (point.chunk, point.decodes))
    found = prices(
        [point.terms() for point in fit],
        [point.seconds for point in fit],
        [point.seconds + rest_s(point) for point in fit],
    )
    cost = Profile(tokens_s=tokens_s, sequences_s=sequences_s, **dict(zip(PRICES, found)))

    def told(point: Attention) -> tuple[float, float]:
        read = point.decodes * point.decode_context + point.context
        pairs = point.chunk * (2 * point.context + point.chunk + 1) // 2
        return cost.step_s(point.chunk, point.decodes, read, pairs), point.seconds + rest_s(point)

    regimes = by_regime((point.regime, *told(point)) for point in held)
    return Calibrated(cost, errors(map(told, fit)), errors(map(told, held)), regimes)
