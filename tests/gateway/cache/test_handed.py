"""Both ends of an answer that goes from worker to worker, each with a share of its own and a line that is a list."""

from typing import Any, cast

import pytest

from penstock.adapters.wire.response import ResponseHead
from penstock.base.nouns import Usage
from penstock.core.cache.spec import CacheSpec
from penstock.core.events import Event, Failed, Unwanted
from penstock.gateway.cache.handed import Feed, Outlet
from penstock.gateway.cache.share import Share
from penstock.gateway.cache.talk import Answering, Beat, Done, Head, Joined, Lost, Nothing, Piece
from tests.gateway.cache.test_share import Reader
from tests.helpers.wire import run

HEAD = Head(200, b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", b"text/event-stream", False, False, b"f", b"r0", 1, 20)


class Line:
    """A line that notes what is done with it."""

    def __init__(self) -> None:
        self.words: list[Answering] = []
        self.done: list[str] = []

    def tell(self, word: Answering) -> None:
        self.words.append(word)

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def hold(self, still: bool) -> None:
        self.done.append("hold" if still else "go on")


def owned() -> tuple[Reader, Share]:
    """A share whose owner reads."""
    owner = Reader()
    share = owner.share = Share(owner, CacheSpec())
    return owner, share


def begin(share: Share) -> None:
    """Its answer has begun."""
    response = share.response = ResponseHead(200)
    response.block, response.content_type = b"x: y\r\n", b"text/event-stream"
    share.framing, share.origin = b"f", (b"r0", 1, 20)


def outlet(share: Share | None) -> tuple[Outlet, Line, list[Event]]:
    """Another worker that joins."""
    line, facts = Line(), list[Event]()
    made = Outlet("2/1", cast("Any", line), facts.append)
    made.take(share, "c0", 7)
    return made, line, facts


def feed() -> tuple[Feed, Share, Reader, Line, list[Event]]:
    """An answer that comes from another worker, and a client of it."""
    line, facts = Line(), list[Event]()
    made = Feed(cast("Any", line), facts.append, 0.0)
    reader, share = owned()
    made.bring(share, "c1")
    return made, share, reader, line, facts


# ===== at the worker that leads =====


def test_another_worker_gets_head_pieces_and_end() -> None:
    """What there was in one piece, then as it comes; the line closes behind its end, of which the Gate knows."""

    async def main() -> None:
        _, share = owned()
        begin(share)
        share.write(b"one")
        share.write(b"two")
        made, line, facts = outlet(share)
        made.pull()
        share.write(b"three")
        made.pull()
        share.write(b"four")
        share.finished(200, Usage(1, 2), 3)
        made.pull()
        assert line.words == [
            Joined("c0", 7), HEAD, Piece(b"onetwo", 0), Piece(b"three", 0), Done(200, Usage(1, 2), 3, b"four"),
        ]  # fmt: skip
        assert line.done == ["close"]
        made.closed()
        assert facts == []
        assert len(share.readers) == 1

    run(main)


def test_it_waits_for_a_worker_that_reads_slowly() -> None:
    """And gives it the rest in one piece."""

    async def main() -> None:
        _, share = owned()
        begin(share)
        made, line, _ = outlet(share)
        made.slow(True)
        assert share.paused == 1
        share.write(b"one")
        made.pull()
        made.beat(0.0, 60.0)
        assert line.words == [Joined("c0", 7)]
        made.slow(False)
        assert line.words[1:] == [HEAD, Piece(b"one", 0)]
        made.beat(0.0, 60.0)
        assert line.words[-1] == Beat()

    run(main)


def test_a_worker_that_reads_nothing_at_all_is_cut_in_the_end() -> None:
    """So one that is stopped does not hold a replica's seat; one that has read something in between has all its time
    again."""

    async def main() -> None:
        _, share = owned()
        begin(share)
        made, line, facts = outlet(share)
        made.slow(True)
        for at in (0.0, 60.0):
            made.beat(at, 60.0)
        made.slow(False)
        made.slow(True)
        for at in (61.0, 121.0):
            made.beat(at, 60.0)
        assert line.done == []
        made.beat(121.5, 60.0)
        assert line.done == ["abort"]
        made.closed()
        assert facts == [Unwanted("2/1")]
        assert share.paused == 0

    run(main)


def test_a_worker_that_leaves_or_is_cut_is_told_of() -> None:
    """Once, and it reads no more."""

    async def main() -> None:
        _, share = owned()
        made, line, facts = outlet(share)
        made.cut()
        assert line.done == ["abort"]
        made.closed()
        made.closed()
        made.slow(True)
        made.pull()
        assert facts == [Unwanted("2/1")]
        assert len(share.readers) == 1

    run(main)


def test_what_is_over_or_has_lost_its_beginning_is_not_joined() -> None:
    """It hears that there is nothing, and the Gate that it does not wait."""

    async def main() -> None:
        _, share = owned()
        share.first = 1
        for gone in (None, share):
            _, line, facts = outlet(gone)
            assert (line.words, line.done, facts) == ([Nothing()], ["close"], [Unwanted("2/1")])

    run(main)


# ===== at the worker that follows =====


def test_clients_get_what_another_worker_brings() -> None:
    """Head, pieces, and the end, with what it cost there."""

    async def main() -> None:
        made, share, reader, line, facts = feed()
        for word in (HEAD, Piece(b"one", 1), Piece(b"two", 2)):
            made.heard(word)
        assert share.response is not None
        assert (share.response.block, share.framing, share.origin) == (b"x: y\r\n", b"f", (b"r0", 1, 20))
        assert share.relayed(1) == 1
        made.heard(Done(200, Usage(1, 2), 2, b"."))
        made.heard(Piece(b"late", 3))
        share.spread_now()
        assert reader.got == b"onetwo."
        assert (share.whole, share.status, share.usage, share.tokens) == (True, 200, Usage(1, 2), 2)
        made.closed()
        assert (line.done, facts) == (["close"], [])

    run(main)


@pytest.mark.parametrize(
    ("last", "begun", "label"),
    [
        (Nothing(), False, "stale_connection"),
        (None, False, "stale_connection"),
        (None, True, "died_mid_answer"),
        (Lost("upstream_5xx", 500), False, "upstream_5xx"),
        (Lost("idle_timeout", 504), True, "idle_timeout"),
    ],
    ids=["nothing", "gone", "gone in the middle", "failed", "failed in the middle"],
)
def test_what_does_not_come_is_told_once(last: Answering | None, begun: bool, label: str) -> None:
    """Before anything came it may be had elsewhere; after that clients have all that there was first."""

    async def main() -> None:
        made, share, reader, _, facts = feed()
        if begun:
            made.heard(HEAD)
            made.heard(Piece(b"one", 1))
        if last is None:
            made.closed()
        else:
            made.heard(last)
        made.closed()
        made.look(1e9, 3.0)
        (fact,) = facts
        assert isinstance(fact, Failed)
        assert (fact.id, fact.attempt, fact.label, fact.relayed_tokens) == ("c1", 0, label, int(begun))
        assert reader.got == (b"one" if begun else b"")
        assert (made.winner, share.feed) == (None, None)

    run(main)


def test_silence_is_a_failure_unless_the_clients_are_slow() -> None:
    """While they are, nothing is read of what it says."""

    async def main() -> None:
        made, _, _, line, facts = feed()
        made.look(3.0, 3.0)
        made.pause()
        made.look(9.0, 3.0)
        made.resume()
        made.look(12.0, 3.0)
        assert facts == []
        made.look(12.1, 3.0)
        assert len(facts) == 1
        assert line.done == ["hold", "go on", "close"]

    run(main)


def test_when_nobody_wants_it_any_more_the_line_is_closed() -> None:
    """The last client leaves."""

    async def main() -> None:
        made, share, reader, line, facts = feed()
        share.leave(reader, paused=False)
        made.stop()
        made.closed()
        assert (line.done, facts) == (["close"], [])

    run(main)
