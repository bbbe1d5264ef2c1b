"""A group on the wire: one request for several clients, and every way in which its answer can be none."""

import asyncio
import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from penstock.core.effects import Aboard, Cancel, Carry, Send
from penstock.core.events import Arrived, Began, Ended, Failed
from penstock.core.spec import BatchingSpec, GateSpec, PoolSpec
from tests.helpers.plane import Rig, only, replicas_of, serving
from tests.helpers.wire import CLOSE, HANG, Answer, Client, Engine, Script, answer, chunk, request, run, until

GATE = GateSpec(pools=(PoolSpec(name="p", batching=BatchingSpec()),))
PATH = "/v1/embeddings"


def embed(text: str) -> bytes:
    """A request for an embedding."""
    return request(json.dumps({"model": "m", "input": text}).encode(), PATH)


def vectors(count: int, size: int = 1) -> bytes:
    """An engine's answer to so many inputs; each embedding tells its number."""
    data = [{"object": "embedding", "index": at, "embedding": [at] * size} for at in range(count)]
    usage = {"prompt_tokens": 10 * count, "total_tokens": 10 * count}
    return json.dumps({"object": "list", "data": data, "model": "m", "usage": usage}).encode()


def chunked(body: bytes) -> bytes:
    """An answer without a length."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + chunk(body[:100]) + chunk(body[100:]) + b"0\r\n\r\n"


def sent(rig: Rig, clients: int, **order: float) -> None:
    """Send all calls that have arrived as one."""
    ids = [fact.call.id for fact in rig.gate.told(Arrived)]
    assert len(ids) == clients
    assert len({fact.alike for fact in rig.gate.told(Arrived)}) == 1
    rig.plane.perform(Carry("group/x", tuple(Aboard(id, 0.025) for id in ids)))
    rig.plane.perform(replace(Send("group/x", 1, "r0", "m", 1.0, 5.0, 5.0, 0.0), **order))


def group(
    script: Script, texts: list[str], act: Callable[[Rig, list[Client], Engine], None] | None = None,
    whole: bool = True, **order: float,
) -> tuple[list[Answer], Rig, Engine]:  # fmt: skip
    """These clients' requests as one; what the engine says to it is the script. Where it comes to nothing the calls end
    when their clients leave."""

    async def main() -> tuple[list[Answer], Rig, Engine]:
        async with Engine([script]) as engine, serving(engine, gate=GATE, replicas=replicas_of([engine])) as rig:
            rig.gate.hold = True
            clients = [Client(rig.port) for _ in texts]
            answers: list[Answer] = []
            for number, (client, text) in enumerate(zip(clients, texts)):
                await client.__aenter__()
                client.send(embed(text))
                await until(lambda number=number: len(rig.gate.told(Arrived)) == number + 1)  # type: ignore[misc]
            sent(rig, len(texts), **order)
            if act is not None:
                await until(lambda: bool(engine.got))
                act(rig, clients, engine)
            if whole:
                answers = [await client.answer() for client in clients]
            else:
                await until(lambda: bool(rig.gate.told(Failed)) or engine.gone == 1)
            rig.plane.perform(Carry("group/x"))
            assert not rig.plane.carriages
            for client in clients:
                await client.__aexit__(None, None, None)
            return answers, rig, engine

    return run(main)


def test_one_request_and_an_answer_for_each() -> None:
    """The engine gets all inputs in one list; each client gets its own, framed and headed as an answer of its own; the
    Gate hears of each, with its share, and then of the group."""
    answers, rig, engine = group([answer(vectors(3))], ["a", "bb", "c"])
    (got,) = engine.got
    assert json.loads(got.body) == {"model": "m", "input": ["a", "bb", "c"]}
    assert [json.loads(one.body)["data"][0]["embedding"] for one in answers] == [[0], [1], [2]]
    assert {one.header("x-penstock-replica") for one in answers} == {"r0"}
    assert {one.header("x-penstock-queue-ms") for one in answers} == {"25"}
    assert len({one.header("x-request-id") for one in answers}) == 3
    ended = rig.gate.told(Ended)
    assert [fact.id for fact in ended] == [*(fact.call.id for fact in rig.gate.told(Arrived)), "group/x"]
    assert [fact.usage.prompt_tokens for fact in ended] == [8, 15, 7, 30]


@pytest.mark.parametrize("size", [1, 150_000])
def test_however_the_answer_comes(size: int) -> None:
    """In chunks without a length, and larger than what is held of one call's answer."""
    answers, rig, _ = group([chunked(vectors(2, size))], ["a", "b"])
    assert [json.loads(one.body)["data"][0]["embedding"][-1] for one in answers] == [0, 1]
    assert len(rig.gate.told(Began)) == (size > 1)


BAD: dict[str, tuple[Script, str, int]] = {
    "a refusal": ([answer(b'{"error":{}}', 400)], "bad_request", 400),
    "a part too few": ([answer(vectors(1))], "bad_request", 200),
    "no JSON": ([answer(b"hello", content_type="text/plain")], "bad_request", 200),
    "compressed": ([answer(vectors(2), extra="content-encoding: br\r\n")], "bad_request", 200),
    "too large": ([answer(vectors(2, 3_000_000))], "bad_request", 200),
    "a stream": (
        [answer(b'data: {"error":{"code":400}}\n\n', content_type="text/event-stream")], "bad_request", 400,
    ),
    "an error": ([answer(b"{}", 500)], "upstream_5xx", 500),
    "an end": ([CLOSE], "closed_early", 0),
    "half an answer": ([answer(vectors(2))[:-5], CLOSE], "died_mid_answer", 200),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_taken_apart_is_a_failure_of_the_group(what: str) -> None:
    """No client sees any of it, and all their requests are kept, to be tried alone."""
    script, label, status = BAD[what]

    def kept(rig: Rig, clients: list[Client], engine: Engine) -> None:
        assert rig.plane.buffered_bytes > 0

    _, rig, _ = group(script, ["a", "b"], kept, whole=False)
    fact = only(rig.gate.facts, Failed)
    assert (fact.id, fact.label, fact.status) == ("group/x", label, status)
    assert rig.gate.told(Ended) == []


def test_an_engine_that_is_silent_takes_too_long() -> None:
    """The time-outs of an attempt hold, though no client's connection watches them."""
    _, rig, _ = group([HANG], ["a", "b"], whole=False, first_byte_timeout_s=0.05)
    assert only(rig.gate.facts, Failed).label == "first_byte_timeout"


def test_a_group_is_cancelled_like_an_attempt() -> None:
    """Its engine sees the connection close, and nothing is told of it."""

    def cancel(rig: Rig, clients: list[Client], engine: Engine) -> None:
        rig.plane.perform(Cancel("group/x", 1))

    _, rig, engine = group([HANG], ["a", "b"], cancel, whole=False)
    assert engine.gone == 1
    assert rig.gate.told(Failed) == []


def test_who_has_left_gets_nothing_and_the_others_theirs() -> None:
    """A client that left when the request was out has its part thrown away."""

    async def main() -> None:
        go = asyncio.Event()
        script: Script = [go, answer(vectors(2))]
        async with Engine([script]) as engine, serving(engine, gate=GATE, replicas=replicas_of([engine])) as rig:
            rig.gate.hold = True
            leaving = Client(rig.port)
            await leaving.__aenter__()
            leaving.send(embed("a"))
            await until(lambda: len(rig.gate.told(Arrived)) == 1)
            async with Client(rig.port) as staying:
                staying.send(embed("b"))
                await until(lambda: len(rig.gate.told(Arrived)) == 2)
                sent(rig, 2)
                await until(lambda: bool(engine.got))
                await leaving.__aexit__(None, None, None)
                await until(lambda: len(rig.plane.exchanges) == 1)
                go.set()
                assert json.loads((await staying.answer()).body)["data"][0]["embedding"] == [1]
            rig.plane.perform(Carry("group/x"))

    run(main)


def test_without_a_replica_or_anybody_aboard_there_is_no_attempt() -> None:
    """A replica that is gone meanwhile refuses, as for a call."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, gate=GATE) as rig:
            rig.plane.perform(Carry("group/x", (Aboard("nobody", 0.0),)))
            for replica in ("gone", "r0"):
                rig.plane.perform(Send("group/x", 1, replica, "m", 1.0, 5.0, 5.0, 0.0))
            await until(lambda: len(rig.gate.told(Failed)) == 2)
            rig.plane.perform(Carry("group/x"))

    run(main)
