"""The outbox: writes of one turn of the loop go out at its end, in order, and never more than a bound waits."""

import asyncio
from collections.abc import Callable
from typing import Any

from penstock.gateway.outbox import MAX_BYTES, Outbox


class Pipe(asyncio.Transport):
    """Keeps what is written; may be closed, or break."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.out: list[bytes] = []
        self.closed = False
        self.error = error

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def write(self, data: Any) -> None:
        """Keep it, or fail."""
        if self.error is not None:
            raise self.error
        self.out.append(data)


class Turn:
    """The end of a turn, when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def end(self) -> None:
        """Do what was to be done soon."""
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


def test_writes_go_out_at_the_end_of_the_turn_in_order() -> None:
    """Nothing is written before the turn ends; then everything, as it was posted, with one callback for all."""
    turn, one, other = Turn(), Pipe(), Pipe()
    box = Outbox(turn.soon.append)
    box.post(one, b"a")
    box.post(other, b"b")
    box.post(one, b"c")
    assert (one.out, other.out, len(turn.soon)) == ([], [], 1)
    turn.end()
    assert (one.out, other.out) == ([b"a", b"c"], [b"b"])


def test_a_flush_writes_at_once_and_only_once() -> None:
    """Who closes a connection flushes first; the end of the turn has nothing left to write."""
    turn, pipe = Turn(), Pipe()
    box = Outbox(turn.soon.append)
    box.post(pipe, b"last words")
    box.flush()
    assert pipe.out == [b"last words"]
    turn.end()
    assert pipe.out == [b"last words"]


def test_more_than_the_bound_does_not_wait() -> None:
    """Large writes pass at once, so that a socket that takes no more is noticed before the next read."""
    turn, pipe = Turn(), Pipe()
    box = Outbox(turn.soon.append)
    box.post(pipe, b"x" * MAX_BYTES)
    assert pipe.out == []
    box.post(pipe, b"y")
    assert pipe.out == [b"x" * MAX_BYTES, b"y"]
    box.post(pipe, b"z")
    assert len(pipe.out) == 2


def test_a_closed_or_broken_connection_costs_the_others_nothing() -> None:
    """A letter for a connection that is closed, or breaks, is dropped; all others are delivered."""
    turn, closed, broken, good = Turn(), Pipe(), Pipe(RuntimeError("closed")), Pipe()
    box = Outbox(turn.soon.append)
    for pipe in (closed, broken, good):
        box.post(pipe, b"a")
    closed.closed = True
    turn.end()
    assert (closed.out, broken.out, good.out) == ([], [], [b"a"])


def test_what_must_be_on_disk_is_there_before_anything_is_written() -> None:
    """Whoever keeps a ledger is asked before each flush, and not where there is none."""
    turn, pipe = Turn(), Pipe()
    box = Outbox(turn.soon.append)
    seen: list[list[bytes]] = []
    box.before = lambda: seen.append(list(pipe.out))
    box.post(pipe, b"a")
    turn.end()
    box.flush()
    assert seen == [[], [b"a"]]


def test_the_last_byte_of_a_large_answer_leaves_at_the_end_of_its_turn() -> None:
    """What is too much to wait goes out at once but for one byte, so that the row of its call can come before that; the
    client gets every byte in its order."""
    turn, pipe, other = Turn(), Pipe(), Pipe()
    box = Outbox(turn.soon.append)
    committed: list[int] = []
    box.before = lambda: committed.append(len(b"".join(pipe.out)))
    first, second = bytes(MAX_BYTES) + b"1", bytes(MAX_BYTES) + b"2"
    box.post(other, b"x")
    box.post(pipe, first)
    assert b"".join(pipe.out) == first[:-1]
    box.post(pipe, second)
    assert b"".join(pipe.out) == (first + second)[:-1]
    turn.end()
    assert b"".join(pipe.out) == first + second
    assert other.out == [b"x"]
    assert len(first + second) - 1 in committed
