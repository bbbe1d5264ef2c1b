"""Questions in other words over the wire, by the embedding model that comes with the extra."""

import pytest

pytest.importorskip("wordllama", reason="the extra `semantic` is not installed")

from penstock.config.load import load, read_text
from penstock.core.events import Invalidated
from tests.helpers.caching import EVENTS, USED, ask_for, caching
from tests.helpers.wire import CLOSE, DONE, SSE_HEAD, answer, chunk, run, until

pytestmark = pytest.mark.slow

ALL = {"semantic": {"mode": "all"}}
ASKED, SAME, OPPOSITE, OTHER = (
    "How do I reset my password?",
    "What is the way to reset my password?",
    "What is the way to not reset my password?",
    "Why is the sky blue at noon?",
)
SIMILAR = "x-penstock-cache: similar\r\n"


def test_another_question_gets_the_answer_and_is_told_so() -> None:
    """A hit with its similarity; the row says `similar`, and explain tells it; what only looks alike is sent."""

    async def main() -> None:
        async with caching([answer(USED)], cache=ALL) as house:
            first = await house.ask(ask_for(ASKED))
            second = await house.ask(ask_for(SAME))
            assert second.body == first.body == USED
            assert (first.header("x-penstock-cache"), second.header("x-penstock-cache")) == ("miss", "hit")
            assert first.header("x-penstock-cache-similarity") is None
            assert 0.9 < float(second.header("x-penstock-cache-similarity") or 0) < 1
            assert second.header("age") == "0"
            for text in (OPPOSITE, OTHER):
                assert (await house.ask(ask_for(text))).header("x-penstock-cache") == "miss"
            assert (await house.ask(ask_for(ASKED))).header("x-penstock-cache-similarity") is None
            assert house.states() == ["miss", "similar", "miss", "miss", "hit"]
            view = house.gateway.caching.view()
            assert view is not None
            assert view.calls == {"hit": 1, "similar": 1, "coalesced": 0, "miss": 3, "bypass": 0}
            explained = house.gateway.explained(house.rows[1].id)
            assert not isinstance(explained, str)
            assert any("in other words" in moment.text for moment in explained.timeline)

    run(main)


def test_only_who_asks_takes_part_by_default() -> None:
    """Others neither get another question's answer, nor is theirs given for one."""

    async def main() -> None:
        async with caching([answer(USED)], cache={"semantic": {}}) as house:
            await house.ask(ask_for(ASKED))
            assert (await house.ask(ask_for(SAME), SIMILAR)).header("x-penstock-cache") == "miss"
            assert (await house.ask(ask_for("Which way do I reset my password?"))).header("x-penstock-cache") == "miss"
            found = await house.ask(ask_for("What is the way for me to reset my password?"), SIMILAR)
            assert found.header("x-penstock-cache-similarity") is not None
            assert house.states() == ["miss", "miss", "miss", "similar"]

    run(main)


def test_only_the_question_may_differ() -> None:
    """Not the system's words, nor parameters, nor whether it is a stream; tools are never compared."""

    async def main() -> None:
        async with caching([answer(USED)], cache=ALL) as house:
            await house.ask(ask_for(ASKED))
            tools = [{"type": "function", "function": {"name": "f"}}]
            for fields in ({"max_tokens": 5}, {"seed": 7}, {"tools": tools}):
                assert (await house.ask(ask_for(SAME, **fields))).header("x-penstock-cache") == "miss"
            assert "similar" not in house.states()

    run(main)


def test_a_stream_is_given_as_a_stream_and_goes_when_it_is_put_out_of_use() -> None:
    """By its tag, as for the same question; tags are of the question that was answered."""

    async def main() -> None:
        whole = [SSE_HEAD, *EVENTS, chunk(DONE), b"0\r\n\r\n"]
        async with caching(whole, cache=ALL) as house:
            await house.ask(ask_for(ASKED, stream=True), "x-penstock-cache-tags: accounts\r\n")
            second = await house.ask(ask_for(SAME, stream=True))
            assert second.complete
            assert second.header("x-penstock-cache-similarity") is not None
            assert second.body.endswith(DONE)
            assert await house.gateway.caching.invalidate(Invalidated(tag="accounts")) == (1, None)
            assert (await house.ask(ask_for(SAME, stream=True))).header("x-penstock-cache") == "miss"

    run(main)


def test_what_is_evicted_is_not_found_any_more() -> None:
    """Vectors are bounded by the answers: with room for one there is one."""

    async def main() -> None:
        async with caching([answer(USED)], cache={"entries": 1, **ALL}) as house:
            for text in (ASKED, OTHER):
                await house.ask(ask_for(text))
            assert (await house.ask(ask_for(SAME))).header("x-penstock-cache") == "miss"
            similar = house.gateway.plane.similar
            assert similar is not None
            assert len(similar) == 1  # type: ignore[arg-type]

    run(main)


def test_an_answer_that_broke_is_nobodys() -> None:
    """It is not kept, so a question in other words is sent as well."""

    async def main() -> None:
        broken = [SSE_HEAD, EVENTS[0], CLOSE]
        async with caching(broken, [answer(USED)], cache=ALL, retries={"attempts": 1}) as house:
            await house.ask(ask_for(ASKED, stream=True))
            assert (await house.ask(ask_for(SAME, stream=True))).header("x-penstock-cache") == "miss"
            assert house.states() == ["miss", "miss"]

    run(main)


def test_a_reload_switches_it_on_and_off() -> None:
    """The cache's own answers stay."""

    async def main() -> None:
        async with caching([answer(USED)]) as house:
            plane = house.gateway.plane
            await house.ask(ask_for(ASKED))
            assert plane.similar is None
            for block, there in (("{semantic: {mode: all}}", True), ("{}", False)):
                replica = f"{{id: r0, url: '{house.engine.url}', max_concurrent_requests: 64}}"
                pools = f"[{{name: p, models: [m], probe: {{enabled: false}}, replicas: [{replica}]}}]"
                file = f"listen: 127.0.0.1:0\nadmin: null\ncache: {block}\npools: {pools}"
                house.gateway._apply(load(file, {}, read_text))
                await until(lambda there=there: (plane.similar is not None) == there, "the reload")  # type: ignore[misc]
                assert (await house.ask(ask_for(ASKED))).header("x-penstock-cache") == "hit"

    run(main)
