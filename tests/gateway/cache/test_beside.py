"""Workers that have one answer: whole gateways in one process, each with its own engine, over real sockets."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from penstock.core.events import Invalidated
from penstock.gateway.cache import beside as module
from tests.helpers.caching import ALL_EVENTS, EVENTS, USED, WHOLE_STREAM, arrive, ask_for, relayed, told
from tests.helpers.caching import ASKED_AS_STREAM as STREAM
from tests.helpers.neighbours import Neighbour, neighbours
from tests.helpers.wire import DONE, END, SSE_HEAD, answer, chunk, request, run, until


@pytest.fixture(params=[1, 2], ids=["register here", "register there"])
def keeper(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Which of two workers has the register of all keys, as long as it lives."""
    keeper: int = request.param
    monkeypatch.setattr(module, "keepers_of", lambda key, count: iter([keeper, 3 - keeper]))
    return keeper


def slowly(*gates: asyncio.Event) -> list[Any]:
    """A stream of three events that waits before each."""
    first, second, third = gates
    return [first, SSE_HEAD + EVENTS[0], second, EVENTS[1], third, EVENTS[2], chunk(DONE), END]


def three() -> tuple[asyncio.Event, asyncio.Event, asyncio.Event]:
    """Gates."""
    return asyncio.Event(), asyncio.Event(), asyncio.Event()


async def followed(one: Neighbour, times: int = 1) -> None:
    """Wait until this worker follows another that often."""
    await until(lambda: one.beside.followed == times, "it to follow")


async def nobody_waits(one: Neighbour, other: Neighbour) -> None:
    """Wait until neither has anything to do with the other any more."""

    def so() -> bool:
        all = (one.beside, other.beside)
        return not any(each._looks or each._asked or each._feeds or each._joined for each in all) and not any(
            each.lending._outlets or len(each.lending.register) for each in all
        )

    await until(so, "nothing that is left")


@pytest.mark.usefixtures("keeper")
def test_clients_of_two_workers_have_one_answer(tmp_path: Path) -> None:
    """Whenever they come, before and between its tokens; with one request at one engine, and a row for each call."""

    async def main() -> None:
        gates = three()
        async with neighbours(tmp_path, slowly(*gates)) as (one, other):
            asked = await arrive(one.house, 2)
            asked += await arrive(other.house, 2)
            await followed(other)
            gates[0].set()
            await until(lambda: relayed(one.house) == 1, "the first event")
            asked += await arrive(other.house, 2)
            gates[1].set()
            gates[2].set()
            got = await asyncio.gather(*asked)
            assert {each.body for each in got} == {ALL_EVENTS}
            assert all(each.complete for each in got)
            assert told(got) == ["coalesced"] * 5 + ["miss"]
            assert {each.header("x-penstock-replica") for each in got} == {"r0"}
            assert (one.asked, other.asked) == (1, 0)
            assert other.house.states() == ["coalesced"] * 4
            assert {row.relayed_tokens for row in other.house.rows} == {3}
            assert [row.usage for row in other.house.rows] == [None] * 4
            await nobody_waits(one, other)

    run(main)


@pytest.mark.usefixtures("keeper")
def test_whole_answers_too_and_what_one_keeps_the_other_gets(tmp_path: Path) -> None:
    """With its age; then it has it itself, and asks nobody."""

    async def main() -> None:
        async with neighbours(tmp_path, [answer(USED)], WHOLE_STREAM) as (one, other):
            for body in (ask_for(), STREAM):
                first = await one.house.ask(body)
                found = [await other.house.ask(body) for _ in range(2)]
                assert [each.body for each in found] == [first.body] * 2
                assert [each.header("x-penstock-cache") for each in found] == ["hit", "hit"]
                assert found[0].header("age") == "0"
            assert (one.asked, other.asked) == (2, 0)
            assert other.beside.fetched == 2
            await nobody_waits(one, other)

    run(main)


def test_a_mistake_of_the_client_is_everybodys_answer(tmp_path: Path) -> None:
    """A 400 of the engine reaches those at other workers as it is."""

    async def main() -> None:
        go = asyncio.Event()
        async with neighbours(tmp_path, [go, answer(b'{"error":{}}', 400)]) as (one, other):
            asked = await arrive(one.house, 1)
            asked += await arrive(other.house, 2)
            await followed(other)
            go.set()
            assert [(each.status, each.body) for each in await asyncio.gather(*asked)] == [(400, b'{"error":{}}')] * 3
            assert [row.status for row in other.house.rows] == [400, 400]

    run(main)


@pytest.mark.usefixtures("keeper")
def test_the_leaders_clients_leave_and_the_others_get_all_of_it(tmp_path: Path) -> None:
    """The call goes on for them, and has the tokens; nothing is sent again."""

    async def main() -> None:
        gates = three()
        async with neighbours(tmp_path, slowly(*gates)) as (one, other):
            leaving = await arrive(one.house, 2)
            asked = await arrive(other.house, 3)
            await followed(other)
            gates[0].set()
            await until(lambda: relayed(one.house) == 1, "the first event")
            for task in leaving:
                task.cancel()
            await until(lambda: one.house.gateway.counters()["flights"] == 1, "one that goes on")
            gates[1].set()
            gates[2].set()
            assert {each.body for each in await asyncio.gather(*asked)} == {ALL_EVENTS}
            assert (one.asked, other.asked) == (1, 0)
            await until(lambda: len(one.house.rows) == 2, "both rows")
            assert sorted((row.outcome, row.attempts) for row in one.house.rows) == [("client_gone", 0), ("ok", 1)]
            await nobody_waits(one, other)

    run(main)


@pytest.mark.usefixtures("keeper")
def test_all_leave_and_the_engine_is_told_to_stop(tmp_path: Path) -> None:
    """Those at the leader's worker first, or last."""

    async def main() -> None:
        async with neighbours(tmp_path, slowly(*three())) as (one, other):
            for number, order in enumerate(((0, 1), (1, 0)), 1):
                asked = [await arrive(one.house, 2), await arrive(other.house, 2)]
                await followed(other, number)
                for which in order:
                    for task in asked[which]:
                        task.cancel()
                await until(lambda: one.house.engine.gone == number, "a request that was given up")  # noqa: B023
                await nobody_waits(one, other)
            assert (one.asked, other.asked) == (2, 0)

    run(main)


@pytest.mark.usefixtures("keeper")
def test_the_first_of_those_who_follow_leaves(tmp_path: Path) -> None:
    """The next of its worker stands in for them."""

    async def main() -> None:
        gates = three()
        async with neighbours(tmp_path, slowly(*gates)) as (one, other):
            asked = await arrive(one.house, 1)
            (first,) = await arrive(other.house, 1)
            await followed(other)
            asked += await arrive(other.house, 2)
            first.cancel()
            await until(lambda: len(other.house.rows) == 1, "its row")
            for gate in gates:
                gate.set()
            assert {each.body for each in await asyncio.gather(*asked)} == {ALL_EVENTS}
            assert (one.asked, other.asked) == (1, 0)

    run(main)


@pytest.mark.usefixtures("keeper")
@pytest.mark.parametrize("begun", [False, True])
def test_the_leaders_worker_dies(tmp_path: Path, begun: bool) -> None:
    """Before the answer: one of those at the other worker is sent, and all get the whole answer. In the middle of it:
    each gets what there was, and the error event."""

    async def main() -> None:
        gates = three()
        async with neighbours(tmp_path, slowly(*gates)) as (one, other):
            (mine,) = await arrive(one.house, 1)
            asked = await arrive(other.house, 3)
            await followed(other)
            if begun:
                gates[0].set()
                await until(lambda: all(each.began for each in flights(other)), "all have begun")
            one.die()
            if not begun:
                await until(lambda: other.asked == 1, "a request of its own")
            for gate in gates:
                gate.set()
            got = await asyncio.gather(*asked)
            assert [b"died_mid_answer" in each.body for each in got] == [begun] * 3
            if not begun:
                assert {each.body for each in got} == {ALL_EVENTS}
            assert (one.asked, other.asked) == (1, 0 if begun else 1)
            await mine

    run(main)


def flights(one: Neighbour) -> list[Any]:
    """Its calls that go on."""
    return list(one.house.gateway.gate._calls.books.flights.values())


def test_replicas_fail_for_all(tmp_path: Path) -> None:
    """After all attempts everybody gets the same error, and nobody tries again what has just failed so often."""

    async def main() -> None:
        go = asyncio.Event()
        async with neighbours(tmp_path, [go, answer(b"{}", 500)]) as (one, other):
            asked = await arrive(one.house, 1)
            asked += await arrive(other.house, 2)
            await followed(other)
            go.set()
            got = await asyncio.gather(*asked)
            assert {each.status for each in got} == {500}
            assert all(b"upstream_5xx" in each.body for each in got)
            assert other.asked == 0
            assert {row.outcome for row in other.house.rows} == {"upstream_5xx"}

    run(main)


def test_a_worker_that_does_not_answer_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call waits for it once; the next ones do not, and run alone."""
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    monkeypatch.setattr(module, "keepers_of", lambda key, count: iter([1, 2]))

    async def main() -> None:
        async with neighbours(tmp_path, [answer(USED)]) as (one, other):
            monkeypatch.setattr(one.beside.lending, "_heard", lambda *words: None)
            assert (await other.house.ask(ask_for())).header("x-penstock-cache") == "miss"
            assert (await other.house.ask(ask_for("again"))).header("x-penstock-cache") == "miss"
            assert (other.beside.late, other.beside.asked, other.asked) == (1, 1, 2)

    run(main)


def test_a_leader_that_falls_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither brings the answer nor says that it will: who follows asks elsewhere, and is sent."""
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    monkeypatch.setattr(module, "SILENCE_S", 0.05)
    monkeypatch.setattr(module, "keepers_of", lambda key, count: iter([2, 1]))

    async def main() -> None:
        gates = three()
        async with neighbours(tmp_path, slowly(*gates)) as (one, other):
            asked = await arrive(one.house, 1)
            asked += await arrive(other.house, 2)
            await followed(other)
            monkeypatch.setattr(one.beside.lending, "beat", lambda now: True)
            await until(lambda: other.beside.followed > 1, "it to look again")
            monkeypatch.setattr(one.beside.lending, "_want", lambda line, by, word: line.close())
            await until(lambda: other.asked == 1, "a request of its own")
            for gate in gates:
                gate.set()
            assert {each.body for each in await asyncio.gather(*asked)} == {ALL_EVENTS}

    run(main)


def test_what_is_put_out_of_use_is_not_taken_from_who_has_not_heard(tmp_path: Path) -> None:
    """The one that has asks its engine; and once both have, the answer is shared again."""

    async def main() -> None:
        async with neighbours(tmp_path, [answer(USED)]) as (one, other):
            await one.house.ask(ask_for())
            other.house.gateway.pump.tell(Invalidated(mark=1))
            assert (await other.house.ask(ask_for())).header("x-penstock-cache") == "miss"
            one.house.gateway.pump.tell(Invalidated(mark=1))
            assert (await one.house.ask(ask_for())).header("x-penstock-cache") == "hit"
            assert (one.asked, other.asked) == (1, 1)

    run(main)


def test_what_is_made_elsewhere_is_not_followed_where_that_worker_has_not_heard(tmp_path: Path) -> None:
    """Its answer began before something was put out of use: the worker that knows asks its engine."""

    async def main() -> None:
        gates = three()
        async with neighbours(tmp_path, slowly(*gates)) as (one, other):
            asked = await arrive(one.house, 1)
            other.house.gateway.pump.tell(Invalidated(mark=1))
            asked += await arrive(other.house, 1)
            await until(lambda: other.asked == 1, "a request of its own")
            for gate in gates:
                gate.set()
            assert {each.body for each in await asyncio.gather(*asked)} == {ALL_EVENTS}
            assert (one.asked, other.asked) == (1, 1)

    run(main)


@pytest.mark.slow
def test_a_slow_client_elsewhere_does_not_stop_the_others(tmp_path: Path) -> None:
    """An answer of many times what is held: clients that read get all of it, at both workers; one that does not read is
    cut, or gets all of it later."""
    pieces = [chunk(b"data: %b\n\n" % (b"x" * 60_000)) for _ in range(150)]

    async def main() -> None:
        go = asyncio.Event()
        script = [SSE_HEAD + EVENTS[0], go, *pieces, chunk(DONE), END]
        async with neighbours(tmp_path, script, cache={"largest": "128KiB"}) as (one, other):
            asked = await arrive(one.house, 1)
            reader, writer = await asyncio.open_connection("127.0.0.1", other.house.port)
            writer.write(request(STREAM))
            await until(lambda: other.house.gateway.counters()["flights"] == 1, "the slow one")
            await followed(other)
            asked += await arrive(other.house, 1)
            go.set()
            got = await asyncio.gather(*asked)
            assert {each.complete for each in got} == {True}
            assert len({each.body for each in got}) == 1
            assert got[0].body.count(b"x" * 60_000) == 150
            assert got[0].body.endswith(DONE)
            assert (one.asked, other.asked) == (1, 0)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            assert not reader.at_eof()

    run(main, 30.0)
