"""Segments that another process writes: read while they grow, dealt with, and joined with others."""

from pathlib import Path

import pytest

from penstock.drive.following import Following, Joined
from penstock.drive.segments import Reader, Record, Segments, framed


def fill(segments: Segments, *payloads: str) -> None:
    """Records, committed."""
    for payload in payloads:
        segments.put(b"c", payload.encode())
    assert segments.commit()


def told(records: list[Record]) -> list[str]:
    """Their payloads."""
    return [record.payload.decode() for record in records]


def test_what_is_written_elsewhere_is_read(tmp_path: Path) -> None:
    """A reader that knows only the folder gets each record once, in order, across segments; what is dealt with goes but
    for the segment that is written to."""
    reader = Reader(Following(tmp_path))
    assert reader.read(10) == []
    segments = Segments(tmp_path, segment_bytes=40)
    fill(segments, "one")
    assert told(reader.read(10)) == ["one"]
    fill(segments, "two", "three")
    fill(segments, "four")
    fill(segments, "five")
    assert told(reader.read(2)) == ["two", "three"]
    reader.done()
    assert told(reader.read(10)) == ["four", "five"]
    reader.done()
    assert len(list(tmp_path.glob("*.log"))) == 1
    segments.close()
    reader.close()


def test_half_a_line_is_read_on_later(tmp_path: Path) -> None:
    """A record that is seen before it is whole comes when it is; one that a killed process left half never does."""
    line = framed(b"c", b"whole")
    path = tmp_path / "000000000001.log"
    path.write_bytes(line + line[:7])
    reader = Reader(Following(tmp_path))
    assert told(reader.read(10)) == ["whole"]
    with path.open("ab") as file:
        file.write(line[7:] + line[:9])
    assert told(reader.read(10)) == ["whole"]
    segments = Segments(tmp_path)
    fill(segments, "next")
    assert told(reader.read(10)) == ["next"]
    assert reader.damaged == 0
    segments.close()
    reader.close()


def test_a_write_that_is_repeated_is_read_once(tmp_path: Path) -> None:
    """A write that failed half way is taken back and repeated at its place: what was seen of it is not seen again."""
    lines = [framed(b"c", f"{at}".encode()) for at in range(3)]
    path = tmp_path / "000000000001.log"
    path.write_bytes(lines[0] + lines[1][:5])
    reader = Reader(Following(tmp_path))
    assert told(reader.read(10)) == ["0"]
    path.write_bytes(b"")
    assert reader.read(10) == []
    path.write_bytes(b"".join(lines))
    assert told(reader.read(10)) == ["1", "2"]
    reader.close()


def test_the_writer_forgets_what_another_process_removed(tmp_path: Path) -> None:
    """The bound is on what is there: segments that the reader's process has removed count no more."""
    segments = Segments(tmp_path, segment_bytes=40, max_bytes=200)
    reader = Reader(Following(tmp_path))
    for number in range(40):
        fill(segments, f"record {number}, of some length")
        assert len(reader.read(10)) == 1
        reader.done()
    assert segments.lost == 0
    segments.close()
    reader.close()


def test_several_journals_are_one(tmp_path: Path) -> None:
    """Joined, each journal keeps its order, all are read within a bound, and all are dealt with together."""
    writers = [Segments(tmp_path / name) for name in ("a", "b")]
    joined = Joined([Reader(writers[0]), Reader(Following(tmp_path / "b"))])
    fill(writers[0], "a1", "a2", "a3")
    fill(writers[1], "b1", "b2")
    first, second = told(joined.read(3)), told(joined.read(3))
    assert sorted(first + second) == ["a1", "a2", "a3", "b1", "b2"]
    assert [one for one in first + second if one[0] == "a"] == ["a1", "a2", "a3"]
    assert joined.read(3) == []
    joined.done()
    assert joined.damaged == 0
    joined.close()
    for writer in writers:
        writer.close()


def test_what_one_journal_gave_is_not_lost_by_another(tmp_path: Path) -> None:
    """Where one of several journals cannot be read now, what was read of the others comes with the next reading."""
    writers = [Segments(tmp_path / name) for name in ("a", "b")]
    readers = [Reader(writer) for writer in writers]
    joined = Joined(readers)
    for writer, name in zip(writers, "ab"):
        fill(writer, f"{name}1")
    path = tmp_path / "b" / "000000000001.log"
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        joined.read(10)
    path.with_suffix(".away").rename(path)
    assert sorted(told(joined.read(10))) == ["a1", "b1"]
    joined.close()
    for writer in writers:
        writer.close()


def test_how_much_waits(tmp_path: Path) -> None:
    """What is on disk of a folder that somebody else writes to is known; a folder that is not there yet is made."""
    following = Following(tmp_path / "new")
    assert (following.size_bytes, following.committed, following.sealed) == (0, (0, 0), {})
    segments = Segments(tmp_path / "new", segment_bytes=10)
    fill(segments, "one")
    fill(segments, "two")
    assert following.size_bytes == segments.size_bytes
    assert following.committed == segments.committed
    assert following.sealed == segments.sealed
    segments.close()
