"""The clerk: everything that is in the journal arrives, whatever happens to the database meanwhile."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from penstock.adapters.stores.clerk import Clerk
from penstock.adapters.stores.database import Database
from penstock.base.entries import Used
from penstock.drive.segments import Record, Segments, segments_in
from tests.adapters.stores.ledgers import call, rows
from tests.helpers.processes import until


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[Segments]:
    """A journal."""
    made = Segments(tmp_path / "journal", segment_bytes=2000)
    yield made
    made.close()


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Database]:
    """A database that nobody has migrated."""
    made = Database(f"sqlite:///{tmp_path}/db/ledger.db")
    yield made
    made.close()


def fill(segments: Segments, *records: Record) -> None:
    """A turn a record."""
    for record in records:
        segments.put(*record)
        segments.commit()


def test_rows_arrive_and_the_journal_shrinks(segments: Segments, base: Database, tmp_path: Path) -> None:
    """A thread carries them over; what is left of the journal is the segment that is written to."""
    (tmp_path / "db").mkdir()
    clerk = Clerk(segments, base)
    clerk.start()
    fill(segments, *(call(f"c{number}") for number in range(20)))
    assert clerk.stop(5.0)
    assert rows(base, "SELECT count(*) FROM calls") == [(20,)]
    assert clerk.written == 20
    assert len(segments_in(segments.folder)) == 1


def test_a_database_that_comes_late(segments: Segments, base: Database, tmp_path: Path) -> None:
    """Until it is there rows wait in the journal, then all of them arrive once."""
    fill(segments, *(call(f"c{number}") for number in range(20)))
    clerk = Clerk(segments, base)
    for _ in range(3):
        assert not clerk.turn()
    assert "unable to open" in clerk.away
    assert len(segments_in(segments.folder)) > 1
    (tmp_path / "db").mkdir()
    assert clerk.turn()
    assert clerk.away == ""
    assert not clerk.turn()
    assert rows(base, "SELECT count(*) FROM calls") == [(20,)]


def test_a_database_that_goes_away(segments: Segments, base: Database, tmp_path: Path) -> None:
    """Locked by another between two batches: the batch is tried until it can be written, and is written once."""
    (tmp_path / "db").mkdir()
    clerk = Clerk(segments, base)
    fill(segments, call("a"))
    assert clerk.turn()
    base.engine.dispose()
    other = sqlite3.connect(tmp_path / "db" / "ledger.db", isolation_level=None)
    other.execute("ALTER TABLE calls RENAME TO gone")
    fill(segments, call("b"), call("c"))
    assert not clerk.turn()
    assert "calls" in clerk.away
    other.execute("ALTER TABLE gone RENAME TO calls")
    other.close()
    assert clerk.turn()
    assert rows(base, "SELECT id FROM calls ORDER BY n") == [("a",), ("b",), ("c",)]


def test_what_was_carried_over_before_a_kill_is_not_carried_twice(
    segments: Segments, base: Database, tmp_path: Path
) -> None:
    """A process that ends between the commit and the removal of the segment: the next one reads all of it again."""
    (tmp_path / "db").mkdir()
    fill(segments, *(call(f"c{number}") for number in range(20)))
    for _ in range(2):
        clerk = Clerk(segments, base)
        clerk._reader.done = lambda: None  # type: ignore[method-assign]
        assert clerk.turn()
    assert rows(base, "SELECT count(*) FROM calls") == [(20,)]
    assert rows(base, "SELECT sum(calls) FROM days") == [(20,)]


def test_a_record_that_cannot_be_had_is_set_aside(segments: Segments, base: Database, tmp_path: Path) -> None:
    """One that no version wrote and one that the table refuses: the others arrive, these stay in a file."""
    (tmp_path / "db").mkdir()
    bad, odd = Record(b"c", b"[nonsense"), call("odd", latency_s=1e300)
    fill(segments, call("a"), bad, call("b"), odd, call("c"))
    clerk = Clerk(segments, base)
    assert clerk.turn()
    assert rows(base, "SELECT id FROM calls ORDER BY n") == [("a",), ("b",), ("c",)]
    assert clerk.rejected == 2
    assert (segments.folder / "rejected").read_bytes().count(b"\n") == 2


def test_old_rows_go_when_nothing_else_is_to_be_done(segments: Segments, base: Database, tmp_path: Path) -> None:
    """Those that are older than `keep`; then it is not looked for a while."""
    (tmp_path / "db").mkdir()
    fill(segments, call("old"), call("new", at=time.time()))
    clerk = Clerk(segments, base, keep_s=86_400.0)
    assert clerk.turn()
    assert clerk._forgets()
    assert not clerk._forgets()
    assert rows(base, "SELECT id FROM calls") == [("new",)]
    assert rows(base, "SELECT sum(calls) FROM days") == [(2,)]
    fill(segments, call("older"))
    assert clerk.turn()
    assert not clerk._forgets(), "not yet again"


def test_what_was_used_before_is_told_once(segments: Segments, base: Database, tmp_path: Path) -> None:
    """All that earlier processes have left counts, and nothing of this one's; while the database is away it waits."""
    now = time.time()
    fill(segments, *(call(f"old{n}", at=now, cost=0.5) for n in range(20)))
    segments.close()
    own = Segments(tmp_path / "journal", segment_bytes=2000)
    fill(own, call("new", at=now, cost=0.5))
    clerk, told = Clerk(own, base), list[list[Used]]()
    clerk.recall = told.append
    assert not clerk.turn()
    (tmp_path / "db").mkdir()
    while clerk.turn():
        pass
    (used,) = told
    assert sum(one.day for one in used) == sum(one.month for one in used) == 10_000_000_000
    assert sum(one.requests for one in used) == 20
    assert rows(base, "SELECT count(*) FROM calls") == [(21,)]
    own.close()


def test_a_database_that_was_asked_only_what_was_used_is_not_away_once_it_answers(
    segments: Segments, base: Database, tmp_path: Path
) -> None:
    """With nothing to write it says so as soon as it was asked with success, not with the next call's row."""
    clerk = Clerk(segments, base)
    clerk.recall = lambda used: None
    assert not clerk.turn()
    assert clerk.away
    (tmp_path / "db").mkdir()
    assert clerk.turn()
    assert clerk.away == ""


def test_what_comes_meanwhile_waits_for_the_next_look(
    segments: Segments, base: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction a look, unless there are more rows than go into one; at the end what is left is written."""
    (tmp_path / "db").mkdir()
    monkeypatch.setattr("penstock.adapters.stores.clerk.LOOK_S", 3_600.0)
    clerk, sizes = Clerk(segments, base, most=4), list[int]()
    right = clerk._write

    def write(records: Sequence[Record]) -> None:
        sizes.append(len(records))
        right(records)
        if len(sizes) == 3:
            fill(segments, call("late"))

    clerk._write = write  # type: ignore[method-assign]
    fill(segments, *(call(f"c{number}") for number in range(10)))
    clerk.start()
    until(lambda: clerk.written == 10, 5.0, lambda: "the rows")
    assert clerk.stop(5.0)
    assert sizes == [4, 4, 2, 1]
    assert rows(base, "SELECT count(*) FROM calls") == [(11,)]


@pytest.mark.slow
def test_a_bug_does_not_end_it(segments: Segments, base: Database, tmp_path: Path) -> None:
    """What nobody thought of is told, and tried again until it works."""
    (tmp_path / "db").mkdir()
    clerk = Clerk(segments, base)
    right, wrong = clerk._write, threading.Event()

    def write(records: Sequence[Record]) -> None:
        if not wrong.is_set():
            wrong.set()
            raise KeyError("nobody thought of it")
        right(records)

    clerk._write = write  # type: ignore[method-assign]
    fill(segments, call("a"))
    clerk.start()
    assert wrong.wait(5.0)
    until(lambda: clerk.written == 1, 5.0, lambda: "the row")
    assert clerk.stop(5.0)
