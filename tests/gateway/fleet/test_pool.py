"""Connections to a replica: kept, bounded, replaced; and heads with the replica's own secrets."""

import asyncio

import pytest

from penstock.base.errors import REFUSALS
from penstock.base.nouns import Replica
from penstock.config.schema import Access, Settings, UpstreamSpec
from penstock.core.effects import Forget
from penstock.core.events import Failed
from penstock.gateway.fleet.pool import Pool, Upstream
from tests.helpers.plane import replicas_of, serving
from tests.helpers.wire import Client, Engine, Script, answer, request, run, until


def test_connections_are_used_again() -> None:
    """One client, many calls, one connection."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            for _ in range(10):
                client.send(request())
                assert (await client.answer()).status == 200
            assert engine.connections == 1
            assert rig.plane.counters()["upstream_idle"] == 1

    run(main)


@pytest.mark.parametrize(
    "spec", [UpstreamSpec(idle=3), UpstreamSpec(idle_per_replica=3)], ids=["in all", "per replica"]
)
def test_idle_connections_are_bounded(spec: UpstreamSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after a crowd only so many are kept."""
    monkeypatch.setattr("penstock.gateway.fleet.outbound.SPARE_S", 0.05)

    async def main() -> None:
        go = asyncio.Event()
        async with Engine([[go, answer()]]) as engine, serving(engine, server={"upstream": spec}) as rig:

            async def one() -> None:
                async with Client(rig.port) as client:
                    client.send(request())
                    assert (await client.answer()).status == 200

            crowd = [asyncio.ensure_future(one()) for _ in range(8)]
            await until(lambda: len(engine.got) == 8)
            go.set()
            await asyncio.gather(*crowd)
            await until(lambda: engine.open == 3)
            assert rig.plane.counters()["upstream_idle"] == 3

    run(main)


def test_idle_connections_are_closed_in_time() -> None:
    """None is kept beyond its keep-alive."""

    async def main() -> None:
        server = {"upstream": UpstreamSpec(keep_alive_s=0.05)}
        async with Engine([[answer()]]) as engine, serving(engine, server=server) as rig, Client(rig.port) as client:
            client.send(request())
            assert (await client.answer()).status == 200
            await until(lambda: engine.open == 0)
            assert rig.plane.counters()["upstream_idle"] == 0

    run(main)


def test_an_idle_connection_that_says_something_is_dropped() -> None:
    """Bytes that nobody asked for (a 408, say) are not taken for the next answer."""

    async def main() -> None:
        go = asyncio.Event()
        stray: Script = [answer(b'{"n":1}'), go, answer(b'{"stray":1}', 408)]
        async with Engine([stray, [answer(b'{"n":2}')]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request())
            assert (await client.answer()).body == b'{"n":1}'
            go.set()
            await until(lambda: rig.plane.outbound.open == 0)
            client.send(request())
            assert (await client.answer()).body == b'{"n":2}'

    run(main)


def test_a_forgotten_replica_keeps_nothing() -> None:
    """Its idle connections close; an answer under way ends."""

    async def main() -> None:
        go = asyncio.Event()
        async with Engine([[answer()], [go, answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request())
            assert (await client.answer()).status == 200
            client.send(request())
            await until(lambda: len(engine.got) == 2)
            rig.plane.perform(Forget("r0"))
            go.set()
            assert (await client.answer()).status == 200
            await until(lambda: engine.open == 0)
            assert not rig.plane.outbound.pools

    run(main)


def test_a_replica_that_moves_gets_fresh_connections_and_one_that_stays_keeps_its_own() -> None:
    """A reload changes what has changed."""

    async def main() -> None:
        async with (
            Engine([[answer(b'{"old":1}')]]) as old,
            Engine([[answer(b'{"new":1}')]]) as new,
            serving(old) as rig,
            Client(rig.port) as client,
        ):
            client.send(request())
            await client.answer()
            rig.plane.apply(rig.settings)
            client.send(request())
            assert (await client.answer()).body == b'{"old":1}'
            assert old.connections == 1
            rig.plane.apply(Settings(server=rig.settings.server, replicas=replicas_of([new])))
            client.send(request())
            assert (await client.answer()).body == b'{"new":1}'
            await until(lambda: old.open == 0)

    run(main)


def test_a_replicas_own_key_and_headers_are_shown() -> None:
    """And a client cannot set them in its place."""

    async def main() -> None:
        access = {
            "r0": Access(
                api_key="sk-up", headers=(("X-Org", "ours"), ("Host", "evil"), ("X-Bad", "a\r\nX-Injected: 1"))
            )
        }
        async with Engine([[answer()]]) as engine, serving(engine, access=access) as rig, Client(rig.port) as client:
            client.send(request(extra="Authorization: Bearer theirs\r\nX-Org: theirs\r\nX-Other: kept\r\n"))
            assert (await client.answer()).status == 200
            (got,) = engine.got
            assert got.header("authorization") == "Bearer sk-up"
            assert got.header("x-org") == "ours"
            assert got.header("x-other") == "kept"
            assert got.header("host") == f"127.0.0.1:{engine.port}"
            assert got.header("x-injected") is None

    run(main)


@pytest.mark.parametrize(
    "base,path,wanted",
    [
        ("", "/v1/embeddings?x=1", "/v1/embeddings?x=1"),
        ("/", "/v1/embeddings", "/v1/embeddings"),
        ("/v1", "/v1/embeddings", "/v1/embeddings"),
        ("/engine/a/v1/", "/v1/embeddings", "/engine/a/v1/embeddings"),
        ("/engine/a", "/rerank", "/engine/a/rerank"),
    ],
)
def test_base_paths_go_in_front(base: str, path: str, wanted: str) -> None:
    """With a trailing /v1, as base URLs of OpenAI clients have it, or without."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, base=base) as rig, Client(rig.port) as client:
            client.send(request(path=path))
            assert (await client.answer()).status == 200
            assert engine.got[0].line == f"POST {wanted} HTTP/1.1".encode()

    run(main)


def test_odd_replica_names_make_clean_headers() -> None:
    """Whatever an id holds, the response header is one visible word."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine:
            replica = Replica(id="a b\r\nx: é", url=engine.url, pool="p")
            async with serving(engine, replicas=(replica,)) as rig, Client(rig.port) as client:
                client.send(request())
                assert (await client.answer()).header("x-penstock-replica") == "a_b__x:__"

    run(main)


@pytest.mark.slow
def test_a_replica_that_answers_before_it_has_read_everything_is_not_asked_again_there() -> None:
    """The rest of that request is still on its way: the connection is no place for another one."""
    connections = 0
    over: asyncio.Event

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"{}", 413))
        await over.wait()
        writer.transport.abort()

    async def main() -> None:
        nonlocal over
        over = asyncio.Event()
        server = await asyncio.start_server(hasty, "127.0.0.1", 0, limit=1 << 12)
        replica = Replica(id="r0", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", pool="p")
        async with serving(replicas=(replica,)) as rig, Client(rig.port) as client:
            for _ in range(2):
                client.send(request(b'{"model":"m","x":"' + b"y" * 20_000_000 + b'"}'))
                assert (await client.answer()).status == 413
            assert connections == 2
            over.set()
        server.close()

    run(main)


@pytest.mark.parametrize(("most", "connections"), [(None, 1), (1, 10), (3, 4), (10, 1)])
def test_a_connection_is_renewed_after_so_many_requests(most: int | None, connections: int) -> None:
    """Ten calls of one client in turn: with a bound of three the fourth connection brings the last; no call is lost."""

    async def main() -> None:
        server = {"upstream": UpstreamSpec(requests_per_connection=most)}
        async with Engine([[answer()]]) as engine, serving(engine, server=server) as rig, Client(rig.port) as client:
            for _ in range(10):
                client.send(request())
                assert (await client.answer()).status == 200
            assert engine.connections == connections
            await until(lambda: engine.open == (0 if most in (1, 10) else 1))

    run(main)


def test_only_so_many_wait_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one call waits for a connection that does not open, the next for that replica goes to another at once; the
    first has its answer when the connection opens. Nobody is lost, the replica is not blamed."""
    opens, go = Pool.open, asyncio.Event()

    async def slowly(self: Pool, port: int) -> Upstream:
        if self.replica.id == "r0":
            await go.wait()
        return await opens(self, port)

    monkeypatch.setattr(Pool, "open", slowly)

    async def main() -> None:
        server = {"upstream": UpstreamSpec(pending_per_replica=1)}
        async with (
            Engine([[answer(b'{"from":0}')]]) as slow,
            Engine([[answer(b'{"from":1}')]]) as quick,
            serving(slow, quick, server=server) as rig,
            Client(rig.port) as first,
            Client(rig.port) as second,
        ):
            first.send(request())
            await until(lambda: rig.plane.counters()["upstream_pending"] == 1)
            for _ in range(2):  # to r1, then to r0 and from there to r1
                second.send(request())
                assert (await second.answer()).body == b'{"from":1}'
            assert [failed.label for failed in rig.gate.told(Failed)] == ["pending_full"]
            go.set()
            assert (await first.answer()).body == b'{"from":0}'
            assert rig.plane.counters()["upstream_pending"] == 0

    run(main)
    assert not REFUSALS["pending_full"].blames_replica


def test_a_client_that_leaves_while_it_waits_for_a_connection_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was cancelled is pending no more."""

    async def never(self: Pool, port: int) -> Upstream:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Pool, "open", never)

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            async with Client(rig.port) as client:
                client.send(request())
                await until(lambda: rig.plane.counters()["upstream_pending"] == 1)
            await until(lambda: rig.plane.counters()["upstream_pending"] == 0)

    run(main)
