"""Bodies that come in pieces: gathered, bounded, timed."""

from random import Random

import pytest

from penstock.adapters.wire.malformed import Malformed
from penstock.config.schema import LimitSpec
from penstock.gateway.client.upload import SLOWEST_BYTES_PER_S, Upload
from tests.helpers.wire import END, chunk

LIMITS = LimitSpec(body_bytes=100_000)


def test_a_counted_body_is_gathered() -> None:
    """Up to its length; what follows is left."""
    upload = Upload(10, LIMITS, 0.0, chunked=False)
    assert upload.feed(b"xx0123", 2) == -1
    assert upload.feed(b"456789next", 0) == 6
    assert (upload.whole(), upload.size) == (b"0123456789", 10)


def test_a_chunked_body_is_gathered() -> None:
    """Without its framing."""
    upload = Upload(0, LIMITS, 0.0, chunked=True)
    assert upload.feed(chunk(b"ab") + b"1\r", 0) == -1
    assert upload.feed(b"\nc\r\n" + END + b"next", 0) == 4 + len(END)
    assert (upload.whole(), upload.size) == (b"abc", 3)


@pytest.mark.parametrize("chunked", [False, True])
def test_pieces_of_any_size_make_the_body(chunked: bool) -> None:
    """Large ones are kept as they came, small ones gathered, and neither is many objects."""
    rng = Random(1)
    pieces = [rng.randbytes(rng.choice((1, 7, 4095, 4096, 20_000))) for _ in range(40)]
    body = b"".join(pieces)
    upload = Upload(len(body), LimitSpec(), 0.0, chunked=chunked)
    ends = [upload.feed(chunk(piece) if chunked else piece, 0) for piece in pieces]
    if chunked:
        ends.append(upload.feed(END, 0))
    assert set(ends[:-1]) == {-1}
    assert ends[-1] > 0
    assert (upload.whole(), upload.size) == (body, len(body))
    drip = Upload(10_000, LimitSpec(), 0.0, chunked=False)
    for _ in range(10_000):
        drip.feed(b"x", 0)
    assert len(drip._pieces) == 1


@pytest.mark.parametrize(
    "data,label",
    [
        (b"zz\r\n", "bad_http"),
        (chunk(b"x" * 60_000) * 2, "body_too_large"),
        (chunk(b"x") * 11_000, "bad_http"),
    ],
    ids=["broken", "too large", "too small chunks"],
)
def test_chunks_are_bounded(data: bytes, label: str) -> None:
    """Framing, size and the number of chunks."""
    with pytest.raises(Malformed) as caught:
        Upload(0, LIMITS, 0.0, chunked=True).feed(data, 0)
    assert caught.value.label == label


def test_a_drip_does_not_move_its_deadline_for_long() -> None:
    """Each read may wait for the idle bound, all together only as long as a slow line needs."""
    upload = Upload(1 << 20, LIMITS, 100.0, chunked=False)
    assert upload.deadline(60.0, 100.0) == 160.0
    upload.feed(b"x", 0)
    assert upload.deadline(60.0, 150.0) == pytest.approx(160.0, abs=0.01)
    upload.feed(b"x" * SLOWEST_BYTES_PER_S * 100, 0)
    assert upload.deadline(60.0, 150.0) == 210.0
