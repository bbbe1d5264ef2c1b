"""Replay: a new Gate is told a journal's facts at the journal's times, and must order what the journal says.

Only a life that is there from its beginning can be replayed: of a process whose first file has been rotated away, or
behind a gap, nobody knows what state its Gate was in.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from penstock.base.rand import Rand
from penstock.core.effects import Effect
from penstock.core.events import Event
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec
from penstock.drive.journal import Gap, Header, Place, Turn

Lines = Iterable[tuple[Place, Header | Gap | Turn[Any, Any]]]


class NotReplayable(Exception):
    """The journal cannot be used; says why, and what would help."""


class Difference(Struct, frozen=True, kw_only=True):
    """The first turn that came out otherwise."""

    place: str
    """File and line."""
    now: float
    """Seconds since the epoch."""
    fact: Event
    recorded: list[Effect]
    replayed: list[Effect]


class Life(Struct, kw_only=True):
    """One process, from its start on."""

    began: float
    """Time of its first fact, seconds since the epoch."""
    facts: int = 0
    """That were told again."""
    orders: int = 0
    """That came out again."""
    skipped: int = 0
    """Facts that were not told, because of what is missing before them."""
    missing: int = 0
    """Turns that the disk was too slow for."""


class Replayed(Struct, frozen=True, kw_only=True):
    """What became of a journal."""

    lives: list[Life]
    difference: Difference | None = None

    @property
    def facts(self) -> int:
        """That were told again, in all lives."""
        return sum(life.facts for life in self.lives)

    @property
    def orders(self) -> int:
        """That came out again, in all lives."""
        return sum(life.orders for life in self.lives)

    @property
    def skipped(self) -> int:
        """Facts that were not told."""
        return sum(life.skipped for life in self.lives)


def replay(lines: Lines, version: str) -> Replayed:
    """Tell them to new Gates until the first difference. `version` is ours. Raises NotReplayable, and ValueError for a
    line that is none of a journal."""
    lives: list[Life] = []
    gate: Gate | None = None
    for place, life, row in _by_life(lines, version, lives):
        if isinstance(row, Header):
            gate = Gate(spec_of(row, place), Rand(row.seed)) if row.part == 0 else gate
        elif isinstance(row, Gap):
            life.missing += row.turns
            gate = None
        elif gate is None or life.missing:
            life.skipped += 1
        else:
            orders = gate.on(row.event, row.now)
            if orders != row.effects:
                told = Difference(
                    place=str(place), now=row.now, fact=row.event, recorded=row.effects, replayed=orders
                )  # fmt: skip
                return Replayed(lives=lives, difference=told)
            life.facts += 1
            life.orders += len(orders)
    return Replayed(lives=lives)


def _by_life(
    lines: Lines, version: str, lives: list[Life]
) -> Iterator[tuple[Place, Life, Header | Gap | Turn[Any, Any]]]:
    """Each line with the life that it belongs to; new ones are added to `lives`."""
    for place, row in checked(lines, version):
        if isinstance(row, Header) and (row.part == 0 or not lives):
            lives.append(Life(began=0.0))
        elif isinstance(row, Turn) and not lives[-1].began:
            lives[-1].began = row.now
        yield place, lives[-1], row


def checked(lines: Lines, version: str) -> Lines:
    """The lines of a journal that this version wrote itself. Raises NotReplayable."""
    known = False
    for place, row in lines:
        if isinstance(row, Header):
            known = True
            if row.version != version:
                raise NotReplayable(
                    f"{place}: it was written by Penstock {row.version}, and this is {version}, which may decide and"
                    f" record otherwise: use Penstock {row.version}"
                )
        elif not known:
            raise NotReplayable(f"{place}: a journal begins with a header, and this does not")
        yield place, row
    if not known:
        raise NotReplayable("it is empty: there is not even a header in it")


def spec_of(head: Header, place: Place) -> GateSpec:
    """The specification that a header names. Raises NotReplayable."""
    try:
        return msgspec.json.decode(head.spec, type=GateSpec)
    except msgspec.DecodeError as error:  # of an extension that is not installed here, for one
        raise NotReplayable(f"{place}: its specification cannot be read: {error}") from None
