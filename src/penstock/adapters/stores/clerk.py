"""The clerk: a thread that carries the ledger's journal into its database, and waits where that is away.

Serving knows nothing of it. What is in the journal stays there until the database has it; so a database that is locked,
full or gone costs nothing but the time until rows can be asked for.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy.exc import DBAPIError

from penstock.adapters.stores.database import Away, Database
from penstock.adapters.stores.history import forget
from penstock.adapters.stores.recalling import forget_quarters, used_before
from penstock.adapters.stores.rows import MICROS
from penstock.adapters.stores.writing import Writer
from penstock.base.entries import Used
from penstock.drive.following import Joined
from penstock.drive.segments import Reader, Record, Segments, Written, framed

log = logging.getLogger("penstock.ledger")

BATCH: Final = 40_000
"""Rows of one transaction at most. Many calls of one tenant then change the same few pages of each index, and the same
lines of sums: behind an outage a quarter more rows a second came in than with 10,000 (bench/README.md)."""
LOOK_S: Final = 1.0
"""How often it looks for rows: by so much is the database behind."""
AWAY_S: Final = (0.5, 5.0)
"""Between two tries at a database that is away: at first, and at most."""
FORGET_S: Final = 600.0
"""How often it looks for rows that are too old."""
REJECTED: Final = "rejected"


class Clerk:
    """Reads segments, writes rows."""

    def __init__(
        self, segments: Segments, database: Database, keep_s: float | None = None, others: Sequence[Written] = (),
        most: int = BATCH,
    ) -> None:  # fmt: skip
        """`keep_s`: older rows are deleted; None: none. `others` are read as well, whoever writes them. `most`: rows of
        one transaction."""
        self._segments = segments
        self._reader = Joined([Reader(one) for one in (segments, *others)]) if others else Reader(segments)
        self._database = database
        self._writer = Writer(database)
        self._most = most
        self._batch: list[Record] = []
        """Read, and not in the database yet."""
        self._full = False
        """The last batch was as large as may be: there is more."""
        self._keep_s = keep_s
        self._forget_at = 0.0
        self._migrated = False
        self.recall: Callable[[list[Used]], None] | None = None
        """Who is told, once and in the clerk's thread, what was used of limits before this process began: all that
        earlier ones have left is in the database then, and nothing of this one's. To be set before it begins."""
        self._pause_s = AWAY_S[0]
        self._wake = threading.Event()
        self._closing_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self.away = ""
        """Why the database could not be written last; empty: it could."""
        self.written = 0
        """Calls that it wrote."""
        self.rejected = 0
        """Records that no database takes; they are kept in a file of the journal's folder."""

    @property
    def damaged(self) -> int:
        """Lines of the journal that were no records."""
        return self._reader.damaged

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """Write what is there and end. False: not in time; what is left stays in the journal for the next process."""
        self._closing_at = time.monotonic() + within_s
        self._wake.set()
        self._thread.join(within_s + 1.0)
        return not self._thread.is_alive() and not self.away

    def _run(self) -> None:
        while True:
            closing_at = self._closing_at
            try:
                moved = self.turn()
            except Exception as bug:  # it must not stop the ledger for good: it is tried again, and seen in the log
                if not self.away:
                    log.error("a bug in the ledger", exc_info=bug)
                self._trouble(f"a bug: {bug!r}"[:300])
                moved = False
            if closing_at is not None and (not moved or time.monotonic() > closing_at):
                break
            # what came while it wrote waits for the next look: a transaction costs as much as a hundred rows
            at_once = moved and (self._full or self.recall is not None)
            if not at_once and not self._forgets():
                self._wake.wait(self._pause_s if self.away else LOOK_S)
        self._reader.close()
        self._database.close()

    def turn(self) -> bool:
        """Carry a batch over; False: there is none, or it cannot be had now."""
        try:
            if not self._migrated:
                self._database.migrate()
                self._migrated = True
            if not self._batch:
                self._batch = self._reader.read(self._most, self.recall is not None)
            if not self._batch:
                moved = self._recalls()
            else:
                moved, self._full = True, len(self._batch) >= self._most
                self._write(self._batch)
                self._batch = []
                self._reader.done()
        except (Away, OSError) as error:
            self._trouble(str(error))
            return False
        if self.away:
            log.warning("the ledger's database answers again")
            self.away, self._pause_s = "", AWAY_S[0]
        return moved

    def _recalls(self) -> bool:
        """Tell what was used before this process began; False: it was told. Raises Away."""
        recall, self.recall = self.recall, None
        if recall is None:
            return False
        try:
            with self._database.reading() as connection:
                used = used_before(connection, time.time())
        except Away:
            self.recall = recall
            raise
        recall(used)
        return True

    def _forgets(self) -> bool:
        """Delete some rows that are too old; False: there are none, or it is not the time."""
        if self.away or time.monotonic() < self._forget_at:
            return False
        try:
            with self._database.writing() as connection:
                forget_quarters(connection, time.time())
                if self._keep_s is not None and forget(connection, round((time.time() - self._keep_s) * MICROS)):
                    return True
        except Away as error:
            log.warning("old rows of the ledger could not be deleted: %s", error)
        self._forget_at = time.monotonic() + FORGET_S
        return False

    def _trouble(self, why: str) -> None:
        if self.away:
            self._pause_s = min(self._pause_s * 2, AWAY_S[1])
        else:
            log.error("the ledger's database cannot be written, rows wait in the journal: %s", why)
        self.away = why

    def _write(self, records: Sequence[Record]) -> None:
        """All of them; halves of them, and halves of those, where some cannot be had. Raises Away."""
        try:
            self.written += self._writer.write(records)
        except (msgspec.MsgspecError, DBAPIError, ValueError, OverflowError) as error:
            if len(records) == 1:
                self._reject(records[0], error)
                return
            middle = len(records) // 2
            self._write(records[:middle])
            self._write(records[middle:])

    def _reject(self, record: Record, error: Exception) -> None:
        """Set aside what would hold up all others for ever."""
        self.rejected += 1
        path = self._segments.folder / REJECTED
        log.error("a record of the ledger cannot be written (%s); it is kept in %s", str(error)[:300], path)
        with path.open("ab") as file:
            file.write(framed(*record))
