"""Answers are read the same wherever TCP cuts them, and a connection is used again only when that is safe."""

import asyncio
import time
from collections.abc import Callable, Iterable

import pytest

from penstock.loadgen.answer import Answer
from penstock.loadgen.exchange import Exchange, Timeouts
from penstock.loadgen.wire import Connection, Pool
from tests.loadgen.scripted import STREAM_HEAD, piece, plain, run, stream


class Wire(asyncio.Transport):
    """A transport that keeps what was written and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Talk:
    """One connection with one exchange on it."""

    def __init__(self) -> None:
        self.pool, self.wire = Pool(), Wire()
        self.connection = Connection(self.pool)
        self.connection.connection_made(self.wire)
        self.again()

    def again(self) -> None:
        """Another exchange on the same connection."""
        self.exchange = Exchange(Answer(0.0), Timeouts(total_s=1e9), time.perf_counter, asyncio.get_running_loop())
        self.connection.send(b"GET / HTTP/1.1\r\n\r\n", self.exchange)

    def hear(self, parts: Iterable[bytes], lost: Exception | bool = False) -> Answer:
        """Read these parts, perhaps lose the connection, and end the exchange."""
        for part in parts:
            self.connection.data_received(part)
        if lost:
            if lost is True and not self.wire.closed:
                self.connection.eof_received()
            self.connection.connection_lost(None if lost is True else lost)
        assert self.exchange.over
        self.exchange.close()
        self.connection.end()
        return self.exchange.answer


def talk(work: Callable[[Talk], None]) -> None:
    """Run a test's work inside a loop."""

    async def main() -> None:
        work(Talk())

    run(main())


@pytest.mark.parametrize(
    "data",
    [
        stream("a", "b", "c", headers=b"x-penstock-replica: r1\r\n"),
        plain(200, b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}', b"X-Penstock-Replica: r1\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + plain(429, b'{"error":{"code":"full"}}', b"x-penstock-replica: r1\r\n"),
    ],
    ids=["stream", "body", "error"],
)
def test_every_cut(data: bytes) -> None:
    """Cut at any byte, an answer means the same, and its connection is kept."""

    def meaning(answer: Answer) -> tuple[object, ...]:
        tokens = (answer.pieces, answer.prompt_tokens, answer.output_tokens)
        return answer.status, answer.error, answer.replica, tokens

    def work(_: Talk) -> None:
        whole = Talk().hear([data])
        assert whole.replica == "r1"
        for cut in range(1, len(data)):
            one = Talk()
            assert meaning(one.hear([data[:cut], data[cut:]])) == meaning(whole)
            assert one.pool.take() is one.connection

    talk(work)


def test_reuse() -> None:
    """The next exchange on a kept connection is read from a clean start."""

    def work(one: Talk) -> None:
        assert one.hear([plain(503, b"busy")]).error == "503"
        assert one.pool.take() is one.connection
        one.again()
        assert one.hear([stream("a")]).error == ""

    talk(work)


@pytest.mark.parametrize(
    "data",
    [
        plain(200, b"{}", b"connection: close\r\n"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        plain(200, b"{}") + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"\x16\x03\x01 this is no HTTP",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
    ids=["close", "old", "extra", "length", "noise", "upgrade"],
)
def test_not_kept(data: bytes) -> None:
    """A connection that is to be closed, or that says more or other than it should, is not used again."""

    def work(one: Talk) -> None:
        one.hear([data], lost=True)
        assert one.pool.take() is None
        assert one.wire.closed

    talk(work)


def test_bytes_that_nobody_asked_for() -> None:
    """A kept connection on which something arrives is closed."""

    def work(one: Talk) -> None:
        one.hear([plain(200, b"{}")])
        one.connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        assert one.wire.closed

    talk(work)


@pytest.mark.parametrize(
    ("parts", "lost", "error"),
    [
        ([], True, "closed_early"),
        ([], ConnectionResetError(), "reset"),
        ([b"HTTP/1.1 200 O"], True, "closed_early"),
        ([plain(200, b"{...}")[:-2]], True, "truncated"),
        ([STREAM_HEAD + b"\r\n" + piece("a")], True, "truncated"),
        ([STREAM_HEAD + b"\r\n" + piece("a")], ConnectionResetError(), "truncated"),
        ([STREAM_HEAD + b"\r\n" + piece("a") + b"0\r\n\r\n"], False, "truncated"),
        ([STREAM_HEAD + b"\r\n" + piece("a") + b"zz\r\n"], False, "bad_http"),
        ([b"HTTP/1.1 200 OK\r\n\r\n{}"], True, ""),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], ConnectionResetError(), "truncated"),
    ],
)
def test_endings(parts: list[bytes], lost: Exception | bool, error: str) -> None:
    """Every way in which a connection can end an answer has its name; no length means until the close."""
    talk(lambda one: _check(one.hear(parts, lost), error))


def _check(answer: Answer, error: str) -> None:
    assert answer.error == error


def test_send_on_a_closed_connection() -> None:
    """To send on a connection that is going down ends at once."""

    def work(one: Talk) -> None:
        one.hear([plain(200, b"{}")])
        one.wire.abort()
        one.again()
        assert one.exchange.answer.error == "closed_early"
        one.exchange.close()

    talk(work)


def test_pool_is_bounded() -> None:
    """What does not fit into the pool is closed; what was closed is forgotten; closing the pool closes the rest."""

    def work(_: Talk) -> None:
        pool = Pool(max_idle=2)
        wires = []
        connections = []
        for _number in range(4):
            connections.append(Connection(pool))
            wires.append(Wire())
            connections[-1].connection_made(wires[-1])
        for connection in connections[:3]:
            pool.give(connection)
        assert [wire.closed for wire in wires] == [False, False, True, False]
        connections[1].connection_lost(None)
        assert pool.take() is connections[0]
        assert pool.take() is None
        pool.close()
        assert wires[3].closed

    talk(work)
