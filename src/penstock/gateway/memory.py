"""What was asked of a pool, over a restart of the gateway: read once, written by a thread when there is more to know.

It is no more than a help: where the disk fails that is logged, forecasts begin anew, and scaling goes on.
"""

import asyncio
import logging
from pathlib import Path

from penstock.adapters.actuators.demand import keep, kept
from penstock.core.scale.history import Past

log = logging.getLogger("penstock.scaling")


class Memory:
    """One pool's."""

    def __init__(self, path: Path, pool: str) -> None:
        self._path = path
        self._pool = pool
        self._recalled = False
        self._keeping = False

    def recall(self) -> Past | None:
        """What was written before this gateway was started; None: nothing, or that was told already."""
        if self._recalled:
            return None
        self._recalled = True
        try:
            return kept(self._path)
        except OSError as wrong:
            log.warning("pool %s: its forecasts begin anew: %s", self._pool, wrong)
            return None

    async def keep(self, past: Past) -> None:
        """Write it down. While the disk is at the one before it is left: the next one has all of it."""
        if self._keeping:
            return
        self._keeping = True
        try:
            await asyncio.to_thread(keep, self._path, past)
        except OSError as wrong:
            log.warning("pool %s: what was asked of it cannot be kept over a restart: %s", self._pool, wrong)
        finally:
            self._keeping = False
