"""What workers say to each other survives the way; and a line makes its ends wait for each other."""

import asyncio
import socket
from typing import get_args

import msgspec
import pytest

from penstock.base.nouns import Usage
from penstock.gateway.cache import talk
from penstock.gateway.cache.shelf import Kept
from penstock.gateway.cache.talk import Answering, Asking, Line
from tests.helpers.wire import run, until

KEPT = Kept(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", b"", (b"a", b"b"), (0, 5), 200, Usage(1, 2), 2, ("t",), True)
ASKING: list[Asking] = [
    talk.Hello(3),
    talk.Question(7, "k", "c1", 2, "c0"),
    talk.Over("k", "c1", True),
    talk.Want("k", 2),
]
ANSWERING: list[Answering] = [
    talk.Told(7, 2, "c0"),
    talk.Joined("c0", 2),
    talk.Have(KEPT, 1.0, 59.0, ("t",), 4),
    talk.Nothing(),
    talk.Head(200, b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", b"text/event-stream", False, True, b"", b"r0", 1, 20),
    talk.Piece(b"data", 3),
    talk.Done(200, Usage(1, 2), 3),
    talk.Lost("died_mid_answer", 502),
    talk.Beat(),
]


@pytest.mark.parametrize("words", [ASKING, ANSWERING], ids=["asking", "answering"])
def test_each_word_survives_the_way(words: list[Asking] | list[Answering]) -> None:
    """Encoded and decoded it is the same; and the lists are complete."""
    kind = Asking if words is ASKING else Answering
    for word in words:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(word), type=kind) == word
    assert {type(word) for word in words} == set(get_args(kind))


def test_who_does_not_read_is_noticed_and_goes_on_when_it_does() -> None:
    """The one end holds still: the other hears that it is slow, and that it has caught up; nothing is lost."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        heard: list[Asking] = []
        slow: list[bool] = []
        closed = asyncio.Event()
        one: Line[Answering] = await Line.over(ours, Answering, print, closed.set)  # type: ignore[assignment]
        other: Line[Asking] = await Line.over(theirs, Asking, heard.append, closed.set)  # type: ignore[assignment]
        one._slow = slow.append
        other.hold(True)
        sent = 0
        while not slow:
            one.tell(talk.Over("k" * 10_000, str(sent), False))
            sent += 1
        assert slow == [True]
        other.hold(False)
        await until(lambda: len(heard) == sent, "all of it")
        assert slow == [True, False]
        one.abort()
        await closed.wait()
        other.hold(True)
        one.abort()

    run(main)
