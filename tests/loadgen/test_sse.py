"""Events come out whole wherever the reads were cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.loadgen.sse import MAX_EVENT_BYTES, EventSplitter, EventTooLarge

STREAM = (
    b": hello\n\ndata: one\n\nevent: x\nid: 3\ndata:two\n\n\ndata: three\r\n\r\n"
    b"data: a\ndata:  b\n\nretry: 5\n\ndata: [DONE]\n\ndata: unfinished\n"
)
EVENTS = [b"one", b"two", b"three", b"a\n b", b"[DONE]"]


def test_one_read() -> None:
    """Data lines are joined, one space after the colon goes, comments and other fields are skipped."""
    assert EventSplitter().feed(STREAM) == EVENTS


def test_every_cut() -> None:
    """A cut at any byte changes nothing."""
    for cut in range(len(STREAM) + 1):
        splitter = EventSplitter()
        assert splitter.feed(STREAM[:cut]) + splitter.feed(STREAM[cut:]) == EVENTS


def test_byte_by_byte() -> None:
    """A drip of single bytes gives the same."""
    splitter = EventSplitter()
    assert [e for at in range(len(STREAM)) for e in splitter.feed(STREAM[at : at + 1])] == EVENTS


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cuts(cuts: list[int]) -> None:
    """Any set of cuts gives the same."""
    splitter = EventSplitter()
    edges = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[a:b] for a, b in pairwise(edges)]
    assert [event for part in parts for event in splitter.feed(part)] == EVENTS


@pytest.mark.parametrize("read", [b"x" * 65536, b"data: " + b"x" * 65000 + b"\n"])
def test_endless_event(read: bytes) -> None:
    """An event without an end, of one line or of many, is refused at the bound."""
    splitter = EventSplitter()
    for _ in range(MAX_EVENT_BYTES // len(read)):
        assert splitter.feed(read) == []
    with pytest.raises(EventTooLarge):
        splitter.feed(read)


def test_endless_stream_of_small_events() -> None:
    """The bound is one event's: any number of small ones may pass, comments too."""
    splitter = EventSplitter()
    many = (b"data: x\n\n" + b": ping\n\n") * 1000
    assert sum(len(splitter.feed(many)) for _ in range(2 + MAX_EVENT_BYTES // len(many))) > 200_000
