"""Who asks, and for what: tenants, models, adapters, priorities, each by its share. A spec is the object."""

from collections.abc import Callable
from random import Random
from typing import Annotated

from msgspec import Meta, Struct

from penstock.base.nouns import PRIORITIES
from penstock.workload import draws
from penstock.workload.request import NORMAL


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class One(_Spec, frozen=True, kw_only=True, tag="one"):
    """Always the same."""

    name: Annotated[str, Meta(min_length=1, description="the name")]

    def names(self) -> list[str]:
        """Every name that can come."""
        return [self.name]

    def sampler(self, stream: Random) -> Callable[[], str]:
        """Draws names from the stream."""
        name = self.name
        return lambda: name


class Weighted(_Spec, frozen=True, kw_only=True, tag="weighted"):
    """A few names, each with its weight."""

    weights: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]], Meta(min_length=1, description="name -> its weight beside the others'")
    ]

    def names(self) -> list[str]:
        """Every name that can come."""
        return list(self.weights)

    def sampler(self, stream: Random) -> Callable[[], str]:
        """Draws names from the stream."""
        return _picked(self.names(), draws.index(stream, list(self.weights.values())))


class Zipf(_Spec, frozen=True, kw_only=True, tag="zipf"):
    """Many names of which few are frequent: the n-th comes in proportion to 1/n^exponent."""

    count: Annotated[int, Meta(ge=1, le=1_000_000, description="how many names there are")]
    exponent: Annotated[float, Meta(ge=0, le=10, description="0: all alike; 1: as words in a text")] = 1.0
    prefix: Annotated[str, Meta(description="the names are this and a number from 1, most frequent first")] = "t"

    def names(self) -> list[str]:
        """Every name that can come."""
        return [f"{self.prefix}{rank}" for rank in range(1, self.count + 1)]

    def sampler(self, stream: Random) -> Callable[[], str]:
        """Draws names from the stream."""
        return _picked(self.names(), draws.index(stream, draws.zipf_weights(self.count, self.exponent)))


Names = One | Weighted | Zipf


RANKS = {"": NORMAL} | {name: rank for rank, name in enumerate(PRIORITIES)}
"""Priority -> its rank; no name is normal."""


def check_priorities(names: Names | None) -> None:
    """Raises ValueError where one of the names is no priority."""
    for name in names.names() if names is not None else ():
        if name not in PRIORITIES:
            raise ValueError(f"{name!r} is no priority: there are {', '.join(PRIORITIES)}")


def _picked(names: list[str], pick: Callable[[], int]) -> Callable[[], str]:
    return lambda: names[pick()]
