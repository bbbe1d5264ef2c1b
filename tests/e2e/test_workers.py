"""Several workers: real processes share the clients, the seats and the end; one that dies costs its own calls only."""

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.counting import Counting
from tests.helpers.processes import Gateway
from tests.helpers.traffic import ask, chat, eventually, order, pool, post, ready, said
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow

PROBE = {"interval": "200ms", "timeout": "2s"}


def counted(engine: Counting, seats: int, **more: object) -> dict[str, object]:
    """A pool over a counting engine."""
    replica = {"url": engine.url, "engine": "generic", "models": ["tiny"], "max_concurrent_requests": seats}
    return {"name": "tiny", "models": ["tiny"], "replicas": [replica], "probe": PROBE, **more}


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def workers_of_calls(gateway: Gateway) -> dict[str, int]:
    """Worker -> how many of the last calls it served, by their ids."""
    counts: dict[str, int] = {}
    for call in await said(gateway.admin_port, "/admin/explain?last=1000"):
        worker = call["id"].partition("w")[2].partition("-")[0]
        counts[worker] = counts.get(worker, 0) + 1
    return counts


async def burst(gateway: Gateway, users: int, each: int) -> list[int]:
    """Statuses of so many users who ask that often, each over a connection of his own; 0: it was lost."""
    statuses: list[int] = []

    async def user() -> None:
        for _ in range(each):
            try:
                statuses.append((await ask(gateway.port, chat(1))).status)
            except (OSError, asyncio.IncompleteReadError, AssertionError, EOFError):
                statuses.append(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(users):
            group.create_task(user())
    return statuses


def test_workers_share_clients_and_one_admin_api(start: Start) -> None:
    """Both workers serve connections to the one port; fleet, counters, explanations and metrics show all calls once."""

    async def main() -> None:
        async with Counting(0.005) as engine:
            gateway = start({"workers": 2, "pools": [counted(engine, 8)]})
            await ready(gateway)
            assert len(children(gateway.pid)) == 2
            assert set(await burst(gateway, 40, 2)) == {200}
            counts = await workers_of_calls(gateway)
            assert sum(counts.values()) == 80
            assert set(counts) == {"1", "2"}
            (view,) = await said(gateway.admin_port, "/admin/fleet")
            assert (view["served"], view["seats"], view["in_flight"]) == (80, 8, 0)
            (waiting,) = await said(gateway.admin_port, "/admin/queues")
            assert (waiting["seats"], waiting["queued"]) == (8, 0)
            page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
            assert re.search(r'penstock_requests_total\{[^}]*outcome="ok"[^}]*\} 80\n', page)
            assert 'penstock_worker_up{worker="2"} 1' in page
            ids = [call["id"] for call in await said(gateway.admin_port, "/admin/explain?last=1000")]
            assert len(set(ids)) == 80
            assert (await said(gateway.admin_port, f"/admin/explain/{ids[0]}"))["outcome"] == "ok"
            gateway.await_logged('"worker":2')
            assert gateway.stop() == 0

    run(main, 60.0)


@pytest.mark.parametrize("seats", [1, 3, 8])
def test_seats_hold_over_all_workers(start: Start, seats: int) -> None:
    """Under a burst of 60 users an engine never has more calls than seats, though each worker decides by itself; and
    all seats are used."""

    async def main() -> None:
        async with Counting(0.01) as engine:
            gateway = start({"workers": 3, "pools": [counted(engine, seats, queue={"timeout": "60s"})]})
            await ready(gateway)
            assert set(await burst(gateway, 60, 5)) == {200}
            assert engine.requests == 300
            assert engine.peak == seats
            assert gateway.stop() == 0

    run(main, 90.0)


def test_a_worker_that_is_killed(start: Start) -> None:
    """SIGKILL of a worker under load: others' calls go on, it comes back and serves, its seats come back, and no engine
    ever has more calls than seats."""

    async def main() -> None:
        async with Counting(0.01) as engine:
            gateway = start({"workers": 2, "pools": [counted(engine, 4, queue={"timeout": "60s"})]})
            await ready(gateway)
            before = children(gateway.pid)
            load = asyncio.create_task(burst(gateway, 40, 12))
            await eventually(_so(lambda: engine.requests > 60), "load")
            os.kill(before[0], signal.SIGKILL)
            statuses = await load
            assert set(statuses) <= {0, 200}
            assert statuses.count(200) > statuses.count(0)
            assert statuses.count(0) <= 12 * 40 / 2
            assert engine.peak == 4
            await eventually(_so(lambda: len(children(gateway.pid)) == 2), "another worker")
            engine.peak = 0
            await eventually(_so(lambda: _up(gateway)), "a worker that serves again")
            assert set(await burst(gateway, 60, 4)) == {200}
            assert engine.peak == 4
            assert len(await workers_of_calls(gateway)) == 2
            (view,) = await said(gateway.admin_port, "/admin/fleet")
            assert view["served"] >= statuses.count(200)
            assert gateway.stop() == 0

    run(main, 90.0)


def _so(true: Callable[[], object]) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def asked() -> bool:
        found = true()
        return bool(await found if asyncio.iscoroutine(found) else found)

    return asked


async def _up(gateway: Gateway) -> bool:
    page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
    return page.count("penstock_worker_up{") == 2 and "} 0" not in "".join(re.findall(r"penstock_worker_up\{.*", page))


def test_reload_and_revoked_keys_reach_all_workers(start: Start) -> None:
    """When a reload is answered, every worker has the new settings: a revoked key is refused on every connection, a
    new one is taken."""
    keys = [{"name": "one", "key": "sk-one"}, {"name": "two", "key": "sk-two"}]

    async def main() -> None:
        async with Counting(0.002) as engine:
            gateway = start({"workers": 2, "keys": keys[:1], "pools": [counted(engine, 8)]})
            await ready(gateway)
            assert {(await ask(gateway.port, chat(1), key="sk-one")).status for _ in range(12)} == {200}
            gateway.write({**gateway.tree, "keys": keys[1:]})
            began = asyncio.get_running_loop().time()
            status, said_ = await order(gateway, "POST", "/admin/reload")
            took_s = asyncio.get_running_loop().time() - began
            assert status == 200
            assert "keys: one removed" in said_["changes"]
            assert took_s < 1.0
            assert {(await ask(gateway.port, chat(1), key="sk-one")).status for _ in range(24)} == {401}
            assert {(await ask(gateway.port, chat(1), key="sk-two")).status for _ in range(24)} == {200}
            assert gateway.stop() == 0

    run(main, 60.0)


def test_changes_of_the_fleet_reach_all_workers(start: Start, engines: list[str]) -> None:
    """A replica that the admin API adds serves calls of both workers; one that it drains gets none of either's."""

    async def main() -> None:
        async with Counting(0.002) as first, Counting(0.002) as second:
            gateway = start({"workers": 2, "pools": [counted(first, 4)]})
            await ready(gateway)
            status, _ = await order(gateway, "POST", "/admin/fleet", {
                "pool": "tiny", "url": second.url, "id": "second", "models": ["tiny"], "max_concurrent_requests": 4,
            })  # fmt: skip
            assert status == 201
            await ready(gateway, 2)
            status, _ = await order(gateway, "POST", f"/admin/fleet/127.0.0.1:{first.port}/drain")
            assert status == 200

            async def moved() -> bool:
                before = first.requests
                assert set(await burst(gateway, 10, 2)) == {200}
                return first.requests == before

            await eventually(moved, "calls to go to the second engine only")
            assert second.requests > 0
            assert gateway.stop() == 0

    run(main, 60.0)


def test_shutdown_lets_answers_finish(start: Start, engines: list[str]) -> None:
    """SIGTERM: streams of both workers come to their end, then all processes end, with status 0."""

    async def main() -> None:
        gateway = start({"workers": 2, "pools": [pool(engines[3])]})
        await ready(gateway)
        pids = children(gateway.pid)
        clients = [Client(gateway.port) for _ in range(8)]
        async with contextlib.AsyncExitStack() as stack:
            for client in clients:
                await stack.enter_async_context(client)
                client.send(post(chat(60, stream=True)))

            async def all_there() -> bool:
                return bool((await said(gateway.admin_port, "/admin/counters"))["seats_taken"] == 8)

            await eventually(all_there, "eight streams")
            gateway.tell(signal.SIGTERM)
            for client in clients:
                answer = await client.answer()
                assert answer.complete
                assert answer.body.endswith(b"data: [DONE]\n\n")
        assert gateway.wait() == 0
        assert not any(map(runs, pids))

    run(main, 60.0)


def test_no_worker_outlives_its_parent(start: Start, engines: list[str]) -> None:
    """SIGKILL of the parent, under calls: its workers end by themselves, and the port can be had again."""

    async def main() -> None:
        gateway = start({"workers": 2, "pools": [pool(engines[3])]})
        await ready(gateway)
        pids = children(gateway.pid)
        assert len(pids) == 2
        async with Client(gateway.port) as client:
            client.send(post(chat(3000, stream=True)))

            async def there() -> bool:
                return bool((await said(gateway.admin_port, "/admin/counters"))["seats_taken"] == 1)

            await eventually(there, "a stream")
            port = gateway.port
            gateway.kill()
            await eventually(_so(lambda: not any(map(runs, pids))), "the workers to end")
        again = start({"workers": 2, "listen": f"127.0.0.1:{port}", "pools": [pool(engines[0])]})
        await ready(again)
        assert (await ask(port, chat(2))).status == 200

    run(main, 60.0)


def test_an_address_that_is_taken_is_said(start: Start, engines: list[str]) -> None:
    """A second gateway on the port of the first, both with workers, ends at once and says why: they would share it."""
    first = start({"workers": 2, "pools": [pool(engines[0])]})
    second = start({"workers": 2, "listen": f"127.0.0.1:{first.port}", "pools": [pool(engines[0])]})
    assert second.wait(20.0) == 1
    assert f"cannot listen on 127.0.0.1:{first.port}" in second.log()


def test_the_ledger_has_all_workers_calls(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Every call that a client was answered is one row of the one database, whichever worker served it, though one is
    killed in between; a gateway with one worker carries over what is left of several."""
    folder = tmp_path / "ledger"

    def rows(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(folder / "ledger.db")) as base:
            return base.execute(statement).fetchall()

    async def main() -> None:
        async with Counting(0.005) as engine:
            gateway = start({"workers": 2, "ledger": {"folder": str(folder)}, "pools": [counted(engine, 8)]})
            await ready(gateway)
            load = asyncio.create_task(burst(gateway, 30, 8))
            await eventually(_so(lambda: engine.requests > 60), "load")
            os.kill(children(gateway.pid)[1], signal.SIGKILL)
            answered = (await load).count(200)
            await eventually(_so(lambda: _up(gateway)), "a worker that serves again")
            answered += (await burst(gateway, 30, 2)).count(200)
            pids = children(gateway.pid)
            gateway.kill()  # the parent too: what it had not carried over waits on disk
            await eventually(_so(lambda: not any(map(runs, pids))), "the workers to end")
            left = start({"ledger": {"folder": str(folder)}, "pools": [counted(engine, 8)]})
            await ready(left)
            text = "SELECT count(*), count(DISTINCT id) FROM calls WHERE outcome = 'ok'"

            async def there() -> bool:
                ((count, distinct),) = rows(text)
                assert count == distinct
                return bool(count >= answered)

            await eventually(there, f"{answered} rows")
            ((count, _),) = rows(text)
            assert count <= engine.requests
            ids = {id.partition("w")[2].partition("-")[0] for (id,) in rows("SELECT id FROM calls")}
            assert ids == {"1", "2"}

    run(main, 90.0)


@pytest.mark.parametrize("crash", [False, True])
def test_limits_hold_over_all_workers(start: Start, crash: bool) -> None:
    """Bursts of 60 against a limit of 200 requests a minute, through three workers: never more are served, and at least
    90 % are; also where a worker is killed in between, whose lease may be lost for the minute."""

    async def main() -> None:
        async with Counting(0.002) as engine:
            tenant = {"name": "t", "limits": {"requests_per_minute": 200, "wait": "2s"}}
            key = {"name": "k", "key": "sk-k", "tenant": "t"}
            gateway = start({"workers": 3, "tenants": [tenant], "keys": [key], "pools": [counted(engine, 64)]})
            await ready(gateway)
            statuses: list[int] = []

            async def user() -> None:
                for _ in range(6):
                    try:
                        statuses.append((await ask(gateway.port, chat(1), key="sk-k")).status)
                    except (OSError, asyncio.IncompleteReadError, AssertionError, EOFError):
                        statuses.append(0)

            async with asyncio.TaskGroup() as group:
                for _ in range(60):
                    group.create_task(user())
                if crash:
                    await eventually(_so(lambda: engine.requests > 40), "load")
                    os.kill(children(gateway.pid)[0], signal.SIGKILL)
            assert set(statuses) <= {200, 429} | ({0, 503} if crash else set())
            served = statuses.count(200)
            assert served <= engine.requests <= 200
            if not crash:
                assert served >= 180
            (view,) = [one for one in await said(gateway.admin_port, "/admin/tenants") if one["kind"] == "tenant"]
            assert view["name"] == "t"
            assert 180 <= view["limits"][0]["used"] <= 200
            assert gateway.stop() == 0

    run(main, 90.0)


@pytest.mark.parametrize("killed", [False, True])
def test_a_restart_gives_no_second_limit(start: Start, tmp_path: Path, killed: bool) -> None:
    """With a ledger two lives of a gateway with workers serve together what an hour's limit allows and no more."""
    tenant = {"name": "t", "limits": {"requests_per_hour": 120, "wait": 0}}
    more = {"workers": 2, "ledger": {"folder": str(tmp_path / "ledger")}, "tenants": [tenant]}

    async def main() -> None:
        async with Counting(0.002) as engine:
            key = {"name": "k", "key": "sk-k", "tenant": "t"}
            tree = {**more, "keys": [key], "pools": [counted(engine, 64)]}
            first = start(tree)
            await ready(first)
            statuses = [(await ask(first.port, chat(1), key="sk-k")).status for _ in range(50)]
            assert set(statuses) == {200}
            pids = children(first.pid)
            if killed:
                first.kill()
                await eventually(_so(lambda: not any(map(runs, pids))), "the workers to end")
            else:
                assert first.stop() == 0
            second = start(tree)
            await ready(second)
            statuses = [(await ask(second.port, chat(1), key="sk-k")).status for _ in range(100)]
            assert set(statuses) == {200, 429}
            assert 108 - 50 <= statuses.count(200) <= 70
            assert second.stop() == 0

    run(main, 60.0)
