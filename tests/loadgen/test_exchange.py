"""One exchange: its phases, its limits, and exactly one end."""

import asyncio
from collections.abc import Callable

import pytest

from penstock.loadgen.answer import Answer
from penstock.loadgen.exchange import MAX_BODY_BYTES, Exchange, Timeouts
from tests.loadgen.scripted import run

SSE = {b"content-type": b"text/event-stream"}
PIECE = b'data: {"choices":[{"text":"a"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def ended(tell: Callable[[Exchange], None]) -> Answer:
    """The answer of an exchange that was told these things."""

    async def main() -> Answer:
        exchange = Exchange(Answer(5.0), Timeouts(), lambda: 5.0, asyncio.get_running_loop())
        tell(exchange)
        assert exchange.over
        exchange.close()
        return exchange.answer

    return run(main())


def began(exchange: Exchange, at: float, body: bytes) -> None:
    """A stream began."""
    exchange.on_bytes(at)
    exchange.on_head(200, SSE | {b"x-penstock-replica": b"r\x1b1"})
    exchange.on_body(body)


def test_stream() -> None:
    """A whole stream has its times, its replica and no error."""

    def tell(exchange: Exchange) -> None:
        began(exchange, 6.0, PIECE)
        exchange.on_bytes(7.0)
        exchange.on_body(PIECE + DONE)
        exchange.on_complete()

    answer = ended(tell)
    assert (answer.error, answer.ttft_s, answer.e2e_s, list(answer.gaps_s)) == ("", 1.0, 2.0, [1.0])
    assert (answer.replica, answer.pieces, answer.first_byte_at) == ("r?1", 2, 6.0)


def test_end_without_end_mark() -> None:
    """A stream that ends properly as HTTP but without [DONE] is truncated."""

    def tell(exchange: Exchange) -> None:
        began(exchange, 6.0, PIECE)
        exchange.on_complete()

    assert ended(tell).error == "truncated"


def test_lost_after_end_mark() -> None:
    """What happens to the connection after [DONE] harms nobody."""

    def tell(exchange: Exchange) -> None:
        began(exchange, 6.0, PIECE + DONE)
        exchange.on_lost("reset")

    answer = ended(tell)
    assert (answer.error, answer.e2e_s) == ("", 1.0)


@pytest.mark.parametrize(("head", "error"), [(False, "reset"), (True, "truncated")])
def test_lost(head: bool, error: str) -> None:
    """A lost connection is told by whether an answer had begun."""

    def tell(exchange: Exchange) -> None:
        if head:
            began(exchange, 6.0, PIECE)
        exchange.on_lost("reset")

    assert ended(tell).error == error


def test_error_event_outlasts_the_loss() -> None:
    """An error event tells more than the close that follows it."""

    def tell(exchange: Exchange) -> None:
        began(exchange, 6.0, PIECE + b'data: {"error":{"code":"x"}}\n\n')
        exchange.on_lost("reset")
        exchange.fail("idle_timeout")

    assert ended(tell).error == "stream_error x"


def test_empty() -> None:
    """A stream that ends well without any content, and without any token counted, is no answer."""

    def tell(exchange: Exchange) -> None:
        began(exchange, 6.0, DONE)
        exchange.on_complete()

    assert ended(tell).error == "empty"


def test_bounds() -> None:
    """Neither a body nor an event may grow without end."""

    def body(exchange: Exchange) -> None:
        exchange.on_bytes(6.0)
        exchange.on_head(200, {})
        exchange.on_body(b"x" * (MAX_BODY_BYTES + 1))

    def event(exchange: Exchange) -> None:
        began(exchange, 6.0, b"data: " + b"x" * (8 << 20))

    assert ended(body).error == "body_too_large"
    assert ended(event).error == "event_too_large"


@pytest.mark.parametrize(
    ("limits", "reads", "error"),
    [
        (Timeouts(first_byte_s=0.02), False, "first_byte_timeout"),
        (Timeouts(idle_s=0.02), True, "idle_timeout"),
        (Timeouts(total_s=0.02), False, "total_timeout"),
        (Timeouts(total_s=0.02), True, "total_timeout"),
    ],
)
def test_limits(limits: Timeouts, reads: bool, error: str) -> None:
    """Each phase has its limit, and the whole has one."""

    async def main() -> Answer:
        loop = asyncio.get_running_loop()
        exchange = Exchange(Answer(loop.time()), limits, loop.time, loop)
        if reads:
            began(exchange, loop.time(), PIECE)
        async with asyncio.timeout(5):
            await exchange.done
        return exchange.answer

    answer = run(main())
    assert answer.error == error
    assert answer.e2e_s >= 0.02


def test_a_read_puts_the_idle_limit_off() -> None:
    """The timer that rings after a read looks again instead of ending the exchange."""

    async def main() -> str:
        now = 0.0
        exchange = Exchange(Answer(now), Timeouts(idle_s=1.0), lambda: now, asyncio.get_running_loop())
        began(exchange, 0.0, PIECE)
        for now in (0.9, 1.8):
            exchange._watch()
            assert not exchange.over
            exchange.on_bytes(now)
        now = 2.9
        exchange._watch()
        assert exchange.over
        return exchange.answer.error

    assert run(main()) == "idle_timeout"
