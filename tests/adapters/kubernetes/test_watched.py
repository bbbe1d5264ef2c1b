"""Lists that are kept up by watching: listed once, changed by events, listed again only where nothing else will do."""

import asyncio
from pathlib import Path

import pytest

from penstock.adapters.discovery.kubernetes import SLICES
from penstock.adapters.kubernetes.client import Cluster, Refused
from penstock.adapters.kubernetes.watched import Watched
from tests.helpers.kubernetes import ApiServer, cluster
from tests.helpers.kubernetes_objects import endpoint
from tests.helpers.wire import run, until

pytestmark = pytest.mark.slow

LIST, WATCH = "list endpointslices", "watch endpointslices"


async def names(watched: Watched, watch_s: float = 5.0) -> list[str]:
    """Of what is there, after a look."""
    found = await watched.look(SLICES, {}, watch_s, 10.0)
    return [str(it["metadata"]["labels"]["kubernetes.io/service-name"]) for it in found]


def looking(watched: Watched) -> "asyncio.Task[list[str]]":
    """A look that waits for a change."""
    return asyncio.get_running_loop().create_task(names(watched))


async def seen_watching(server: ApiServer, times: int) -> None:
    """Wait until so many watches were asked for."""
    await until(lambda: server.asked.count(WATCH) == times, "a watch")


def test_changes_come_at_once_and_are_asked_for_only(tmp_path: Path) -> None:
    """The first look lists, page by page; each later one waits for a change, and no list is asked for again."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            for name in ("a", "b", "c"):
                server.serve(name)
            watched = Watched(Cluster(None, config, None))
            assert await names(watched) == ["a", "b", "c"]
            assert server.asked == [LIST, LIST]
            look = looking(watched)
            await seen_watching(server, 1)
            server.serve("d", endpoint("10.0.0.1"))
            assert await look == ["a", "b", "c", "d"]
            server.serve("e")  # between two looks: nobody listens, and it is not missed
            assert await names(watched) == ["a", "b", "c", "d", "e"]
            assert server.asked.count(LIST) == 2

    run(main)


def test_what_is_deleted_goes(tmp_path: Path) -> None:
    """An object that is deleted is there no more."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            server.scale(2)
            watched = Watched(Cluster(None, config, None))
            pods = "/api/v1/namespaces/{namespace}/pods"
            async with Cluster(None, config, None).session(5.0) as session:
                held, _ = await session.list(pods.format(namespace=session.namespace), {})
                assert len(held) == 2
            watched._take("ADDED", held[0])
            watched._take("ADDED", held[1])
            watched._take("DELETED", held[0])
            assert list(watched._objects) == [held[1]["metadata"]["name"]]

    run(main)


def test_a_quiet_watch_ends_and_goes_on(tmp_path: Path) -> None:
    """Where nothing changes the same is answered after its time; a bookmark keeps the version young, so that versions
    that are forgotten meanwhile cost no list."""

    async def main() -> None:
        async with cluster(tmp_path, remembers=3) as (server, config):
            server.serve("a")
            watched = Watched(Cluster(None, config, None))
            assert await names(watched) == ["a"]
            look = asyncio.get_running_loop().create_task(names(watched, 1.0))
            await seen_watching(server, 1)
            server.scale(5)  # other objects change, and drive this one's version out of memory
            assert await look == ["a"]
            server.serve("b")
            assert await names(watched) == ["a", "b"]
            assert server.asked.count(LIST) == 1

    run(main)


def test_forgotten_versions_are_listed_again(tmp_path: Path) -> None:
    """410, in the stream or as a status, means one list, and then watching again."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            server.serve("a")
            watched = Watched(Cluster(None, config, None))
            await names(watched)
            server.serve("b")
            server.forget()
            assert await names(watched) == ["a", "b"]
            server.serve("c")
            server.refuses[WATCH] = (410, "Expired")
            assert await names(watched) == ["a", "b", "c"]
            assert server.asked.count(LIST) == 1 + 1 + 2
            look = looking(watched)
            await seen_watching(server, 3)
            server.serve("d")
            assert await look == ["a", "b", "c", "d"]

    run(main)


def test_after_a_failure_it_is_listed(tmp_path: Path) -> None:
    """A watch that is refused or breaks is an OSError; the look after it lists anew."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            server.serve("a")
            watched = Watched(Cluster(None, config, None))
            await names(watched)
            server.refuses[WATCH] = (500, "etcd is away")
            with pytest.raises(Refused, match="500: etcd is away"):
                await names(watched)
            assert await names(watched) == ["a"]
            assert server.asked.count(LIST) == 2
            look = looking(watched)
            await seen_watching(server, 2)
            server.cut()
            with pytest.raises(OSError, match="cannot be reached"):
                await look
            assert await names(watched) == ["a"]

    run(main)


def test_a_silent_server_costs_its_time_only(tmp_path: Path) -> None:
    """A look ends with its time, whatever the server does."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            watched = Watched(Cluster(None, config, None))
            assert await names(watched) == []
            server.silent = True
            with pytest.raises(TimeoutError):
                await watched.look(SLICES, {}, 5.0, 0.05)

    run(main)


def test_without_watching_it_is_listed_each_time(tmp_path: Path) -> None:
    """A watch of no length is none."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            watched = Watched(Cluster(None, config, None))
            assert await names(watched, 0.0) == await names(watched, 0.0) == []
            assert server.asked == [LIST, LIST]

    run(main)
