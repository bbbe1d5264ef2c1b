"""Reload under load: by the file's change, by SIGHUP and by the admin API; nothing that runs is hurt by it."""

import copy
import json
import signal

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Gateway, Tree
from tests.helpers.traffic import Traffic, ask, chat, eventually, order, pool, ready, said, states
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow


def steps(tree: Tree, engines: list[str]) -> list[Tree]:
    """Three further files: other replicas, another strategy and bounds, another pool and alias."""
    first, second, third = copy.deepcopy(tree), copy.deepcopy(tree), copy.deepcopy(tree)
    first["pools"] = [pool(*engines[1:3])]
    second["pools"] = [pool(*engines[:3], strategy="round_robin", queue={"max": 500}, timeouts={"idle": "30s"})]
    third["pools"] = [pool(*engines[:2], strategy="p2c_peak_ewma"), pool(engines[3], name="other", models=("slow",))]
    third["pools"][1]["replicas"][0]["models"] = {"slow": "tiny"}
    third["aliases"] = {"gpt": "tiny"}
    return [first, second, third]


async def reloads(gateway: Gateway, count: int) -> None:
    """Wait until so many reloads are logged."""

    async def done() -> bool:
        return gateway.log().count(" changes") >= count

    await eventually(done, f"{count} reloads in the log")


def test_reloads_under_load_hurt_nobody(start: Start, engines: list[str]) -> None:
    """Three reloads, one by each way, under 16 users: no error, not even a connection that had to be made again."""
    tree: Tree = {"keys": [{"name": "one", "key": "sk-one"}], "pools": [pool(*engines[:3])]}
    gateway = start(tree)
    first, second, third = steps(gateway.tree, engines)

    async def main() -> Traffic:
        await ready(gateway, 3)
        traffic = Traffic(gateway, 16, "sk-one")
        async with traffic.flowing():
            await traffic.more(50)
            gateway.write(first)  # the watcher sees it
            await reloads(gateway, 1)
            await traffic.more(100)
            assert set(await states(gateway)) == {url.removeprefix("http://") for url in engines[1:3]}
            gateway.write(second)
            gateway.tell(signal.SIGHUP)
            await reloads(gateway, 2)
            await traffic.more(100)
            gateway.write(third)
            status, said_ = await order(gateway, "POST", "/admin/reload")
            assert status == 200
            assert "pool other: added" in said_["changes"]
            await traffic.more(100)
        return traffic

    traffic = run(main, 40.0)
    assert traffic.errors() == []
    assert traffic.refused == 0, "connections are kept over a reload"

    async def after() -> None:
        assert (await ask(gateway.port, chat(2, model="gpt"), key="sk-one")).status == 200
        assert (await ask(gateway.port, chat(2, model="slow"), key="sk-one")).status == 200

    run(after)


def test_a_broken_file_changes_nothing(start: Start, engines: list[str]) -> None:
    """Under load a broken file is logged with its mistakes, whichever way it came, and everything goes on as before."""
    gateway = start({"pools": [pool(*engines[:2])]})

    async def main() -> Traffic:
        await ready(gateway, 2)
        before = await said(gateway.admin_port, "/admin/queues")
        traffic = Traffic(gateway)
        async with traffic.flowing():
            for number, text in enumerate(["pools: [{name: a, replica: []}]", "pools: [", "", "listen: nonsense\n"]):
                gateway.write(text)
                if number % 2:
                    gateway.tell(signal.SIGHUP)
                await _logged(gateway, number + 1)
            status, answer = await order(gateway, "POST", "/admin/reload")
            assert (status, answer["error"]["code"]) == (400, "bad_config")
            assert "listen" in answer["error"]["message"]
            gateway.file.unlink()
            gateway.tell(signal.SIGHUP)
            await traffic.more(100)
            gateway.await_logged("cannot be read")
        names = [(view["name"], view["replicas"]) for view in before]
        assert [(view["name"], view["replicas"]) for view in await said(gateway.admin_port, "/admin/queues")] == names
        gateway.write({**gateway.tree, "aliases": {"gpt": "tiny"}})
        await reloads(gateway, 1)
        assert (await ask(gateway.port, chat(2, model="gpt"))).status == 200
        return traffic

    assert run(main, 40.0).errors() == []
    assert "did you mean" in gateway.log()


async def _logged(gateway: Gateway, refusals: int) -> None:
    """Wait until so many files were refused: each with one line or more, of one reason."""

    async def there() -> bool:
        return (
            len({line.partition('"message"')[2] for line in gateway.log().splitlines() if "refused" in line})
            >= refusals
        )

    await eventually(there, f"{refusals} refusals in the log")


def test_what_needs_a_restart_is_said(start: Start, engines: list[str]) -> None:
    """An address that changes in the file is told to need a restart; the old door stays, the rest is applied."""
    gateway = start({"pools": [pool(engines[0])]})

    async def main() -> None:
        await ready(gateway)
        gateway.write({**gateway.tree, "listen": "127.0.0.1:1", "aliases": {"gpt": "tiny"}})
        _, answer = await order(gateway, "POST", "/admin/reload")
        assert "listen: 127.0.0.1:0 -> 127.0.0.1:1 (needs a restart)" in answer["changes"]
        assert (await ask(gateway.port, chat(2, model="gpt"))).status == 200

    run(main)


def test_keys_and_admin_key(start: Start, engines: list[str]) -> None:
    """Keys of clients and of the admin API change with the file, on open connections too."""
    gateway = start({"keys": [{"name": "one", "key": "sk-one"}], "pools": [pool(engines[0])]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as client:
            gateway.write({**gateway.tree, "keys": [{"name": "two", "key": "sk-two"}], "admin_key": "sk-admin"})
            assert (await order(gateway, "POST", "/admin/reload"))[0] == 200
            assert (await order(gateway, "POST", "/admin/reload"))[0] == 401
            head = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-%b\r\n\r\n"
            client.send(head % b"one")
            assert (await client.answer()).status == 401
            client.send(head % b"two")
            assert [entry["id"] for entry in json.loads((await client.answer()).body)["data"]] == ["tiny"]
        gateway.write(gateway.tree)
        gateway.tell(signal.SIGHUP)
        gateway.await_logged("keys: two removed")

    run(main)
