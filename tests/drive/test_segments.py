"""Segments: what was committed is read, whatever ended the process; what is damaged is never taken for a record."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.drive import segments as module
from penstock.drive.segments import Reader, Record, Segments, framed, path_of, segments_in, unframed


def records(*payloads: str, kind: bytes = b"c") -> list[Record]:
    """Records of one kind."""
    return [Record(kind, payload.encode()) for payload in payloads]


def fill(segments: Segments, *payloads: str) -> None:
    """Put and commit, a record a turn."""
    for payload in payloads:
        assert segments.put(b"c", payload.encode())
        segments.commit()


def killed(segments: Segments) -> None:
    """Let go as a kernel does when the process is killed: what waited is gone, what was written is not."""
    os.close(segments._file)
    os.close(segments._lock)
    segments._file = segments._lock = -1


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process may open no more files, as a gateway whose connections have taken all of them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def most_file_bytes(count: int) -> Iterator[None]:
    """No file of this process may grow beyond so much: writes stop within a line, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_record_is_a_line_with_its_check_sum() -> None:
    """What is framed is read back; one changed byte anywhere makes it no record."""
    line = framed(b"c", b'{"id":"1"}')
    assert line.endswith(b"\n")
    assert unframed(line[:-1]) == Record(b"c", b'{"id":"1"}')
    for at in range(len(line) - 1):
        assert unframed(line[:at] + bytes([line[at] ^ 4]) + line[at + 1 : -1]) is None
    assert unframed(b"") is None


def test_what_was_committed_is_read_in_order(tmp_path: Path) -> None:
    """Nothing before its commit, everything after it, of any kind, a few at a time."""
    segments = Segments(tmp_path)
    reader = Reader(segments)
    segments.put(b"c", b"one")
    segments.put(b"o", b"two")
    assert reader.read(10) == []
    segments.commit()
    segments.put(b"c", b"three")
    assert reader.read(1) == records("one")
    assert reader.read(10) == records("two", kind=b"o")
    segments.commit()
    assert reader.read(10) == records("three")
    reader.close()
    segments.close()


def test_what_a_killed_process_left_is_read_first(tmp_path: Path) -> None:
    """The next process reads all that was committed before, and then its own."""
    first = Segments(tmp_path)
    fill(first, "one", "two")
    first.put(b"c", b"in memory only")
    killed(first)
    second = Segments(tmp_path)
    fill(second, "three")
    reader = Reader(second)
    assert reader.read(10) == records("one", "two", "three")
    reader.close()
    second.close()


def test_segments_are_removed_once_all_of_them_is_dealt_with(tmp_path: Path) -> None:
    """A segment goes when its last record is done and the next has begun; one that is written to stays."""
    segments = Segments(tmp_path, segment_bytes=40)
    fill(segments, *"abcdef")
    count = len(segments_in(tmp_path))
    assert count == 2
    reader = Reader(segments)
    assert reader.read(2) == records("a", "b")
    reader.done()
    assert len(segments_in(tmp_path)) == count
    assert reader.read(10) == records("c", "d", "e", "f")
    assert len(segments_in(tmp_path)) == count, "not before it is said that they are dealt with"
    reader.done()
    assert [number for number, _ in segments_in(tmp_path)] == [2]
    assert segments.size_bytes == segments.committed[1] == path_of(tmp_path, 2).stat().st_size
    reader.close()
    segments.close()


def test_a_damaged_line_costs_itself_only_and_its_file_is_kept(tmp_path: Path) -> None:
    """It is skipped and counted; half a line at the end is what a process left that ended within a write."""
    first = Segments(tmp_path)
    fill(first, "one", "two", "three")
    killed(first)
    path = path_of(tmp_path, 1)
    path.write_bytes(path.read_bytes().replace(b"two", b"twp") + framed(b"c", b"torn")[:7])
    second = Segments(tmp_path)
    reader = Reader(second)
    assert reader.read(10) == records("one", "three")
    assert reader.damaged == 1
    reader.done()
    assert not path.exists()
    assert path.with_suffix(".damaged").exists()
    reader.close()
    second.close()
    path_of(tmp_path, 2).unlink()
    third = Segments(tmp_path)
    assert third.committed == (2, 0), "its number is not given again, or the next damaged file would replace it"
    third.close()


def test_a_full_disk_is_outlived(tmp_path: Path) -> None:
    """What cannot be written waits in memory, no half line stays behind, and everything is there once there is room."""
    segments = Segments(tmp_path)
    reader = Reader(segments)
    fill(segments, "first")
    with most_file_bytes(30):
        segments.put(b"c", b"a record that does not fit any more")
        assert not segments.commit()
        assert segments.failing
        segments.put(b"c", b"another")
        assert not segments.commit(), "it is not tried again at once"
        assert segments.waiting == 2
        assert segments.errors == 1
        assert path_of(tmp_path, 1).read_bytes() == framed(b"c", b"first")
    segments._retry_at = 0.0
    assert segments.commit()
    assert segments.failing == ""
    assert reader.read(10) == records("first", "a record that does not fit any more", "another")
    reader.close()
    segments.close()


def test_memory_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk takes nothing, what does not fit into memory is lost and counted."""
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 100)
    segments = Segments(tmp_path)
    with most_file_bytes(10):
        kept = [segments.put(b"c", b"x" * 29) for _ in range(4)]
        assert not segments.commit()
    assert kept == [True, True, False, False]
    assert segments.lost == 2
    segments._retry_at = 0.0
    assert segments.commit()
    segments.close()


def test_the_journal_is_bounded(tmp_path: Path) -> None:
    """Beyond its bound nothing is written until a reader has made room."""
    segments = Segments(tmp_path, segment_bytes=30, max_bytes=100)
    reader = Reader(segments)
    for payload in ("a" * 60, "b" * 60, "c"):
        segments.put(b"c", payload.encode())
        segments.commit()
    assert "bound" in segments.failing
    assert reader.read(10) == records("a" * 60, "b" * 60)
    reader.done()
    segments._retry_at = 0.0
    assert segments.commit()
    assert reader.read(10) == records("c")
    reader.close()
    segments.close()


@pytest.mark.parametrize("max_bytes", [1, 20, 60])
def test_a_bound_within_one_segment_ends_by_reading(tmp_path: Path, max_bytes: int) -> None:
    """However small the bound is, what a reader has dealt with makes room: nothing is lost where it keeps up."""
    segments = Segments(tmp_path, segment_bytes=40, max_bytes=max_bytes)
    reader = Reader(segments)
    for number in range(9):
        fill(segments, f"record {number}, of some length")
        assert segments.failing == ""
        assert len(reader.read(10)) == 1
        reader.done()
    assert segments.size_bytes < 100
    reader.close()
    segments.close()


def test_a_segment_that_cannot_be_opened_now_is_read_later(tmp_path: Path) -> None:
    """Where no more files may be opened nothing is passed over: once they may, all is read in its order."""
    segments = Segments(tmp_path, segment_bytes=10)
    fill(segments, "one", "two")
    reader = Reader(segments)
    with no_more_files(), pytest.raises(OSError, match="Too many open files"):
        reader.read(10)
    assert reader.read(10) == records("one", "two")
    reader.close()
    segments.close()


def test_a_folder_is_one_process_only(tmp_path: Path) -> None:
    """Two that append to one journal would lose each other's rows: the second is told."""
    first = Segments(tmp_path)
    with pytest.raises(OSError, match="another process"):
        Segments(tmp_path)
    first.close()
    Segments(tmp_path).close()


def test_with_fsync_a_commit_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit is followed by a sync of its file, which must have all of it by then."""
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        real(file)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    segments = Segments(tmp_path, fsync=True)
    fill(segments, "one", "two")
    assert synced == [14, 28]
    segments.close()
