"""Body framing: the same whatever the cuts, strict about every byte."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.wire.bodies import (
    LAST_CHUNK,
    MORE,
    PART,
    SIZES,
    Chunked,
    FramingError,
    Length,
    UntilClose,
    chunk,
)

MESSAGE = b"5\r\nhello\r\n1;a=b\r\n \r\n0B\r\nhello\r\nworl\r\n0\r\nX-Trailer: 1\r\n\r\n"
PAYLOAD = b"hello hello\r\nworl"


def read(pieces: list[bytes]) -> tuple[bytes, int]:
    """Feed pieces; the payload and what was left over behind the end (or -1)."""
    reader = Chunked()
    out: list[bytes] = []
    for index, piece in enumerate(pieces):
        end = reader.feed(piece, 0, out)
        if end >= 0:
            return b"".join(out), len(piece) - end + sum(map(len, pieces[index + 1 :]))
    return b"".join(out), -1


def test_every_cut_in_two_reads_the_same() -> None:
    """A chunked message cut at any byte has the same payload and end."""
    for cut in range(len(MESSAGE) + 1):
        assert read([MESSAGE[:cut], MESSAGE[cut:]]) == (PAYLOAD, 0)


def test_byte_by_byte_reads_the_same() -> None:
    """One byte at a time is no different."""
    assert read([MESSAGE[at : at + 1] for at in range(len(MESSAGE))]) == (PAYLOAD, 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_any_message_in_any_cuts(payloads: list[bytes], data: st.DataObject) -> None:
    """Whatever the chunks and the cuts, the payload comes out and the bytes behind it are found."""
    message = b"".join(map(chunk, payloads)) + LAST_CHUNK + b"next"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=6)))
    bounds = [0, *cuts, len(message)]
    assert read([message[a:b] for a, b in pairwise(bounds)]) == (b"".join(payloads), 4)


def test_tracking_without_a_payload_finds_the_same_end() -> None:
    """Without a place for the payload the reader only tracks."""
    reader = Chunked()
    assert reader.feed(b"xx" + MESSAGE + b"more", 2, None) == 2 + len(MESSAGE)


def test_it_tells_whether_it_stands_between_chunks() -> None:
    """MORE between chunks, PART within one or within a line."""
    reader = Chunked()
    assert reader.feed(b"2\r\nab\r\n", 0, None) == MORE
    for piece in (b"2", b"\r", b"\n", b"a", b"b", b"\r"):
        assert reader.feed(piece, 0, None) == PART
    assert reader.feed(b"\n", 0, None) == MORE


def test_rewinding_forgets_one_read() -> None:
    """From between two chunks the same bytes can be read again."""
    reader = Chunked()
    reader.feed(b"2\r\nab\r\n", 0, None)
    reader.feed(b"5\r\nhel", 0, None)
    reader.rewind()
    out: list[bytes] = []
    assert reader.feed(b"5\r\nhello\r\n0\r\n\r\n", 0, out) == 15
    assert out == [b"hello"]


BROKEN = {
    "no digits": b"\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n",
    "a minus": b"-5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "a separator": b"0_5\r\nhello\r\n",
    "a space before": b" 5\r\nhello\r\n",
    "another letter": b"5g\r\nhello\r\n",
    "a bare line feed": b"5\nhello\r\n",
    "a bare carriage return": b"5\rhello\r\n",
    "two carriage returns": b"5\r\r\nhello\r\n",
    "too many digits": b"0000000000005\r\nhello\r\n",
    "a control byte in an extension": b"5;\x00\r\nhello\r\n",
    "a line feed in an extension": b"5;a\nb\r\nhello\r\n",
    "an endless extension": b"5;" + b"a" * 300 + b"\r\nhello\r\n",
    "a chunk too long": b"5\r\nhello!\r\n",
    "a chunk too short": b"5\r\nhell\r\n0\r\n\r\n",
    "no line end behind the chunk": b"5\r\nhello5\r\n",
    "a bare line feed behind the chunk": b"5\r\nhello\n0\r\n\r\n",
    "garbage as trailer": b"0\r\nnonsense\r\n\r\n",
    "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "a control byte in a trailer": b"0\r\nX: \x01\r\n\r\n",
    "a bare line feed in a trailer": b"0\r\nX: y\n\r\n",
    "a bare line feed at the end": b"0\r\n\n",
    "endless trailers": b"0\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_chunks_are_refused_however_they_are_cut(what: str) -> None:
    """No leniency: each is an error in one piece, cut in two anywhere, and byte by byte."""
    message = BROKEN[what]
    step = 1 if len(message) < 100 else 97
    for cut in range(0, len(message) + 1, step):
        with pytest.raises(FramingError):
            assert read([message[:cut], message[cut:]])[1] != 0
    with pytest.raises(FramingError):
        read([message[at : at + 1] for at in range(len(message))])


def test_chunks_are_counted() -> None:
    """The number of chunks is known, so that somebody can bound it."""
    reader = Chunked()
    reader.feed(b"1\r\na\r\n" * 7 + b"1\r", 0, None)
    reader.feed(b"\na\r\n", 0, None)
    assert reader.chunks == 8


def test_a_counted_body_ends_where_it_said() -> None:
    """A body with a length ends there, and the rest is not its own."""
    reader = Length(5)
    out: list[bytes] = []
    assert reader.feed(b"xhel", 1, out) == MORE
    assert reader.feed(b"lo!!", 0, out) == 2
    assert b"".join(out) == b"hello"


def test_a_body_until_close_has_no_end() -> None:
    """Everything belongs to a body that ends with its connection."""
    out: list[bytes] = []
    assert UntilClose().feed(b"xab", 1, out) == MORE
    assert out == [b"ab"]


def test_clients_cannot_fill_the_memory_of_sizes() -> None:
    """Whatever sizes were written before, those that engines write for a token are known again."""
    for size in range(1, 6000):
        for line in (b"%x;%04x" % (size % 16, size), b"%04x" % size, b"0%x" % size):
            Chunked().feed(line + b"\r\n", 0, None)
    Chunked().feed(b"c5\r\n", 0, None)
    assert SIZES[b"c5"] == 0xC5
    assert all(len(line) <= 3 for line in SIZES)
