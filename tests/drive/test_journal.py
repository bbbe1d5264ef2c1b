"""The journal: bounded in memory, whole on disk, typed when read again."""

import stat
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.base.nouns import Call, EngineStats, Replica, Usage
from penstock.core.effects import Effect, Probe, Refuse, Send
from penstock.core.events import Arrived, Began, Ended, Event, Failed, FleetSeen, Observed, Reconfigured, Woke
from penstock.core.spec import GateSpec, PoolSpec
from penstock.drive.journal import FileSink, Gap, Header, Journal, Turn, header, parts, read, read_all, read_placed

HEAD = header("1.2.3", 7, GateSpec(pools=(PoolSpec(name="tiny"),)))
ROWS = msgspec.json.Decoder(list[tuple[float, Event, list[Effect]]])
SEND = Send("c1", 1, "r1", "tiny", 5.0, 600.0, 120.0, 0.25)


def turns(path: Path) -> list[tuple[float, Event, list[Effect]]]:
    return [(row.now, row.event, row.effects) for row in read_all(path, Event, Effect) if isinstance(row, Turn)]


def test_the_ring_is_bounded() -> None:
    """Only the last turns are kept, oldest first."""
    journal: Journal[int, str] = Journal(capacity=3)
    for number in range(10):
        journal.observe(float(number), number, [])
    assert journal.turns() == [(7.0, 7, []), (8.0, 8, []), (9.0, 9, [])]
    assert journal.lines() == b"[7.0,7,[]]\n[8.0,8,[]]\n[9.0,9,[]]\n"


def test_every_reader_sees_every_turn() -> None:
    """Readers are called in their order with each turn."""
    journal: Journal[str, str] = Journal()
    seen: list[tuple[str, str]] = []
    journal.observers.append(lambda now, event, effects: seen.append(("first", event)))
    journal.observers.append(lambda now, event, effects: seen.append(("second", event)))
    journal.observe(1.0, "a", [])
    assert seen == [("first", "a"), ("second", "a")]


def test_a_file_gives_back_typed_facts_and_orders(tmp_path: Path) -> None:
    """What is read from a journal file equals what was observed: header, facts and orders."""
    story: list[tuple[float, Event, list[Effect]]] = [
        (1.0, FleetSeen((Replica(id="r1", url="http://127.0.0.1:1", pool="tiny"),)), [Probe("r1", "health", 5.0)]),
        (1.5, Observed("r1", EngineStats(running=1, kv_usage=0.5)), []),
        (2.0, Arrived(Call("c1", model="tiny", priority=0)), [SEND]),
        (2.5, Began("c1", 1), []),
        (3.0, Ended("c1", 1, 200, Usage(10, 20, 0)), []),
        (3.5, Failed("c2", 1, "died_mid_answer"), [Refuse("c2", "died_mid_answer", 502)]),
        (4.0, Reconfigured(GateSpec(pools=(PoolSpec(name="other"),))), []),
        (5.0, Woke(), []),
    ]
    path = tmp_path / "journal"
    sink = FileSink(path, HEAD)
    for turn in story:
        sink.observe(*turn)
    sink.close()
    rows = list(read(path, Event, Effect))
    assert rows[0] == HEAD
    assert isinstance(rows[0], Header)
    assert msgspec.json.decode(rows[0].spec, type=GateSpec) == GateSpec(pools=(PoolSpec(name="tiny"),))
    assert turns(path) == story
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(max_examples=25)
@given(
    st.lists(
        st.builds(
            Ended,
            st.text(),
            st.integers(1, 9),
            st.integers(100, 599),
            st.none() | st.builds(Usage, st.integers(0, 10**6), st.integers(0, 10**6)),
        )
    ),
    st.floats(0, 4e9),
)
def test_any_fact_survives_the_way_through_json(events: list[Ended], now: float) -> None:
    """Texts and times come back exactly."""
    rows: Any = [(now, event, []) for event in events]
    line = msgspec.json.encode(rows)
    assert ROWS.decode(line) == rows


def test_a_torn_last_line_is_ignored_and_cut_on_append(tmp_path: Path) -> None:
    """After a kill the half line at the end is left out when reading, and the next process starts a fresh line."""
    path = tmp_path / "journal"
    sink = FileSink(path, HEAD)
    sink.observe(1.0, Woke(), [])
    sink.close()
    with path.open("ab") as file:
        file.write(b'[2.0,{"type":"Wo')
    assert turns(path) == [(1.0, Woke(), [])]
    sink = FileSink(path, HEAD)
    sink.observe(3.0, Woke(), [])
    sink.close()
    assert turns(path) == [(1.0, Woke(), []), (3.0, Woke(), [])]


def test_a_file_without_a_single_line_end_is_cut_to_nothing(tmp_path: Path) -> None:
    """A first line that never got its end is dropped whole."""
    path = tmp_path / "journal"
    path.write_bytes(b"x" * 200_000)
    FileSink(path, HEAD).close()
    assert list(read(path, Event, Effect)) == [HEAD]


def test_a_broken_line_is_told_with_its_number(tmp_path: Path) -> None:
    """A line that is not of the vocabulary is an error that names file and line."""
    path = tmp_path / "journal"
    path.write_bytes(b'[1.0,{"type":"Woke"},[]]\n[2.0,{"type":"Slept"},[]]\n')
    with pytest.raises(ValueError, match="line 2"):
        list(read(path, Event, Effect))


def test_rotation_bounds_the_disk_and_keeps_order(tmp_path: Path) -> None:
    """A full file becomes FILE.1, each part has a header that says which it is, and all parts read in order."""
    path = tmp_path / "journal"
    sink = FileSink(path, HEAD, max_bytes=2000, keep=2)
    for number in range(60):
        sink.observe(float(number), Began(f"call-{number}", 1), [])
        if number % 5 == 4:
            assert sink.flush()
    sink.close()
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["journal", "journal.1", "journal.2"]
    assert all((tmp_path / name).stat().st_size <= 2000 + 500 for name in names)
    firsts = [next(iter(read(part, Event, Effect))) for part in parts(path)]
    assert [replace(first, part=0) for first in firsts if isinstance(first, Header)] == [HEAD] * 3
    last = firsts[-1]
    assert isinstance(last, Header)
    assert [first.part for first in firsts if isinstance(first, Header)] == [last.part - 2, last.part - 1, last.part]
    times = [now for now, _, _ in turns(path)]
    assert times == [float(number) for number in range(60 - len(times), 60)]


def test_the_next_process_begins_at_part_0_in_the_same_file(tmp_path: Path) -> None:
    """Two lives in one file: each begins with a header of part 0, and every line has its place."""
    path = tmp_path / "journal"
    for now in (1.0, 2.0):
        sink = FileSink(path, HEAD)
        sink.observe(now, Woke(), [])
        sink.close()
    rows = list(read_placed(path, Event, Effect))
    assert [str(place) for place, _ in rows] == [f"{path}, line {number}" for number in (1, 2, 3, 4)]
    assert [row for _, row in rows] == [HEAD, Turn(1.0, Woke(), []), HEAD, Turn(2.0, Woke(), [])]


def test_rotation_may_keep_nothing(tmp_path: Path) -> None:
    """With keep=0 a full file is dropped."""
    path = tmp_path / "journal"
    sink = FileSink(path, HEAD, max_bytes=1, keep=0)
    sink.observe(1.0, Woke(), [])
    assert sink.flush()
    sink.observe(2.0, Woke(), [])
    sink.close()
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]
    assert turns(path) == [(2.0, Woke(), [])]


class StuckFile:
    """A disk that takes nothing until it is let go, or that fails."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.free = threading.Event()
        self.reached = threading.Event()
        self.failing = False
        self.closed = False

    def write(self, data: Any) -> int:
        self.reached.set()
        assert self.free.wait(10)
        if self.failing:
            self.real.write(bytes(data)[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return int(self.real.write(data))

    def fileno(self) -> int:
        return int(self.real.fileno())

    def close(self) -> None:
        self.closed = True
        self.real.close()


def stuck(sink: FileSink) -> StuckFile:
    sink.flush()
    file = StuckFile(sink._file)
    sink._file = file  # type: ignore[assignment]
    return file


def test_a_stuck_disk_costs_turns_and_leaves_a_gap(tmp_path: Path) -> None:
    """While the disk hangs, observing returns at once; what did not fit is counted and told in the file."""
    path = tmp_path / "journal"
    sink = FileSink(path, HEAD, pending_bytes=1000, interval_s=0.001)
    file = stuck(sink)
    sink.observe(0.0, Woke(), [])
    assert file.reached.wait(10)
    for number in range(1, 101):
        sink.observe(float(number), Woke(), [])
    assert 0 < sink.dropped < 100
    dropped = sink.dropped
    file.free.set()
    assert sink.flush()
    sink.observe(101.0, Woke(), [])
    sink.close()
    rows = list(read(path, Event, Effect))
    assert rows[-2] == Gap(dropped)
    assert rows[-1] == Turn(101.0, Woke(), [])
    assert len(rows) == 1 + (101 - dropped) + 2


def test_a_full_disk_leaves_whole_lines_and_a_gap(tmp_path: Path) -> None:
    """A write that fails half way is taken back, counted, and told once writing works again."""
    path = tmp_path / "journal"
    sink = FileSink(path, HEAD)
    file = stuck(sink)
    file.failing = True
    file.free.set()
    sink.observe(1.0, Woke(), [])
    sink.observe(2.0, Woke(), [])
    assert sink.flush()
    assert sink.errors >= 1
    file.failing = False
    sink.observe(3.0, Woke(), [])
    sink.close()
    assert list(read(path, Event, Effect)) == [HEAD, Gap(2), Turn(3.0, Woke(), [])]


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    """A wrong path is told when the gateway starts, not later."""
    with pytest.raises(OSError):
        FileSink(tmp_path / "missing" / "journal", HEAD)
