"""A worker's side of the ledger: it writes its calls into a journal of its own on disk, and its parent carries them
into the database. Nothing here knows a database.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from penstock.adapters.stores.spec import LedgerSpec
from penstock.base.nouns import Replica
from penstock.drive.segments import Segments
from penstock.gateway.outbox import Outbox
from penstock.telemetry.bookings import Bookings

COMMIT_S: Final = 0.5
"""How often is tried again what could not be put on disk."""
FORMER_S: Final = 10.0
"""So long a worker waits for the one that had its journal before: where a parent was killed and started again at once,
its workers are still ending."""
LOOK_S: Final = 0.05


def folder_of(spec: LedgerSpec, worker: int) -> Path:
    """Of a worker's journal."""
    return Path(spec.folder) / f"worker-{worker}"


class Booking:
    """Made inside a running event loop. Raises OSError where its folder cannot be had."""

    def __init__(self, spec: LedgerSpec, worker: int, workers: int, outbox: Outbox) -> None:
        most = max(1, spec.journal_bytes // workers)
        self.segments = Segments(folder_of(spec, worker), max_bytes=most, fsync=spec.fsync)
        self._loop = asyncio.get_running_loop()
        self._outbox = outbox
        self._bookings = Bookings(self.segments, self._loop.call_soon)
        self.observe = self._bookings.observe
        outbox.before = self._bookings.commit
        self._tick()

    @classmethod
    async def opened(cls, spec: LedgerSpec, worker: int, workers: int, outbox: Outbox) -> "Booking":
        """The same, once a former worker has ended. Raises OSError where it does not in time, or for another reason."""
        loop = asyncio.get_running_loop()
        end = loop.time() + FORMER_S
        while True:
            try:
                return cls(spec, worker, workers, outbox)
            except BlockingIOError:
                if loop.time() >= end:
                    raise
            await asyncio.sleep(LOOK_S)  # noqa: TID251 - another process has it, and says nothing when it ends

    def _tick(self) -> None:
        self._bookings.commit()
        self._timer = self._loop.call_later(COMMIT_S, self._tick)

    def fleet(self, replicas: Sequence[Replica]) -> None:
        """Who is in the fleet now."""
        self._bookings.regions = {replica.id: replica.region for replica in replicas if replica.region}

    def numbers(self) -> dict[str, int]:
        """What is to be added to the parent's."""
        segments = self.segments
        return {"lost": segments.lost, "waiting": segments.waiting, "failing": int(bool(segments.failing))}

    def close(self) -> None:
        """Write what is left."""
        self._timer.cancel()
        self._bookings.commit()
        self._outbox.before = None
        self.segments.close()
