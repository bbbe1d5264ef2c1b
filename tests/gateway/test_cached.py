"""Kept answers on the wire: what is given again, what is never kept, and what clients are told."""

import asyncio
import gzip
from typing import Any

import pytest

from tests.helpers.caching import House, ask_for, caching
from tests.helpers.wire import (
    CLOSE,
    DONE,
    END,
    HANG,
    RESET,
    SSE_HEAD,
    USAGE,
    Answer,
    Client,
    answer,
    chunk,
    event,
    request,
    run,
    stream,
    until,
)

USED = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}'


def test_the_same_question_is_answered_from_memory() -> None:
    """The second one never reaches the engine, gets the same bytes, and both are told."""

    async def main() -> None:
        async with caching([answer(USED)]) as house:
            first = await house.ask(ask_for())
            second = await house.ask(ask_for())
            assert first.body == second.body == USED
            assert [one.header("x-penstock-cache") for one in (first, second)] == ["miss", "hit"]
            assert (first.header("age"), second.header("age")) == (None, "0")
            assert first.header("x-penstock-replica") == "r0"
            assert second.header("x-request-id") not in (None, first.header("x-request-id"))
            assert len(house.engine.got) == 1
            assert house.states() == ["miss", "hit"]
            assert [row.usage is not None for row in house.rows] == [True, False]
            assert [row.attempts for row in house.rows] == [1, 0]

    run(main)


WHOLE_STREAM = stream("one", "two", "three")


def test_a_stream_is_kept_whole_and_given_again_as_a_stream() -> None:
    """The same events in the same framing; and a whole answer to the same question is another entry."""

    async def main() -> None:
        async with caching(WHOLE_STREAM, [answer(USED)]) as house:
            first, second = [await house.ask(ask_for(stream=True)) for _ in range(2)]
            assert first.body == second.body == b"".join([event("one"), event("two"), event("three"), DONE])
            assert second.complete
            assert second.header("content-type") == "text/event-stream"
            assert second.header("x-penstock-cache") == "hit"
            assert (await house.ask(ask_for())).body == USED
            assert house.states() == ["miss", "hit", "miss"]
            assert [row.relayed_tokens for row in house.rows] == [3, 3, 0]

    run(main)


ALL_EVENTS = b"".join([event("one"), event("two"), event("three"), DONE])
EVENTS = [chunk(event(text)) for text in ("one", "two", "three")]
STREAM = ask_for(stream=True)


async def arrive(house: House, count: int, body: bytes = STREAM, extra: str = "") -> list[asyncio.Task[Answer]]:
    """So many ask at once; they are in flight."""
    before = house.gateway.counters()["flights"]
    asked = [asyncio.create_task(house.ask(body, extra)) for _ in range(count)]
    await until(lambda: house.gateway.counters()["flights"] == before + count, "all are here")
    return asked


def told(answers: list[Answer]) -> list[str | None]:
    """What the cache had to do with each."""
    return sorted(one.header("x-penstock-cache") or "" for one in answers)


def test_a_dozen_at_once_have_one_answer() -> None:
    """One request reaches the engine; who comes before, between and after its tokens gets all of them."""

    async def main() -> None:
        gates = [asyncio.Event() for _ in range(3)]
        script = [gates[0], SSE_HEAD + EVENTS[0], gates[1], EVENTS[1], gates[2], EVENTS[2], chunk(DONE), END]
        async with caching(script) as house:
            asked: list[asyncio.Task[Answer]] = []
            for number, gate in enumerate(gates):
                asked += await arrive(house, 4)
                gate.set()
                if number < 2:
                    await until(lambda: relayed(house) == number + 1, "the engine's event")  # noqa: B023
            got = await asyncio.gather(*asked)
            assert {one.body for one in got} == {ALL_EVENTS}
            assert all(one.complete for one in got)
            assert told(got) == ["coalesced"] * 11 + ["miss"]
            assert {one.header("x-penstock-replica") for one in got} == {"r0"}
            assert len({one.header("x-request-id") for one in got}) == 12
            assert len(house.engine.got) == 1
            assert sorted(house.states()) == ["coalesced"] * 11 + ["miss"]
            assert {row.relayed_tokens for row in house.rows} == {3}

    run(main)


def relayed(house: House) -> int:
    """Events that the engine's answer has brought."""
    return sum(attempt.relayed_tokens for one in house.gateway.plane.exchanges.values() for attempt in one.attempts)


def test_whole_answers_are_shared_too() -> None:
    """Large ones compressed for those who take that; each has a head of its own."""
    big = b'{"choices":[{"message":{"content":"%b"}}]}' % (b"tokens " * 5000)

    async def main() -> None:
        go = asyncio.Event()
        async with caching([go, answer(big)]) as house:
            plain = await arrive(house, 3, ask_for())
            zipped = await arrive(house, 3, ask_for(), "Accept-Encoding: gzip\r\n")
            go.set()
            for one in await asyncio.gather(*plain):
                assert (one.body, one.header("content-encoding")) == (big, None)
            for one in [*await asyncio.gather(*zipped), await house.ask(ask_for(), "Accept-Encoding: gzip\r\n")]:
                assert (gzip.decompress(one.body), one.header("content-encoding")) == (big, "gzip")
            assert (await house.ask(ask_for())).body == big
            assert len(house.engine.got) == 1

    run(main)


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


BAD = [
    ("an error event", [SSE_HEAD, EVENTS[0], chunk(b'data: {"error":{"message":"x"}}\n\n'), chunk(DONE), END]),
    ("no mark at the end", [SSE_HEAD, EVENTS[0], END]),
    ("an error with 200", [answer(b'{"error":{"message":"x"}}')]),
    ("a page", [answer(b"<p>", content_type="text/html")]),
    ("compressed", [answer(b"\x1f\x8b", extra="content-encoding: gzip\r\n")]),
    ("a partial answer", [answer(b'{"ok":true}', 203)]),
]


@pytest.mark.parametrize("script", [script for _, script in BAD], ids=[name for name, _ in BAD])
def test_what_is_no_good_answer_is_never_kept(script: list[bytes]) -> None:
    """It is relayed, and asked for again."""

    async def main() -> None:
        async with caching(script) as house:
            for _ in range(2):
                assert (await house.ask(STREAM)).header("x-penstock-cache") == "miss"
            assert len(house.engine.got) == 2

    run(main)


def test_a_text_about_errors_is_kept() -> None:
    """What a model writes is no error: its quotes are escaped."""
    body = b'{"choices":[{"message":{"content":"say \\"error\\": 1"}}],"error":null}'

    async def main() -> None:
        async with caching([answer(body)]) as house:
            assert [(await house.ask(ask_for())).header("x-penstock-cache") for _ in range(2)] == ["miss", "hit"]

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
        async with caching([SSE_HEAD, *[big] * 60, chunk(DONE), END], cache={"largest": "100KiB"}) as house:
            async with Client(house.port, holds_bytes=4096) as slow:
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


def test_hits_on_one_connection_come_in_order() -> None:
    """Requests that were sent ahead are answered one after the other, hits and others in turn."""

    async def main() -> None:
        async with caching([answer(USED)], [answer(b'{"other":1}')]) as house:
            await house.ask(ask_for())
            async with Client(house.port) as client:
                client.send(request(ask_for()) * 2 + request(ask_for("Another")) + request(ask_for()))
                got = [await client.answer() for _ in range(4)]
            assert [one.header("x-penstock-cache") for one in got] == ["hit", "hit", "miss", "hit"]
            assert [one.body for one in got] == [USED, USED, b'{"other":1}', USED]

    run(main)


def test_one_tenant_never_gets_anothers_answer() -> None:
    """Neither a kept one nor one that is being made; unless the file says that they share."""
    keys = [{"name": name, "key": f"sk-{name}"} for name in ("a", "b")]

    async def main(isolate: bool) -> list[str | None]:
        async with caching([answer(USED)], cache={"isolate": isolate}, keys=keys) as house:
            got = [await house.ask(ask_for(), f"Authorization: Bearer sk-{name}\r\n") for name in ("a", "b", "a", "b")]
            return [one.header("x-penstock-cache") for one in got]

    assert run(lambda: main(True)) == ["miss", "miss", "hit", "hit"]
    assert run(lambda: main(False)) == ["miss", "hit", "hit", "hit"]


WISHES = [
    ({}, "", "miss hit"),
    ({}, "x-penstock-cache: bypass\r\n", "bypass bypass"),
    ({}, "x-penstock-cache: refresh\r\n", "miss miss"),
    ({"mode": "asked"}, "", "bypass bypass"),
    ({"mode": "asked"}, "x-penstock-cache: use\r\n", "miss hit"),
    ({"mode": "off"}, "x-penstock-cache: use\r\n", "bypass bypass"),
    ({"rules": [{"model": "m", "mode": "off"}]}, "", "bypass bypass"),
    ({"rules": [{"path": "/v1/chat", "mode": "fixed"}], "mode": "off"}, "", "miss hit"),
]


@pytest.mark.parametrize("cache,header,states", WISHES)
def test_file_and_client_say_what_is_cached(cache: dict[str, Any], header: str, states: str) -> None:
    """The first rule that matches, else the mode; and the header where that lets it."""

    async def main() -> None:
        async with caching([answer(USED)], cache=cache) as house:
            got = [await house.ask(ask_for(), header) for _ in range(2)]
            assert " ".join(str(one.header("x-penstock-cache")) for one in got) == states

    run(main)


def test_without_a_cache_no_head_has_a_word_of_it() -> None:
    """Nor where a path is never cached, nor an HTTP/1.0 client asks."""

    async def main() -> None:
        async with caching([answer(USED)], cache={}) as house:
            speech = await house.ask(ask_for(), path="/v1/audio/speech")
            assert speech.header("x-penstock-cache") is None
            async with Client(house.port) as client:
                client.send(request(ask_for()).replace(b"HTTP/1.1", b"HTTP/1.0"))
                assert (await client.answer()).header("x-penstock-cache") is None

    run(main)
