"""Benchmarks over scripted engines: what is asked, what is timed, and every way in which one can fail."""

import json
from typing import Any

import pytest

from penstock.base.nouns import Replica
from penstock.config.schema import Access
from penstock.core.effects import BENCHMARK, Bench, Cancel, Probe
from penstock.core.events import Benched
from penstock.gateway.call.benchmark import CHAT, COMPLETIONS, NoAnswer, Timed, request
from tests.helpers.plane import Rig, serving
from tests.helpers.wire import (
    CLOSE,
    DONE,
    END,
    HANG,
    ROLE,
    SSE_HEAD,
    Engine,
    Script,
    answer,
    chunk,
    event,
    run,
    stream,
    until,
)

BENCH = Bench(7, "own-name", 5, 3, 2)
ERROR = b'data: {"error":{"message":"out of memory","code":500}}\n\n'


def text(token: str) -> bytes:
    """A completion chunk with this text."""
    return b'data: {"id":"x","choices":[{"index":0,"text":"%b","finish_reason":null}]}\n\n' % token.encode()


def usage(tokens: int) -> bytes:
    """The chunk that tells the usage."""
    return b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n' % tokens


GOOD: Script = [SSE_HEAD, chunk(text("a")), chunk(text("b")), chunk(text("c") + DONE), END]


async def benched(rig: Rig, timeout_s: float = 2.0, bench: Bench = BENCH) -> Benched:
    """Order one, and what is told of it."""
    rig.plane.perform(Probe("r0", "bench", timeout_s, bench))
    await until(lambda: bool(rig.gate.facts), "Benched")
    (fact,) = rig.gate.facts
    assert isinstance(fact, Benched)
    await until(lambda: rig.plane.outbound.open == 0, "no connection")
    return fact


def told(*scripts: Script, timeout_s: float = 2.0, **replica: Any) -> tuple[Benched, Engine]:
    """What comes of a benchmark of an engine that plays these scripts."""

    async def main() -> tuple[Benched, Engine]:
        async with Engine(scripts) as engine:
            fleet = (Replica(id="r0", url=engine.url, pool="p", **replica),)
            access = {"r0": Access(api_key="sk-1", headers=(("x-a", "b"),))}
            async with serving(engine, replicas=fleet, access=access) as rig:
                return await benched(rig, timeout_s), engine

    return run(main)


def test_requests_are_streamed_completions() -> None:
    """As many as ordered, one after the other, with the replica's own key, headers and name of the model."""
    fact, engine = told(GOOD)
    assert (fact.replica, fact.number, fact.ok, fact.detail) == ("r0", 7, True, "")
    assert fact.ttft_s is not None
    assert 0 < fact.ttft_s < 2
    assert [got.line for got in engine.got] == [b"POST /v1/completions HTTP/1.1"] * 2
    assert [got.connection for got in engine.got] == [1, 2]
    assert engine.got[0].header("authorization") == "Bearer sk-1"
    assert (engine.got[0].header("x-a"), engine.got[0].header("content-type")) == ("b", "application/json")
    first, second = (json.loads(got.body) for got in engine.got)
    prompts = [first.pop("prompt"), second.pop("prompt")]
    assert first == second
    assert first == {
        "model": "own-name", "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    assert [len(prompt.split()) for prompt in prompts] == [5, 5]


def test_prompts_are_new_from_their_beginning() -> None:
    """No prefix cache has a block of them, be it as short as sixteen tokens."""
    many = Bench(1, "m", 16, 3, 1)
    prompts = {json.loads(request(COMPLETIONS, many, "vllm"))["prompt"] for _ in range(50)}
    assert len(prompts) == 50


@pytest.mark.parametrize("engine, goes_on", [("vllm", True), ("sglang", True), ("generic", False), ("ollama", False)])
def test_engines_that_can_are_told_to_go_on(engine: Any, goes_on: bool) -> None:
    """An answer that ended at its first token would tell no speed; others might not know the field."""
    assert ("ignore_eos" in json.loads(request(COMPLETIONS, BENCH, engine))) is goes_on


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_engine_that_only_has_chat_is_asked_there(status: int) -> None:
    """What is not there is asked once."""
    fact, engine = told([answer(b"{}", status)], stream("a", "b", "c"))
    assert fact.ok
    paths = [got.line.split()[1].decode() for got in engine.got]
    assert paths == [COMPLETIONS, CHAT, CHAT]
    assert json.loads(engine.got[1].body)["messages"][0]["role"] == "user"


@pytest.mark.parametrize(
    "script, detail",
    [
        ([answer(b"{}", 400)], "status 400"),
        ([answer(b"{}", 503)], "status 503"),
        ([CLOSE], "ConnectionError"),
        ([SSE_HEAD, chunk(text("a")), CLOSE], "ConnectionError"),
        ([HANG], "TimeoutError"),
        ([SSE_HEAD, chunk(text("a")), HANG], "TimeoutError"),
        ([b"garbage\r\n\r\n", HANG], "FramingError"),
        ([SSE_HEAD, chunk(text("a")), chunk(ERROR), END], "the engine failed"),
        ([SSE_HEAD, chunk(ROLE), chunk(DONE), END], "an answer without content"),
        ([answer(b"")], "an answer without content"),
    ],
    ids=["400", "503", "close", "cut", "silence", "half", "garbage", "error event", "no content", "nothing"],
)
def test_whatever_goes_wrong_is_one_fact_with_its_reason(script: Script, detail: str) -> None:
    """And no connection stays open."""
    fact, _ = told(script, timeout_s=0.1)
    assert fact == Benched("r0", 7, detail=detail)


def test_a_second_request_that_fails_fails_it() -> None:
    """Half a benchmark is none."""
    fact, engine = told(GOOD, [CLOSE])
    assert not fact.ok
    assert len(engine.got) == 2


def test_nobody_there_is_a_failure() -> None:
    """A replica that refuses connections, and one that is not known."""

    async def main() -> None:
        async with Engine([GOOD]) as engine:
            fleet = (Replica(id="r0", url="http://127.0.0.1:1", pool="p"),)
            async with serving(engine, replicas=fleet) as rig:
                assert await benched(rig) == Benched("r0", 7, detail="ConnectionRefusedError")
            async with serving(engine, replicas=()) as rig:
                assert await benched(rig) == Benched("r0", 7, detail="unknown replica")

    run(main)


def test_a_cancelled_one_stops_at_its_engine_and_says_nothing() -> None:
    """The connection is closed, so that the engine works for nobody; other numbers and calls are let alone."""

    async def main() -> None:
        async with Engine([[SSE_HEAD, chunk(text("a")), HANG]]) as engine, serving(engine) as rig:
            rig.plane.perform(Probe("r0", "bench", 5.0, BENCH))
            await until(lambda: bool(engine.got))
            rig.plane.perform(Cancel(BENCHMARK + "r0", 6))
            rig.plane.perform(Cancel("r0", 7))
            assert engine.open == 1
            rig.plane.perform(Cancel(BENCHMARK + "r0", 7))
            await until(lambda: engine.gone == 1, "the engine to see it")
            await until(lambda: not rig.plane.outbound.tasks)
            rig.plane.perform(Cancel(BENCHMARK + "r0", 7))
            assert rig.gate.facts == []

    run(main)


def test_one_that_was_cancelled_before_it_began_never_begins() -> None:
    """Ordered and taken back in one turn."""

    async def main() -> None:
        async with Engine([GOOD]) as engine, serving(engine) as rig:
            rig.plane.perform(Probe("r0", "bench", 5.0, BENCH))
            rig.plane.perform(Cancel(BENCHMARK + "r0", 7))
            await until(lambda: not rig.plane.outbound.tasks)
            assert (rig.gate.facts, engine.got) == ([], [])

    run(main)


# ===== what is timed =====


def timed(*reads: tuple[float, bytes]) -> Timed:
    """An answer that was read at these times, after it was asked for at 10.0."""

    async def main() -> Timed:
        times = [10.0]
        page = Timed(1 << 20, lambda: times[-1])
        page.sent()
        for when, data in [(10.25, SSE_HEAD), *reads]:
            times.append(when)
            page.received(data)
        page.received(END)
        await page.done
        return page

    return run(main)


def test_the_first_content_is_what_counts() -> None:
    """Neither the head nor a role is an answer; speed is counted behind the first token."""
    page = timed(
        (10.5, chunk(ROLE)), (11.0, chunk(event("a"))), (11.5, chunk(event("b"))), (12.0, chunk(event("c"))),
        (19.0, chunk(DONE)),
    )  # fmt: skip
    assert page.run(b"") == (1.0, 2.0)


def test_the_engine_counts_its_tokens_itself() -> None:
    """Where it tells the usage, several tokens in one event are counted as what they are."""
    page = timed((11.0, chunk(text("a"))), (13.0, chunk(text("bcde")) + chunk(usage(5))))
    assert page.run(usage(5)) == (1.0, 2.0)


def test_events_may_be_cut_anywhere() -> None:
    """An event counts when its end is here, whatever the reads were."""
    whole = chunk(text("a"))
    page = timed((11.0, whole[:20]), (12.0, whole[20:]), (14.0, chunk(text("b"))))
    assert page.run(b"") == (2.0, 0.5)


@pytest.mark.parametrize("reads", [[(11.0, chunk(text("a")))], [(11.0, chunk(text("a") + text("b")))]])
def test_too_little_tells_no_speed(reads: list[tuple[float, bytes]]) -> None:
    """One token, or all of them in one read."""
    assert timed(*reads).run(b"") == (1.0, None)


def test_an_error_event_spoils_it() -> None:
    """Even behind content."""
    with pytest.raises(NoAnswer):
        timed((11.0, chunk(text("a"))), (12.0, chunk(ERROR))).run(b"")
