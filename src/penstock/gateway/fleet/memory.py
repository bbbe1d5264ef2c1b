"""What a pool must not forget, over a restart of the gateway: read once, written by a thread when there is more.

What was spent must be read: to begin with nothing would be to spend it twice. What was asked is no more than a help:
where the disk fails that is logged, forecasts begin anew, and scaling goes on.
"""

import asyncio
import logging

from penstock.adapters.actuators.memory import MemoryFiles
from penstock.core.scale.budget import Purse
from penstock.core.scale.history import Past
from penstock.core.scale.words import Part

log = logging.getLogger("penstock.scaling")

FAILS = {
    Purse: (logging.ERROR, "what it has spent cannot be written down"),
    Past: (logging.WARNING, "what was asked of it cannot be kept over a restart"),
}


class Memory:
    """One pool's."""

    def __init__(self, files: MemoryFiles, pool: str, money: bool = True) -> None:
        """`money`: its replicas cost something. Raises OSError where what was spent cannot be read."""
        self._files = files
        self._pool = pool
        self._money = money
        self._purse = files.read(Purse) if money else None
        """What an earlier life of the gateway has spent, until the Governor was told."""
        self._asked = False
        """Whether the past was read."""
        self._next: dict[type[Part], Part] = {}
        """What is to be written, the newest of each kind."""
        self._writing: set[type[Part]] = set()

    def recall(self, forecasts: bool) -> list[Part]:
        """What was written before this gateway was started and not told yet. `forecasts`: the past is of use too."""
        purse, self._purse = self._purse, None
        parts: list[Part] = [] if purse is None else [purse]
        if forecasts and not self._asked:
            self._asked = True
            try:
                past = self._files.read(Past)
                parts += [] if past is None else [past]
            except OSError as wrong:
                log.warning("pool %s: its forecasts begin anew: %s", self._pool, wrong)
        return parts

    async def keep(self, part: Part) -> None:
        """Write it down. While the disk is at one of its kind it waits, and is left where a newer one comes: each is
        the whole."""
        kind = type(part)
        if kind is Purse and not self._money:
            return
        self._next[kind] = part
        if kind in self._writing:
            return
        self._writing.add(kind)
        try:
            while (newest := self._next.pop(kind, None)) is not None:
                await self._write(newest)
        finally:
            self._writing.discard(kind)

    async def _write(self, part: Part) -> None:
        try:
            await asyncio.to_thread(self._files.write, part)
        except OSError as wrong:
            level, what = FAILS[type(part)]
            log.log(level, "pool %s: %s: %s", self._pool, what, wrong)
