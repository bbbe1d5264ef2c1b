"""Two attempts of one call at once, on the wire: one answer, whole and unmixed; the loser's engine is let go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from penstock.core.events import Arrived, Began, ClientGone, Ended, Failed
from tests.helpers.plane import Rig, serving
from tests.helpers.wire import (
    CLOSE,
    DONE,
    END,
    HANG,
    RESET,
    ROLE,
    SSE_HEAD,
    Answer,
    Client,
    Engine,
    Script,
    answer,
    chunk,
    event,
    request,
    run,
    stream,
    until,
)

STREAM = b'{"model":"m","stream":true}'
PLAIN = b'{"model":"m"}'
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@asynccontextmanager
async def two(first: Script, second: Script) -> AsyncIterator[tuple[Engine, Engine, Rig, Client]]:
    """Two engines, a data plane that asks both at once, and a client."""
    one, other = Engine([first]), Engine([second])
    async with one, other, serving(one, other) as rig, Client(rig.port) as client:
        rig.gate.hedge = True
        yield one, other, rig, client


def asked(winner: Script, loser: Script, at: int, body: bytes = STREAM) -> tuple[Answer, Rig]:
    """The answer to one call that both engines get, where the one at this index (0 or 1) goes on to lose."""

    async def main() -> tuple[Answer, Rig]:
        go = asyncio.Event()
        scripts = [[go, *winner], loser] if at else [loser, [go, *winner]]
        async with two(*scripts) as (one, other, rig, client):
            client.send(request(body, extra="X-Request-Id: mine\r\n"))
            await until(lambda: bool(one.got) and bool(other.got))
            go.set()
            found = await client.answer()
            await until(lambda: (one, other)[at].gone == 1, "the loser's freedom")
            assert [one.got[0].header("x-request-id"), other.got[0].header("x-request-id")] == ["mine", "mine-2"]
            assert one.got[0].body == other.got[0].body
            assert rig.plane.buffered_bytes == 0
            return found, rig

    return run(main)


SILENT: dict[str, Script] = {
    "nothing": [HANG],
    "a head": [SSE_HEAD, HANG],
    "a role": [SSE_HEAD + chunk(ROLE), HANG],
    "half a plain answer": [JSON_HEAD + b"content-length: 20\r\n\r\n{", HANG],
}


@pytest.mark.parametrize("loser", [0, 1])
@pytest.mark.parametrize("what", SILENT)
def test_the_first_content_wins(what: str, loser: int) -> None:
    """Whatever the other has sent short of content, none of it reaches the client, and its connection closes."""
    found, rig = asked(stream("b"), SILENT[what], loser)
    assert found.body == event("b") + DONE
    assert found.header("x-penstock-replica") == f"r{1 - loser}"
    assert [fact.attempt for fact in rig.gate.told(Began)] == [2 - loser]
    assert not rig.gate.told(Failed)


@pytest.mark.parametrize("loser", [0, 1])
def test_a_plain_answer_wins_whole(loser: int) -> None:
    """Not streamed: whoever has the whole answer first."""
    found, rig = asked([answer(b'{"who":1}')], SILENT["half a plain answer"], loser, PLAIN)
    assert found.body == b'{"who":1}'
    assert [fact.attempt for fact in rig.gate.told(Ended)] == [2 - loser]


def test_a_large_plain_answer_wins_by_its_beginning() -> None:
    """What is too large to be held is passed on as it comes, and the other attempt is stopped then."""
    body = b'{"x":"' + b"a" * 600_000 + b'"}'
    found, rig = asked([answer(body)], [HANG], 0, PLAIN)
    assert found.body == body
    assert len(rig.gate.told(Began)) == 1


@pytest.mark.parametrize("body", [STREAM, PLAIN])
def test_both_at_once_give_one_answer(body: bytes) -> None:
    """Engines that answer in the same instant, many times: each client gets one of the two answers, unmixed."""

    async def main() -> None:
        whole = [b"".join(stream(str(who) * 50)) for who in (0, 1)] if body is STREAM else [answer(b"0"), answer(b"1")]
        go = asyncio.Event()
        async with two([go, whole[0]], [go, whole[1]]) as (one, other, rig, _):
            for number in range(30):
                go.clear()
                async with Client(rig.port) as client:
                    client.send(request(body))
                    await until(lambda number=number: len(one.got) == len(other.got) == number + 1)  # type: ignore[misc]
                    go.set()
                    found = await client.answer()
                    wanted = [event(who * 50) + DONE for who in "01"] if body is STREAM else [b"0", b"1"]
                    assert found.body in wanted
            assert len(rig.gate.rows) == 30

    run(main)


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("failing", [0, 1])
def test_one_fails_and_the_other_answers(failing: int, end: str) -> None:
    """The client learns nothing of it."""

    async def main() -> None:
        go = asyncio.Event()
        scripts: list[Script] = [[go, *stream("b")], [go, *stream("b")]]
        scripts[failing] = [end]
        async with two(*scripts) as (_, _, rig, client):
            client.send(request(STREAM))
            await until(lambda: bool(rig.gate.told(Failed)))
            go.set()
            found = await client.answer()
            assert (found.status, found.body) == (200, event("b") + DONE)
            assert [fact.attempt for fact in rig.gate.told(Failed)] == [failing + 1]

    run(main)


def test_one_is_refused_and_the_other_answers() -> None:
    """A replica that does not even take the connection fails its attempt alone."""

    async def main() -> None:
        async with two(stream("b"), stream("b")) as (_, other, rig, client):
            other._server.close()  # type: ignore[union-attr]
            await until(lambda: other._server is not None and not other._server.is_serving())
            client.send(request(STREAM))
            found = await client.answer()
            assert (found.status, found.body) == (200, event("b") + DONE)
            await until(lambda: len(rig.gate.rows) == 1)

    run(main)


def test_both_fail_and_the_client_hears_of_it_once() -> None:
    """After the attempts that the Gate allows there is one error page."""

    async def main() -> None:
        async with two([RESET], [RESET]) as (_, _, rig, client):
            rig.gate.attempts = 2
            client.send(request(STREAM))
            found = await client.answer()
            assert found.status == 502
            assert len(rig.gate.told(Failed)) == 2

    run(main)


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_the_client_leaves_and_both_engines_are_let_go(how: str) -> None:
    """Two connections close, one departure is told."""

    async def main() -> None:
        async with two([HANG], [SSE_HEAD, HANG]) as (one, other, rig, client):
            client.send(request(STREAM))
            await until(lambda: bool(one.got) and bool(other.got))
            if how == "RST":
                client.reset()
            else:
                client.writer.close()
            await until(lambda: one.gone == other.gone == 1, "both engines' freedom")
            assert len(rig.gate.told(ClientGone)) == 1

    run(main)


def test_the_winner_may_still_die() -> None:
    """The loser is gone by then: the client gets the error event, and no other attempt's bytes."""
    found, rig = asked([SSE_HEAD + chunk(event("a")), RESET], [HANG], 1)
    assert found.body.startswith(event("a"))
    assert b"error" in found.body
    assert [fact.label for fact in rig.gate.told(Failed)] == ["died_mid_answer"]


def test_the_losers_connection_is_not_used_again() -> None:
    """The next call of the same client gets its own answer on a fresh connection; the winner's was kept."""

    async def main() -> None:
        late: Script = [SSE_HEAD + chunk(event("late")), chunk(DONE), END]
        go = asyncio.Event()
        async with two([go, *stream("b")], [HANG]) as (one, other, rig, client):
            client.send(request(STREAM))
            await until(lambda: bool(one.got) and bool(other.got))
            go.set()
            assert (await client.answer()).body == event("b") + DONE
            await until(lambda: other.gone == 1)
            other.scripts = [late]
            rig.gate.hedge = False
            for wanted in (event("b") + DONE, event("late") + DONE):
                client.send(request(STREAM))
                assert (await client.answer()).body == wanted
            assert (one.connections, other.connections) == (1, 2)
            assert len(rig.gate.told(Arrived)) == 3

    run(main)
