"""Bookings: every record of a call is on disk by the end of the turn in which it ended."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from penstock.base.entries import CALL, OVERHEAD, UPKEEP, Entry, Kept, Overhead, Upkeep
from penstock.core.effects import Aboard, Adopt, Cancel, Carry, Effect
from penstock.core.events import Began, ClientGone, Ended, Event, Failed, Woke
from penstock.drive.segments import Reader, Segments
from penstock.telemetry.bookings import Bookings
from tests.telemetry.rows import record, row, send

Soon = list[Callable[[], object]]


@pytest.fixture
def soon() -> Soon:
    """What is to be done at the end of the turn."""
    return []


def observe(bookings: Bookings, *effects: Effect) -> None:
    """A turn."""
    bookings.observe(0.0, Woke(), list(effects))


def entries(reader: Reader) -> list[Entry]:
    """What the journal has of calls."""
    return [msgspec.json.decode(record.payload, type=Entry) for record in reader.read(100) if record.kind == CALL]


def test_a_row_is_there_at_the_end_of_its_turn(tmp_path: Path, soon: Soon) -> None:
    """One write for all that a turn of the loop ended, asked for once."""
    segments = Segments(tmp_path)
    bookings = Bookings(segments, soon.append)
    bookings.regions = {"r1": "eu"}
    observe(bookings, send("a"))
    assert soon == []
    observe(bookings, record(id="a"))
    observe(bookings, record(id="b", replica=""))
    assert len(soon) == 1
    reader = Reader(segments)
    assert entries(reader) == []
    soon.pop()()
    assert entries(reader) == [Entry(row(id="a"), "eu"), Entry(row(id="b", replica=""), "")]
    observe(bookings, record(id="c"))
    assert len(soon) == 1
    reader.close()
    segments.close()


# ===== what nobody is billed for =====


class Desk:
    """Bookings over a journal, told turn by turn."""

    def __init__(self, folder: Path) -> None:
        self.segments = Segments(folder)
        self.bookings = Bookings(self.segments, lambda _: None)
        self.bookings.regions = {"r1": "eu"}

    def turn(self, now: float, event: Event, *effects: Effect) -> None:
        """A turn of the Gate."""
        self.bookings.observe(now, event, list(effects))

    def close(self) -> list[tuple[int, str, float, str]]:
        """Number, replica, seconds and fate of each attempt that nobody is billed for. Nothing is remembered."""
        assert not self.bookings._sent
        assert not self.bookings._lost
        assert not self.bookings._aboard
        assert not self.bookings._group_of
        self.bookings.commit()
        reader = Reader(self.segments)
        found = [record for record in reader.read(100) if record.kind == OVERHEAD]
        reader.close()
        self.segments.close()
        spent = [msgspec.json.decode(record.payload, type=Overhead) for record in found]
        assert all((one.call, one.tenant, one.model, one.pool) == ("c1", "demo", "tiny", "p") for one in spent)
        assert all(one.region == ("eu" if one.replica == "r1" else "") for one in spent)
        return [(one.attempt, one.replica, one.seconds, one.what) for one in spent]


def test_failed_attempts_are_overhead(tmp_path: Path) -> None:
    """Two that failed before the one that answered, each with its replica and how long it took."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), send())
    desk.turn(1.0, Failed("c1", 1, "connect_refused"), send(attempt=2, replica="r2"))
    desk.turn(3.0, Failed("c1", 2, "upstream_5xx", 503), send(attempt=3))
    desk.turn(4.0, Ended("c1", 3, 200), record(attempts=3))
    assert desk.close() == [(1, "r1", 1.0, "connect_refused"), (2, "r2", 2.0, "upstream_5xx")]


def test_a_call_that_fails_has_only_overhead(tmp_path: Path) -> None:
    """Its last attempt too: nothing of it began, so nothing of it is billed."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), send())
    refused = record(outcome="connect_refused", status=502, usage=None, ttft_s=None)
    desk.turn(1.0, Failed("c1", 1, "connect_refused"), refused)
    assert desk.close() == [(1, "r1", 1.0, "connect_refused")]


def test_an_answer_that_died_is_the_calls_own(tmp_path: Path) -> None:
    """What began and then failed was delivered in part, and is billed with the call."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), send())
    desk.turn(1.0, Failed("c1", 1, "died_mid_answer", 200, None, 5), record(outcome="died_mid_answer", ttft_s=0.1))
    assert desk.close() == []


def test_the_loser_of_a_hedge_is_overhead(tmp_path: Path) -> None:
    """Whichever of the two was stopped when the other began."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), send())
    desk.turn(1.0, Woke(), send(attempt=2, replica="r2"))
    desk.turn(2.0, Began("c1", 2), Cancel("c1", 1))
    desk.turn(3.0, Ended("c1", 2, 200), record(attempts=2, replica="r2"))
    assert desk.close() == [(1, "r1", 2.0, "hedge_lost")]


def test_of_two_attempts_whose_client_left_one_is_the_calls_own(tmp_path: Path) -> None:
    """The later one is billed, the other is ours."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), send())
    desk.turn(1.0, Woke(), send(attempt=2, replica="r2"))
    gone = record(attempts=2, outcome="client_gone", status=499, usage=None, ttft_s=None)
    desk.turn(2.0, ClientGone("c1"), Cancel("c1", 1), Cancel("c1", 2), gone)
    assert desk.close() == [(1, "r1", 2.0, "left")]


def test_attempts_that_change_hands_are_the_new_owners(tmp_path: Path) -> None:
    """Its client's leaving ends nothing of them; those that failed before go with them."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), send("c0"))
    desk.turn(1.0, Failed("c0", 1, "connect_refused"), send("c0", attempt=2, replica="r2"))
    gone = record(id="c0", attempts=2, outcome="client_gone", status=499, usage=None, ttft_s=None)
    desk.turn(2.0, ClientGone("c0"), Adopt("c0", "c1"), gone)
    desk.turn(3.0, Failed("c1", 2, "upstream_5xx", 503), send(attempt=3))
    desk.turn(4.0, Ended("c1", 3, 200), record(attempts=3))
    assert desk.close() == [(1, "r1", 1.0, "connect_refused"), (2, "r2", 2.0, "upstream_5xx")]


def test_what_is_told_too_late_is_not_remembered(tmp_path: Path) -> None:
    """Failures of calls that are over, and benchmarks that are stopped, are no attempts of a call."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), send())
    desk.turn(1.0, Ended("c1", 1, 200), record())
    desk.turn(2.0, Failed("c1", 1, "connect_refused"))
    desk.turn(3.0, Woke(), Cancel("benchmark/r1", 1))
    assert desk.close() == []


def test_the_fleet_is_booked_as_well(tmp_path: Path) -> None:
    """A span of time with its replicas, in the same journal."""
    segments = Segments(tmp_path)
    bookings = Bookings(segments, lambda _: None)
    span = Upkeep("g-1", 100.0, 60.0, (Kept("r1", "p", "eu", "spot", 2.5),))
    bookings.upkeep(span)
    bookings.commit()
    reader = Reader(segments)
    assert [(kind, msgspec.json.decode(payload, type=Upkeep)) for kind, payload in reader.read(9)] == [(UPKEEP, span)]
    reader.close()
    segments.close()


def test_what_the_disk_does_not_take_is_committed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that failed is tried again by the next one, also where nothing more was booked."""
    desk = Desk(tmp_path)
    took = [False, True]
    monkeypatch.setattr(Segments, "commit", lambda self: took.pop(0))
    desk.turn(0.0, Woke(), record())
    desk.bookings.commit()
    desk.bookings.commit()
    desk.bookings.commit()
    assert took == []
    monkeypatch.undo()
    desk.segments.close()


def test_what_a_group_cost_in_vain_is_written_down_once(tmp_path: Path) -> None:
    """With one of the calls that it was made for and that are still there, not with one that has left before."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), Carry("g", (Aboard("c0", 0.0), Aboard("c1", 0.0), Aboard("c2", 0.0))), send("g"))
    desk.turn(1.0, ClientGone("c0"), record(id="c0", outcome="client_gone", attempts=1))
    desk.turn(2.0, Failed("g", 1, "bad_request", 400), Carry("g"), send("c1", 2), send("c2", 2))
    desk.turn(3.0, Ended("c1", 2, 200), record(id="c1", attempts=2))
    desk.turn(3.0, Ended("c2", 2, 200), record(id="c2", attempts=2))
    assert desk.close() == [(1, "r1", 2.0, "bad_request")]


def test_a_group_that_nobody_waits_for_is_no_overhead(tmp_path: Path) -> None:
    """The last client who leaves is charged its part: the attempt was its own."""
    desk = Desk(tmp_path)
    desk.turn(0.0, Woke(), Carry("g", (Aboard("c1", 0.0), Aboard("c2", 0.0))), send("g"))
    desk.turn(1.0, ClientGone("c2"), record(id="c2", outcome="client_gone", attempts=1))
    desk.turn(2.0, ClientGone("c1"), Cancel("g", 1), Carry("g"), record(id="c1", outcome="client_gone", attempts=1))
    assert desk.close() == []
