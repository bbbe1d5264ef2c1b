"""Real llama-servers: their pages as the dialect reads them, and a gateway in front of two of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.dialects.about import about, owner
from penstock.adapters.dialects.llamacpp import Llamacpp
from penstock.base.nouns import EngineStats
from tests.e2e.conftest import Start
from tests.helpers.llama_servers import SLOTS, LlamaServer
from tests.helpers.processes import Gateway, ending
from tests.helpers.tiny_gguf import CONTEXT
from tests.helpers.traffic import Traffic, ask, at_rest, chat, eventually, order, pool, post, ready, said, states
from tests.helpers.wire import Client, run

pytestmark = [pytest.mark.real_engine, pytest.mark.slow]

DIALECT = Llamacpp()
LONG = {"prompt": "Once upon a time", "max_tokens": 30_000, "stream": True, "ignore_eos": True, "model": "tiny"}
PROMPT = "The quick brown fox jumps over the lazy dog. " * 40
"""Of 1,800 tokens."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LlamaServer]]:
    """Two servers for all tests of this file that end none."""
    folder = tmp_path_factory.mktemp("llama")
    with ending(LlamaServer(folder, name="a"), LlamaServer(folder, name="b", aliases="tiny,small")) as started:
        found = [one for one in started if isinstance(one, LlamaServer)]
        yield [server.await_ready() for server in found]


def llamas(*servers: LlamaServer, **more: Any) -> dict[str, Any]:
    """A pool over these servers, which are to be recognised."""
    replicas = [{"url": server.url, "engine": "auto"} for server in servers]
    return {**pool(), "replicas": replicas, **more}


def stats(server: LlamaServer) -> EngineStats:
    """Its numbers."""
    status, page = server.get("/metrics")
    assert status == 200
    return DIALECT.stats(page)


def busy(server: LlamaServer) -> int:
    """Slots in which it works."""
    return DIALECT.stats(server.get("/slots")[1]).running or 0


async def idle(*servers: LlamaServer) -> None:
    """Wait until none of them works any more."""

    async def so() -> bool:
        return sum(map(busy, servers)) == 0

    await eventually(so, "free slots", 2.0)


async def known(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    """The fleet, once so many are known for what they are and have told their numbers."""
    views: list[dict[str, Any]] = []

    async def so() -> bool:
        views[:] = await said(gateway.admin_port, "/admin/fleet")
        told = [view for view in views if view["engine"] == "llamacpp" and view["stats"] is not None]
        return len(told) >= count

    await eventually(so, f"{count} known llama-servers", 20.0)
    return views


def test_its_pages_are_understood(servers: list[LlamaServer]) -> None:
    """Health, names with aliases, signature, build, slots, context, and both pages of numbers."""
    one, other = servers
    assert DIALECT.alive(one.get(DIALECT.health_path)[0])
    names = one.get(DIALECT.models_path)[1]
    assert (DIALECT.models(names), owner(names).engine) == (("tiny",), "llamacpp")
    assert sorted(DIALECT.models(other.get(DIALECT.models_path)[1])) == ["small", "tiny"]
    found = about("llamacpp", one.get("/props")[1])
    assert (found.seats, found.max_model_len) == (SLOTS, CONTEXT)
    assert found.version
    numbers = stats(one)
    assert (numbers.running, numbers.waiting) == (0, 0)
    assert numbers.prefix_queries is not None
    assert DIALECT.stats(one.get("/slots")[1]) == EngineStats(running=0)


def test_it_is_not_alive_before_its_model_is_loaded(tmp_path: Path) -> None:
    """From its first answer on it says 503 until it can serve, and then 200."""
    server = LlamaServer(tmp_path)
    with ending(server):
        found: list[int] = []

        async def up() -> bool:
            status, _ = server.get(DIALECT.health_path)
            found.append(status)
            return status == 200

        run(lambda: eventually(up, "a server that serves", 30.0), 40.0)
    assert set(found) <= {0, 503, 200}


def test_seats_are_its_slots(start: Start, servers: list[LlamaServer]) -> None:
    """Who they are is found out; each gets as many calls at once as it has slots."""
    gateway = start({"pools": [llamas(*servers)]})

    async def main() -> None:
        views = await known(gateway, 2)
        assert {(view["engine"], view["seats"], view["max_model_len"]) for view in views} == {
            ("llamacpp", SLOTS, CONTEXT)
        }
        assert all(view["version"] for view in views)

    run(main, 30.0)


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_counted_as_the_server_counts_them(start: Start, servers: list[LlamaServer], stream: bool) -> None:
    """Also those of a stream whose client has not asked for usage, and those from the cache."""
    gateway = start({"pools": [llamas(servers[0])]})
    body = chat(7, text=PROMPT, stream=stream)

    async def main() -> None:
        await known(gateway, 1)
        for _ in range(2):
            answer = await ask(gateway.port, body)
            assert answer.status == 200
            assert (b'"usage":{' in answer.body) is not stream, "what the client did not ask for is taken out"
        page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
        tokens = {
            line.split('kind="')[1].split('"')[0]: float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.startswith("penstock_tokens_total{")
        }
        told = (await ask(servers[0].port, chat(7, text=PROMPT))).body
        usage = json.loads(told)["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] > 0.9 * usage["prompt_tokens"]
        assert tokens["prompt"] == 2 * usage["prompt_tokens"]
        assert tokens["completion"] == 2 * usage["completion_tokens"]
        assert tokens["cached"] >= 0.9 * usage["prompt_tokens"]

    run(main, 30.0)


@pytest.mark.parametrize("named", ["", "X-Conversation-Id: mine\r\n"], ids=["plain", "named"])
def test_a_client_that_leaves_frees_the_slot(start: Start, servers: list[LlamaServer], named: str) -> None:
    """Also where its request names a stream that the server would keep for whoever comes back."""
    gateway = start({"pools": [llamas(servers[0])]})
    request = post(json.dumps(LONG).encode(), "/v1/completions").replace(b"\r\n", b"\r\n" + named.encode(), 1)

    async def main() -> None:
        await known(gateway, 1)
        async with Client(gateway.port) as client:
            client.send(request)
            await client.reader.readuntil(b"data: ")
            assert busy(servers[0]) == 1
        await idle(servers[0])
        await at_rest(gateway)

    run(main, 30.0)


def test_the_loser_of_a_hedge_stops(start: Start, servers: list[LlamaServer]) -> None:
    """Both begin; from the first content on one works on, and once its client has left, none."""
    gateway = start({"pools": [llamas(*servers, hedge={"delay": 0, "budget": 1})]})

    async def main() -> None:
        await known(gateway, 2)
        async with Client(gateway.port) as client:
            client.send(post(json.dumps(LONG).encode(), "/v1/completions"))
            await client.reader.readuntil(b"data: ")

            async def one() -> bool:
                return sum(map(busy, servers)) == 1

            await eventually(one, "one server at work", 2.0)
            await client.reader.readuntil(b"data: ")
        await idle(*servers)
        page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
        hedges = [line for line in page.splitlines() if line.startswith("penstock_hedges_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in hedges) == 1

    run(main, 30.0)


def test_a_prompt_goes_where_its_beginning_is(start: Start, servers: list[LlamaServer]) -> None:
    """Two long prompts in turn: each server computes only one of them, and takes the rest out of its cache; why is
    explained."""
    gateway = start({"pools": [llamas(*servers)]})
    texts = [letter * 1500 for letter in "xy"]

    async def main() -> None:
        await known(gateway, 2)
        before = [stats(server) for server in servers]
        places: dict[str, set[str | None]] = {}
        id: str | None = None
        for turn in range(6):
            for text in texts:
                answer = await ask(gateway.port, chat(2, text=text + " " * turn))
                assert answer.status == 200
                places.setdefault(text[0], set()).add(answer.header("x-penstock-replica"))
                id = answer.header("x-request-id")
        assert all(len(found) == 1 for found in places.values())
        after = [stats(server) for server in servers]
        queries = sum((b.prefix_queries or 0) - (a.prefix_queries or 0) for a, b in zip(before, after, strict=True))
        hits = sum((b.prefix_hits or 0) - (a.prefix_hits or 0) for a, b in zip(before, after, strict=True))
        assert hits > 0.75 * queries
        found = await said(gateway.admin_port, f"/admin/explain/{id}")
        assert "prefix" in [scorer["name"] for scorer in found["choices"][0]["scorers"]]

    run(main, 30.0)


def test_what_is_too_long_is_the_clients_mistake(start: Start, servers: list[LlamaServer]) -> None:
    """The server's own answer comes through: 400, with how long it may be; nobody is blamed, nothing is asked again."""
    gateway = start({"pools": [llamas(*servers)]})

    async def main() -> None:
        await known(gateway, 2)
        answer = await ask(gateway.port, chat(5, text="x" * (CONTEXT + 10)))
        error = json.loads(answer.body)["error"]
        assert (answer.status, error["type"], error["n_ctx"]) == (400, "exceed_context_size_error", CONTEXT)
        assert answer.header("x-penstock-attempts") == "1"
        assert set((await states(gateway)).values()) == {"healthy"}

    run(main, 30.0)


def test_what_it_cannot_do_is_an_answer(start: Start, servers: list[LlamaServer]) -> None:
    """A server of chats says 501 to embeddings: the client gets that, and nobody is taken out for it."""
    gateway = start({"pools": [llamas(*servers)]})

    async def main() -> None:
        await known(gateway, 2)
        for _ in range(12):
            answer = await ask(gateway.port, b'{"model":"tiny","input":"x"}', "/v1/embeddings")
            assert (answer.status, json.loads(answer.body)["error"]["type"]) == (501, "not_supported_error")
        assert set((await states(gateway)).values()) == {"healthy"}
        assert (await ask(gateway.port, chat(2))).status == 200

    run(main, 30.0)


def test_killing_one_is_seen_by_nobody_who_waits(start: Start, servers: list[LlamaServer], tmp_path: Path) -> None:
    """SIGKILL of one of two under load: only streams that had begun there end in an error."""
    victim = LlamaServer(tmp_path, name="victim")
    with ending(victim):
        victim.await_ready()
        gateway = start({"pools": [llamas(victim, servers[0])]})

        async def main() -> None:
            await known(gateway, 2)
            traffic = Traffic(gateway, 6)
            async with traffic.flowing():
                await traffic.more(20)
                victim.kill()
                await traffic.more(40)
            assert set(traffic.errors()) <= {"stream_error died_mid_answer"}
            assert len(traffic.errors()) <= SLOTS
            answer = await ask(gateway.port, chat(3))
            assert answer.header("x-penstock-replica") == f"127.0.0.1:{servers[0].port}"

        run(main, 60.0)


def test_a_drained_server_finishes_what_it_has(start: Start, servers: list[LlamaServer]) -> None:
    """Its stream goes on to its end while new calls go to the other; then it works on nothing."""
    gateway = start({"pools": [llamas(*servers)]})

    async def main() -> None:
        await known(gateway, 2)
        async with Client(gateway.port) as client:
            client.send(post(json.dumps({**LONG, "max_tokens": 1500}).encode(), "/v1/completions"))
            await client.reader.readuntil(b"data: ")
            (at,) = [server for server in servers if busy(server)]
            status, _ = await order(gateway, "POST", f"/admin/fleet/127.0.0.1:{at.port}/drain")
            assert status == 200
            for _ in range(4):
                answer = await ask(gateway.port, chat(2))
                assert answer.header("x-penstock-replica") != f"127.0.0.1:{at.port}"
            await client.reader.readuntil(b"data: [DONE]")
        await idle(at)

    run(main, 60.0)


def test_embeddings(start: Start, tmp_path: Path) -> None:
    """A server of embeddings answers them through the gateway."""
    server = LlamaServer(tmp_path, "--embeddings", "--pooling", "mean", name="embedding")
    with ending(server):
        server.await_ready()
        gateway = start({"pools": [llamas(server)]})

        async def main() -> None:
            await ready(gateway)
            body = json.dumps({"model": "tiny", "input": ["one", "two"]}).encode()
            answer = await ask(gateway.port, body, "/v1/embeddings")
            assert answer.status == 200
            assert [len(one["embedding"]) for one in json.loads(answer.body)["data"]] == [256, 256]

        run(main, 30.0)
