"""A digest of a run: equal digests, equal facts and orders at equal times.

Every number with a fraction is taken as whole billionths (a time: nanoseconds), so that the last bit of a float, which
another mathematical library may round otherwise, does not make two runs different.
"""

from hashlib import blake2b
from math import isfinite
from typing import Any

import msgspec

from penstock.core.effects import Effect
from penstock.core.events import Event

_encode = msgspec.json.Encoder().encode


class Digest:
    """Its `observe` is a reader of turns, as the journal's is."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = blake2b(digest_size=16)

    def observe(self, now: float, event: Event, orders: list[Effect]) -> None:
        """Take one turn."""
        self._state.update(_encode(whole(msgspec.to_builtins((now, event, orders)))) + b"\n")

    def text(self) -> str:
        """Of all turns so far, hexadecimal."""
        return self._state.hexdigest()


def whole(value: Any) -> Any:
    """The same with whole billionths in place of all floats. Where there is no such number, its name stands."""
    if type(value) is float:
        return round(value * 1e9) if isfinite(value) else str(value)
    if isinstance(value, dict):
        return {name: whole(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [whole(each) for each in value]
    return value
