"""The ledger as one part of a gateway: its journal, who writes it, and who carries it into the database.

What of it needs the extra `ledger` is imported when somebody has one.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from penstock.adapters.stores.spec import LedgerSpec
from penstock.base.entries import Kept, Upkeep, Used
from penstock.base.nouns import Replica
from penstock.config.schema import Settings
from penstock.core.events import Recalled
from penstock.drive.following import Following
from penstock.drive.segments import Segments
from penstock.gateway.outbox import Outbox
from penstock.gateway.processes.booking import COMMIT_S, folder_of
from penstock.telemetry.bookings import Bookings

if TYPE_CHECKING:
    from penstock.adapters.stores.clerk import Clerk
    from penstock.adapters.stores.database import Database
    from penstock.adapters.stores.history import Pages

log = logging.getLogger("penstock.ledger")

STOP_S: Final = 5.0
RECALL_S: Final = 5.0
"""How long a start waits at most to be told what was used of limits before."""
LOOK_S: Final = 0.1
PART: Final = 2_000
"""Lines that the Gate is told at once."""
UPKEEP_S: Final = 300.0
"""How long a span of time is at most for which it is written down what the fleet was."""


def open_ledger(spec: LedgerSpec, outbox: Outbox, now: Callable[[], float], workers: int = 1) -> "Ledger":
    """The ledger that these settings want. Raises OSError where its folder or a package cannot be had.

    With several workers each writes a journal of its own, and this one carries all over. What workers have left that
    there are no more is carried over as well.
    """
    try:
        from penstock.adapters.stores.clerk import Clerk
        from penstock.adapters.stores.database import Database
        from penstock.adapters.stores.history import Pages
    except ImportError as missing:
        text = f"ledger: {missing.name} is missing: pip install 'penstock[ledger]'"
        raise OSError(text) from None
    segments = Segments(Path(spec.folder), max_bytes=spec.journal_bytes, fsync=spec.fsync)
    left: list[Segments] = []
    try:
        database = Database(spec.url(), spec.slow_query_s, durable=spec.fsync)
        written = [folder_of(spec, number) for number in range(1, workers + 1)] if workers > 1 else []
        others: list[Segments | Following] = [Following(folder) for folder in written]
        for folder in sorted(set(Path(spec.folder).glob("worker-*")) - set(written)):
            try:
                left.append(Segments(folder))
            except OSError:  # a worker of a parent that was killed is about to end
                others.append(Following(folder))
        others += left
    except (OSError, ValueError) as wrong:
        for one in (segments, *left):
            one.close()
        if isinstance(wrong, OSError):
            raise
        raise OSError(f"ledger.database: {wrong}") from None
    clerk = Clerk(segments, database, spec.keep_s, others)
    return Ledger(segments, database, clerk, Pages(database), outbox, now, others)


class LedgerState(Struct, frozen=True, kw_only=True):
    """How the ledger is, for people: admin API, metrics."""

    written: int
    """Calls that this process has carried into the database."""
    journal_bytes: int
    """On disk, not dealt with yet; a segment goes when all of it is in the database."""
    waiting: int
    """Records that are not even on disk, because it takes nothing."""
    lost: int
    """Records for which neither disk nor memory had room."""
    damaged: int
    """Lines of the journal that could not be read."""
    rejected: int
    """Records that no database takes; they are kept in the file `rejected` of its folder."""
    away: str
    """Why the database cannot be written; empty: it can."""
    failing: str
    """Why the journal cannot be written; empty: it can."""
    database: str
    """Where it is, without its password."""
    connections: Any
    pages_ahead: int
    """Pages that were there before they were asked for."""


class Ledger:
    """Made inside a running event loop. `now` tells seconds since the epoch."""

    def __init__(
        self, segments: Segments, database: "Database", clerk: "Clerk", pages: "Pages", outbox: Outbox,
        now: Callable[[], float], others: Sequence[Segments | Following] = (),
    ) -> None:  # fmt: skip
        self._others = others
        self.elsewhere: Callable[[], Mapping[str, int]] = dict
        """What workers say of their journals: records that are lost and that wait, and how many cannot be written."""
        self._loop = asyncio.get_running_loop()
        self._outbox = outbox
        self.segments = segments
        self.database = database
        self.clerk = clerk
        self.pages = pages
        self.bookings = Bookings(segments, self._loop.call_soon)
        self.observe = self.bookings.observe
        outbox.before = self.bookings.commit
        self._timer: asyncio.TimerHandle | None = None
        self._now = now
        self._recalled = asyncio.Event()
        self._late = False
        """Calls are served before it is known what was used."""
        self._life, self._spans = secrets.token_hex(8), 0
        self._kept: tuple[Kept, ...] = ()
        self._since = 0.0
        """Since when that is the fleet and not written down."""

    def start(self, replicas: Sequence[Replica] = ()) -> None:
        """Begin to carry over, with these in the fleet."""
        self.fleet(replicas)
        self.clerk.start()
        self._tick()

    async def begin(self, settings: Settings, tell: Callable[[Recalled], object]) -> None:
        """As `start`; where there are limits, wait until `tell`, on this loop, has been told what was used of them
        before this process began. Where the database does not answer in time it is told once it does."""
        if settings.gate.limits is None:
            self.start(settings.replicas)
            return

        def recall(used: list[Used]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                for at in range(0, len(used), PART):
                    self._loop.call_soon_threadsafe(tell, Recalled(tuple(used[at : at + PART])))
                self._loop.call_soon_threadsafe(self._recall_ends)

        self.clerk.recall = recall
        self.start(settings.replicas)
        for _ in range(round(RECALL_S / LOOK_S)):
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._recalled.wait()
                    return
            except TimeoutError:
                if self.clerk.away:
                    break
        self._late = True
        log.warning("limits do not know yet what was used before: the ledger's database has not answered")

    def _recall_ends(self) -> None:
        self._recalled.set()
        if self._late:
            log.warning("limits know now what was used before: the ledger's database has answered")

    def _tick(self) -> None:
        if self._now() - self._since >= UPKEEP_S:
            self._write_upkeep()
        self.bookings.commit()
        self._timer = self._loop.call_later(COMMIT_S, self._tick)

    def fleet(self, replicas: Sequence[Replica]) -> None:
        """Who is in the fleet now."""
        self.bookings.regions = {replica.id: replica.region for replica in replicas if replica.region}
        kept = tuple(Kept(one.id, one.pool, one.region, one.purchase, one.hourly_cost) for one in replicas)
        if kept != self._kept:
            self._write_upkeep()
            self._kept = kept

    def _write_upkeep(self) -> None:
        """What the fleet was since this was done last."""
        now = self._now()
        if self._kept and now > self._since:
            self._spans += 1
            self.bookings.upkeep(Upkeep(f"{self._life}-{self._spans}", self._since, now - self._since, self._kept))
        self._since = now

    @property
    def journal_bytes(self) -> int:
        """On disk, not dealt with yet."""
        return self.segments.size_bytes + sum(other.size_bytes for other in self._others)

    def state(self) -> LedgerState:
        """As it stands."""
        segments, clerk, more = self.segments, self.clerk, self.elsewhere()
        failing = segments.failing or (
            f"{more['failing']} worker(s) cannot write theirs" if more.get("failing") else ""
        )
        return LedgerState(
            written=clerk.written, journal_bytes=self.journal_bytes, waiting=segments.waiting + more.get("waiting", 0),
            lost=segments.lost + more.get("lost", 0), damaged=clerk.damaged, rejected=clerk.rejected, away=clerk.away,
            failing=failing, database=self.database.name, connections=self.database.numbers(),
            pages_ahead=self.pages.hits,
        )  # fmt: skip

    def metrics(self) -> dict[str, float]:
        """Family -> value."""
        state, clerk = self.state(), self.clerk
        return {
            "ledger_rows": clerk.written, "ledger_journal_bytes": state.journal_bytes,
            "ledger_database_up": int(not clerk.away), "ledger_journal_up": int(not state.failing),
            "ledger_lost": state.lost, "ledger_set_aside": clerk.damaged + clerk.rejected,
        }  # fmt: skip

    def close(self) -> None:
        """Carry over what is left, for five seconds at most; the rest stays in the journal for the next gateway."""
        self._write_upkeep()
        self.bookings.commit()
        if self._timer is not None:  # else it was never begun
            self._timer.cancel()
            self.clerk.stop(STOP_S)
        self._outbox.before = None
        for segments in (self.segments, *self._others):
            if isinstance(segments, Segments):
                segments.close()
