"""One answer for many clients on the wire: some leave, some are slow, and replicas fail."""

import asyncio
from typing import Any

import pytest

from tests.helpers.caching import ALL_EVENTS, EVENTS, USED, WHOLE_STREAM, arrive, ask_for, caching, relayed
from tests.helpers.caching import ASKED_AS_STREAM as STREAM
from tests.helpers.wire import (
    CLOSE,
    DONE,
    END,
    HANG,
    RESET,
    SSE_HEAD,
    USAGE,
    Client,
    answer,
    chunk,
    event,
    request,
    run,
    until,
)


@pytest.mark.parametrize("begun", [False, True])
def test_when_the_first_client_leaves_the_others_get_everything(begun: bool) -> None:
    """Before the first token and behind it: the engine hears of nothing, and the next client is charged."""

    async def main() -> None:
        go, more = asyncio.Event(), asyncio.Event()
        script = [go, SSE_HEAD + EVENTS[0], more, EVENTS[1], EVENTS[2] + chunk(USAGE) + chunk(DONE), END]
        async with caching(script) as house:
            async with Client(house.port) as first:
                first.send(request(STREAM))
                await until(lambda: bool(house.engine.got), "the engine has it")
                others = await arrive(house, 3)
                if begun:
                    go.set()
                    await until(lambda: relayed(house) == 1, "the first token")
                first.reset()
                await until(lambda: len(house.rows) == 1, "the first client's end")
            go.set()
            late = await arrive(house, 1)
            more.set()
            got = await asyncio.gather(*others, *late)
            assert {one.body for one in got} == {ALL_EVENTS}
            assert all(one.complete for one in got)
            assert (house.engine.gone, len(house.engine.got)) == (0, 1)
            assert sorted(house.states()) == ["coalesced", "coalesced", "coalesced", "miss", "miss"]
            assert [row.outcome for row in house.rows] == ["client_gone", "ok", "ok", "ok", "ok"]
            assert [row.usage is not None for row in house.rows] == [False, True, False, False, False]
            assert (await house.ask(STREAM)).header("x-penstock-cache") == "hit"

    run(main)


def test_everybody_leaves() -> None:
    """With the last one the engine is told to stop."""

    async def main() -> None:
        async with caching([SSE_HEAD + EVENTS[0], HANG]) as house:
            asked = await arrive(house, 5)
            await until(lambda: relayed(house) == 1, "the first token")
            for number, one in enumerate(asked, 1):
                one.cancel()
                await until(lambda: len(house.rows) == number, "its end")  # noqa: B023
            await until(lambda: house.engine.gone == 1, "the engine is told")
            assert [row.outcome for row in house.rows] == ["client_gone"] * 5

    run(main)


@pytest.mark.parametrize("end", [RESET, CLOSE])
def test_when_the_engine_dies_in_the_middle_all_are_told_in_the_streams_own_language(end: str) -> None:
    """Each gets what there was, the error event, and no end that looks like one; nothing is kept."""

    async def main() -> None:
        go = asyncio.Event()
        async with caching([SSE_HEAD + EVENTS[0], go, end], WHOLE_STREAM) as house:
            asked = await arrive(house, 4)
            await until(lambda: relayed(house) == 1, "the first token")
            asked += await arrive(house, 1)
            go.set()
            for one in await asyncio.gather(*asked):
                assert one.body.startswith(event("one"))
                assert b"died_mid_answer" in one.body
                assert DONE not in one.body
            assert [row.outcome for row in house.rows] == ["died_mid_answer"] * 5
            again = await house.ask(STREAM)
            assert (again.header("x-penstock-cache"), again.body) == ("miss", ALL_EVENTS)

    run(main)


def test_when_it_fails_before_the_first_token_another_attempt_serves_all() -> None:
    """Nobody notices."""

    async def main() -> None:
        go = asyncio.Event()
        async with caching([go, RESET], WHOLE_STREAM) as house:
            asked = await arrive(house, 4)
            go.set()
            got = await asyncio.gather(*asked)
            assert {one.body for one in got} == {ALL_EVENTS}
            assert {one.header("x-penstock-attempts") for one in got} == {"2"}
            assert len(house.engine.got) == 2

    run(main)


def test_when_every_attempt_fails_all_are_told() -> None:
    """With the status of the failure, and the cache's word; nobody hangs."""

    async def main() -> None:
        go = asyncio.Event()
        async with caching([go, answer(status=500)]) as house:
            asked = await arrive(house, 4)
            go.set()
            got = await asyncio.gather(*asked)
            assert [one.status for one in got] == [500] * 4
            assert len(house.engine.got) == 3
            assert house.rows[0].outcome == "upstream_5xx"

    run(main)


def test_a_clients_mistake_is_told_to_all_and_not_kept() -> None:
    """A 400 of the engine, plain or in place of a stream."""
    refusal = b'data: {"error":{"message":"too long","code":400}}\n\n'

    async def main() -> None:
        go = asyncio.Event()
        async with caching([go, answer(b'{"error":{}}', 400)], [SSE_HEAD, go, chunk(refusal) + END]) as house:
            asked = await arrive(house, 3, ask_for())
            go.set()
            assert [(one.status, one.body) for one in await asyncio.gather(*asked)] == [(400, b'{"error":{}}')] * 3
            go.clear()
            asked = await arrive(house, 3)
            go.set()
            got = await asyncio.gather(*asked)
            assert [(one.status, b"too long" in one.body) for one in got] == [(400, True)] * 3
            assert house.gateway.plane.shelf.kept == {}
            assert len(house.engine.got) == 2

    run(main)


@pytest.mark.slow
def test_a_slow_client_holds_up_no_other_and_is_cut_when_it_is_too_far_behind() -> None:
    """Memory is bounded by what is held of the answer; the others have all of it, and the slow one no whole answer."""
    big = chunk(event("x" * 60_000))

    async def main() -> None:
        go = asyncio.Event()
        async with caching(
            [SSE_HEAD + EVENTS[0], go, *[big] * 300, chunk(DONE), END], cache={"largest": "200KiB"}
        ) as house:
            fast = await arrive(house, 1)
            async with Client(house.port, holds_bytes=4096) as slow:
                slow.send(request(STREAM))
                await until(lambda: house.gateway.counters()["flights"] == 2, "both")
                go.set()
                (got,) = await asyncio.gather(*fast)
                assert (len(got.body), got.complete) == (
                    300 * len(event("x" * 60_000)) + len(event("one")) + len(DONE),
                    True,
                )
                cut = await slow.answer()
                assert not cut.complete
            assert sorted(row.outcome for row in house.rows) == ["client_gone", "ok"]
            assert house.gateway.plane.shelf.kept == {}

    run(main)


@pytest.mark.slow
def test_a_slow_first_client_holds_up_no_other() -> None:
    """The engine waits only while all do."""
    big = chunk(event("x" * 60_000))

    async def main() -> None:
        go = asyncio.Event()
        async with (
            caching([SSE_HEAD + EVENTS[0], go, *[big] * 300, chunk(DONE), END], cache={"largest": "200KiB"}) as house,
            Client(house.port, holds_bytes=4096) as slow,
        ):
            slow.send(request(STREAM))
            await until(lambda: relayed(house) == 1, "it leads")
            fast = await arrive(house, 2)
            go.set()
            for got in await asyncio.gather(*fast):
                assert got.complete
                assert got.body.count(b"x" * 60_000) == 300
            assert not (await slow.answer()).complete

    run(main)


def test_alone_a_slow_client_slows_its_engine_and_gets_everything() -> None:
    """As without a cache."""
    big = chunk(event("x" * 60_000))

    async def main() -> None:
        async with (
            caching([SSE_HEAD, *[big] * 60, chunk(DONE), END], cache={"largest": "100KiB"}) as house,
            Client(house.port, holds_bytes=4096) as slow,
        ):
            slow.send(request(STREAM))
            await until(lambda: bool(house.engine.got), "it has begun")
            got = await slow.answer()
            assert got.complete
            assert got.body.count(b"x" * 60_000) == 60

    run(main)


def test_whoever_comes_when_the_beginning_is_gone_asks_the_engine() -> None:
    """An answer that is larger than what is held cannot be joined any more."""

    async def main() -> None:
        go = asyncio.Event()
        script = [SSE_HEAD, *[chunk(event("x" * 20_000))] * 100, go, chunk(DONE), END]
        async with caching(script, WHOLE_STREAM, cache={"largest": "100KiB"}) as house:
            first = await arrive(house, 1)
            await until(lambda: relayed(house) == 100, "most of it")
            late = await house.ask(STREAM)
            assert (late.body, late.header("x-penstock-cache")) == (ALL_EVENTS, "miss")
            go.set()
            assert (await first[0]).complete

    run(main)


@pytest.mark.slow
def test_the_pace_of_a_kept_stream_is_kept_where_that_is_wanted() -> None:
    """`replay_pace: recorded`: its events come as far apart as they came, and a client that leaves ends it."""

    async def main() -> None:
        gates = [asyncio.Event() for _ in range(2)]
        script = [SSE_HEAD + EVENTS[0], gates[0], EVENTS[1], gates[1], EVENTS[2] + chunk(DONE) + END]
        async with caching(script, cache={"replay_pace": "recorded"}) as house:
            first = await arrive(house, 1)
            for number, gate in enumerate(gates, 1):
                await until(lambda: relayed(house) == number, "a token")  # noqa: B023
                asyncio.get_running_loop().call_later(0.05, gate.set)
                await gate.wait()
            await first[0]
            (kept,) = house.gateway.plane.shelf.kept.values()
            assert kept.delays_ms[0] == 0
            assert kept.delays_ms[2] >= 80
            loop = asyncio.get_running_loop()
            began = loop.time()
            again = await house.ask(STREAM)
            assert (again.body, again.header("x-penstock-cache")) == (ALL_EVENTS, "hit")
            assert loop.time() - began >= 0.08
            (leaving,) = await arrive(house, 1)
            leaving.cancel()
            await until(lambda: len(house.rows) == 3, "it has left")
            assert [row.outcome for row in house.rows] == ["ok", "ok", "client_gone"]

    run(main)


def test_who_waits_for_its_limits_alone_does_not_get_what_is_made_for_the_others() -> None:
    """It followed a call whose client left, and its key has too little left to be sent: the next one leads. Its client
    is answered when the call is let in, and nothing is held for ever for one that has its answer already."""
    limits = {"tokens_per_minute": 350, "requests_per_minute": 100}
    keys = [
        {"name": "a", "tenant": "t", "key": "sk-a", "limits": limits},
        {"name": "b", "tenant": "t", "key": "sk-b"},
    ]
    few, many = "Authorization: Bearer sk-a\r\n", "Authorization: Bearer sk-b\r\n"
    same = ask_for(max_tokens=150)

    async def main() -> None:
        one, other = asyncio.Event(), asyncio.Event()
        tenants = [{"name": "t", "limits": {"concurrency": 100}}]
        scripts: list[list[Any]] = [[one, answer(USED)], [other, answer(USED)], [answer(USED)]]
        async with caching(*scripts, seats=2, keys=keys, tenants=tenants) as house:
            long = await arrive(house, 1, ask_for("Long", max_tokens=150), few)
            long += await arrive(house, 1, ask_for("Short", max_tokens=150), many)
            await until(lambda: len(house.engine.got) == 2, "both are sent")
            first = await arrive(house, 1, same, many)
            alone = await arrive(house, 1, same, few)
            last = await arrive(house, 1, same, many)
            first[0].cancel()
            await until(lambda: len(house.rows) == 1, "the first client's end")
            other.set()
            assert (await last[0]).body == USED
            assert not alone[0].done()
            one.set()
            got = await alone[0]
            assert (got.body, got.header("x-penstock-cache")) == (USED, "hit")
            await asyncio.gather(*long)
            assert [row.outcome for row in house.rows] == ["client_gone"] + ["ok"] * 4

    run(main)
