"""The channel: whole messages both ways, however the bytes come, until one end closes or does not read."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack

import msgspec
import pytest

from penstock.gateway.processes import channel as module
from penstock.gateway.processes.channel import Channel
from tests.helpers.wire import run


class Ping(msgspec.Struct, frozen=True, tag=True):
    """One way."""

    number: int
    text: str = ""


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The other way."""

    number: int


class Side:
    """One end, with what it has heard."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.closed = asyncio.Event()
        self.more = asyncio.Event()

    def hear(self, message: object) -> None:
        self.heard.append(message)
        self.more.set()
        if isinstance(message, Ping) and message.text == "bug":
            raise RuntimeError("a bug")

    async def wait(self, count: int) -> list[object]:
        """What was heard, once it is so much."""
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                self.more.clear()
                await self.more.wait()
        return self.heard


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Channel[Pong], Side, Channel[Ping], Side]]:
    """Both ends."""
    ours, theirs = socket.socketpair()
    left, right = Side(), Side()
    one: Channel[Pong] = await Channel.over(ours, Ping | Pong, left.hear, left.closed.set)
    other: Channel[Ping] = await Channel.over(theirs, Ping | Pong, right.hear, right.closed.set)
    try:
        yield one, left, other, right
    finally:
        one.close()
        other.close()


def test_messages_go_both_ways() -> None:
    """Small and large messages arrive whole and in their order, on both sides."""

    async def main() -> None:
        async with two() as (one, left, other, right):
            sent = [Ping(1), Ping(2, "x" * 3_000_000), Ping(3)]
            for message in sent:
                one.tell(message)
            other.tell(Pong(4))
            assert await right.wait(3) == sent
            assert await left.wait(1) == [Pong(4)]

    run(main)


def test_bytes_may_come_one_by_one() -> None:
    """A message that arrives a byte at a time is one message."""

    async def main() -> None:
        side = Side()
        channel: Channel[Ping] = Channel(Ping | Pong, side.hear, side.closed.set)
        for byte in channel.framed(Ping(1, "abc")) + channel.framed(Pong(2)):
            channel.data_received(bytes([byte]))
        assert side.heard == [Ping(1, "abc"), Pong(2)]

    run(main)


def test_an_end_that_closes() -> None:
    """What was told before is heard; then the other end knows, and words to nobody are no mistake."""

    async def main() -> None:
        async with two() as (one, left, other, right):
            one.tell(Ping(1))
            one.close()
            assert await right.wait(1) == [Ping(1)]
            async with asyncio.timeout(5):
                await right.closed.wait()
                await left.closed.wait()
            other.tell(Pong(1))
            one.tell(Ping(2))

    run(main)


@pytest.mark.parametrize("rubbish", [pack("<I", 3) + b"\xc1\xc1\xc1", pack("<I", module.MOST_BYTES + 1)])
def test_rubbish_ends_it(rubbish: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What is no message, or longer than any, ends the channel rather than being guessed at."""

    async def main() -> None:
        async with two() as (one, left, _, right):
            one.send(rubbish)
            async with asyncio.timeout(5):
                await right.closed.wait()
                await left.closed.wait()
            assert right.heard == []

    run(main)
    assert "given up" in caplog.text


def test_who_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What waits for the other side is bounded: beyond that the channel is closed."""
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 1 << 20)

    async def main() -> None:
        ours, theirs = socket.socketpair()
        side = Side()
        with theirs:
            channel: Channel[Pong] = await Channel.over(ours, Pong, side.hear, side.closed.set)
            for number in range(40):
                channel.tell(Ping(number, "x" * 100_000))
            async with asyncio.timeout(5):
                await side.closed.wait()

    run(main)
    assert "does not read" in caplog.text


def test_a_bug_costs_one_message(caplog: pytest.LogCaptureFixture) -> None:
    """A hearer's bug is logged, and the next message is heard."""

    async def main() -> None:
        async with two() as (one, _, _, right):
            one.tell(Ping(1, "bug"))
            one.tell(Ping(2))
            await right.wait(2)

    run(main)
    assert "a bug while Ping was heard" in caplog.text
