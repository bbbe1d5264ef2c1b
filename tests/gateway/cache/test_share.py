"""One answer for several readers: what is held, who waits for whom, who is cut."""

import asyncio
from collections.abc import Callable
from typing import Any

from penstock.adapters.wire.response import ResponseHead
from penstock.core.cache.spec import CacheSpec
from penstock.gateway.cache import share as shares
from penstock.gateway.cache.share import Share
from tests.helpers.wire import run, until


class Attempt:
    """A replica that can be told to wait."""

    relayed_tokens = 4

    def __init__(self) -> None:
        self.said: list[str] = []

    def pause(self) -> None:
        self.said.append("wait")

    def resume(self) -> None:
        self.said.append("go on")


class Reader:
    """A client that reads as long as it is told to."""

    def __init__(self) -> None:
        self.share: Share
        self.winner: Any = None
        self.deadline = 1.0
        self.at = 0
        self.slow = False
        self.got = b""
        self.lost = False

    def pull(self) -> None:
        if not self.slow:
            self.got += b"".join(self.share.since(self.at))
            self.at = self.share.end
            self.share.moved()

    def watched(self, now: float) -> None:
        pass

    def cut(self) -> None:
        self.lost = True
        self.share.leave(self, paused=self.slow)

    def pauses(self, slow: bool) -> None:
        self.slow = slow
        (self.share.pauses if slow else self.share.resumes)()
        self.pull()


def shared(count: int, most_bytes: int = 10) -> tuple[Share, list[Reader], Attempt]:
    """A share of so many readers, the first of which owns it."""
    readers, attempt = [Reader() for _ in range(count)], Attempt()
    readers[0].winner = attempt
    share = Share(readers[0], CacheSpec(largest_bytes=most_bytes))
    for reader in readers:
        reader.share = share
        if reader is not readers[0]:
            assert share.join(reader)
    return share, readers, attempt


def looped(test: Callable[[], Any]) -> None:
    """Run it where a loop is."""

    async def main() -> None:
        test()
        await asyncio.sleep(0)

    run(main)


def test_the_owner_gets_it_at_once_and_the_others_when_the_turn_is_over() -> None:
    """What comes in one turn reaches them as one write."""

    async def main() -> None:
        share, (owner, other), _ = shared(2)
        share.write(b"a")
        share.write(b"b")
        assert (owner.got, other.got) == (b"ab", b"")
        await asyncio.sleep(0)
        assert other.got == b"ab"

    run(main)


def test_the_replica_waits_while_all_read_slowly() -> None:
    """One that reads is enough to go on, be it one that has just come; and one that leaves does not count."""

    def test() -> None:
        share, (owner, other), attempt = shared(2)
        owner.pauses(True)
        assert attempt.said == []
        other.pauses(True)
        assert (attempt.said, share.held) == (["wait"], True)
        late = Reader()
        late.share = share
        assert share.join(late)
        assert attempt.said == ["wait", "go on"]
        share.leave(late, paused=False)
        assert attempt.said[2:] == ["wait"]
        share.leave(other, paused=True)
        owner.pauses(False)
        assert attempt.said[3:] == ["go on"]

    looped(test)


def test_what_all_have_is_let_go_where_there_is_more_than_may_be_held() -> None:
    """Then nobody can join any more: the beginning is not there. So it is where nobody reads but whose it is."""

    async def main() -> None:
        for count in (2, 1):
            share, readers, _ = shared(count)
            for _ in range(5):
                share.write(b"four")
            await asyncio.sleep(0)
            assert share.size <= 10
            assert share.first == 3
            assert [reader.got for reader in readers] == [b"four" * 5] * count
            assert not share.join(Reader())

    run(main)


def test_the_end_comes_with_the_last_of_it() -> None:
    """A client that has all of an answer may leave at once: nobody who follows has the one without the other, however
    long the answer."""

    async def main() -> None:
        share, (_, other), _ = shared(2)
        seen: list[tuple[int, bool]] = []
        other.pull = lambda: seen.append((share.end, share.whole))  # type: ignore[method-assign]
        for _ in range(5):
            share.write(b"four")
        assert share.ended(200, None, 0) is None, "it is longer than may be kept"
        await asyncio.sleep(0)
        assert seen == [(5, True)]

    run(main)


def test_who_is_too_far_behind_is_waited_for_and_then_cut(monkeypatch: Any) -> None:
    """Others wait for a bounded time; what is held stays bounded; who catches up in time is not cut."""
    monkeypatch.setattr(shares, "PATIENCE_S", 0.05)

    async def main() -> None:
        share, (owner, slow), attempt = shared(2)
        slow.pauses(True)
        for _ in range(3):
            share.write(b"four")
        await asyncio.sleep(0)
        assert (attempt.said, share.first) == (["wait"], 0)
        slow.pauses(False)
        assert (attempt.said, share.first, slow.got) == (["wait", "go on"], 1, b"four" * 3)
        slow.pauses(True)
        for _ in range(3):
            share.write(b"four")
        await until(lambda: slow.lost, "it to be cut")
        assert attempt.said[2:] == ["wait", "go on"]
        assert owner.got == b"four" * 6
        assert share.size <= 12

    run(main)


def test_an_error_event_can_follow_a_whole_event() -> None:
    """And nothing else."""

    def test() -> None:
        share, _, _ = shared(1, 100)
        share.write(b"7\r\ndata: \n\n\r\n")
        share.write(b"3\r\nhal")
        assert not share.event_may_follow(1)
        response = ResponseHead(200)
        response.content_type = b"text/event-stream"
        share.response = response
        assert [share.event_may_follow(at) for at in range(4)] == [False, True, False, False]

    looped(test)


def test_tokens_of_who_leaves_early_are_a_share_of_what_came() -> None:
    """In proportion to the pieces that it has got."""

    def test() -> None:
        share, _, _ = shared(1, 100)
        for _ in range(4):
            share.write(b"x")
        assert [share.relayed(at) for at in (0, 1, 3, 4)] == [0, 1, 3, 4]

    looped(test)


def test_its_deadline_is_its_owners() -> None:
    """Whoever that is."""

    def test() -> None:
        share, (first, second), _ = shared(2)
        share.deadline = 5.0
        share.owner = second
        share.deadline = 7.0
        assert (first.deadline, second.deadline, share.deadline) == (5.0, 7.0, 7.0)

    looped(test)
