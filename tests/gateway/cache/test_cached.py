"""Kept answers on the wire: what is given again, what is never kept, and what clients are told."""

import asyncio
import gzip
from typing import Any

import pytest

from tests.helpers.caching import ALL_EVENTS, EVENTS, USED, WHOLE_STREAM, arrive, ask_for, caching, relayed, told
from tests.helpers.caching import ASKED_AS_STREAM as STREAM
from tests.helpers.wire import (
    DONE,
    END,
    SSE_HEAD,
    Answer,
    Client,
    answer,
    chunk,
    event,
    request,
    run,
    until,
)


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
