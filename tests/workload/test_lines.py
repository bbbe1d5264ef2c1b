"""Bytes become numbered lines, whatever they are packed in, within bounds."""

import gzip

import pytest

from penstock.workload.lines import MAX_LINE_BYTES, TraceError, lines, unpack, unpacked


def test_lines_have_the_files_numbers() -> None:
    """Empty lines are passed over and counted; line ends of any kind, spaces and a byte-order mark are not text."""
    assert list(lines([b"\xef\xbb\xbfa\r\n\n b\n", b"c"], "x")) == [(1, "a"), (3, "b"), (4, "c")]
    assert list(lines([], "x")) == []


def test_a_bomb_is_refused() -> None:
    """Gzip that unpacks to more than the bound is refused after the bound, not after the memory."""
    with pytest.raises(TraceError, match="at most 1,000 bytes"):
        unpack(gzip.compress(b"0" * 1_000_000, mtime=0), "bomb", limit=1000)
    assert unpack(gzip.compress(b"0" * 1000, mtime=0), "fine", limit=1000) == b"0" * 1000


def test_members_and_padding() -> None:
    """Gzip members are one text, also where a piece ends inside a member's head; zeros at the end are padding."""
    data = gzip.compress(b"ab", mtime=0) + gzip.compress(b"cd", mtime=0) + b"\0" * 5
    assert unpack(data, "x") == b"abcd"
    assert b"".join(unpacked([data[at : at + 1] for at in range(len(data))], "x")) == b"abcd"


def test_damage_is_told() -> None:
    """What ends early, or is no gzip after gzip's first bytes, is told with the file's name."""
    with pytest.raises(TraceError, match="x: expected intact gzip data, but the file ends early"):
        unpack(gzip.compress(b"0" * 100, mtime=0)[:-3], "x")
    with pytest.raises(TraceError, match="x: expected intact gzip data, found"):
        unpack(b"\x1f\x8bnonsense", "x")


def test_long_lines_are_refused() -> None:
    """A line without an end is refused at the bound, with its number."""
    with pytest.raises(TraceError, match="x, line 2: expected at most"):
        list(lines([b"a\n", b"b" * (MAX_LINE_BYTES + 1)], "x"))


def test_text_must_be_utf8() -> None:
    """A line that is not UTF-8 is told by its number."""
    with pytest.raises(TraceError, match="x, line 2: expected UTF-8"):
        list(lines([b"a\n\xff\n"], "x"))
