"""New replicas are benchmarked over real sockets, and the router uses it before it has sent a single call."""

import pytest

from tests.e2e.conftest import Start
from tests.helpers.traffic import ask, at_rest, chat, engine, eventually, order, pool, ready, said, seen
from tests.helpers.wire import run

pytestmark = pytest.mark.slow


def port_of(url: str) -> int:
    """The port of a URL."""
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize("strategy", ["adaptive", "least_response_time", "p2c_peak_ewma", "resource_based"])
def test_the_quicker_of_two_new_replicas_is_preferred(start: Start, engines: list[str], strategy: str) -> None:
    """Of a quick and a slow engine, both new, the first calls all go to the quick one; the benchmarks are shown, and
    give their seats back."""
    quick, slow = engines[0], engines[3]

    async def main() -> None:
        tree = pool(slow, quick, strategy=strategy)
        benchmark = {"enabled": True, "prompt_tokens": 256, "output_tokens": 16, "repeats": 1}
        gateway = start({"pools": [tree], "benchmark": benchmark})
        await ready(gateway, 2)

        async def done() -> bool:
            views = await said(gateway.admin_port, "/admin/fleet")
            return [view["benchmark"] and view["benchmark"]["state"] for view in views] == ["ok", "ok"]

        await eventually(done, "both benchmarks", 20.0)
        await at_rest(gateway)
        views = {view["id"]: view for view in await said(gateway.admin_port, "/admin/fleet")}
        known = views[quick.partition("//")[2]]["benchmark"], views[slow.partition("//")[2]]["benchmark"]
        assert known[0]["tokens_per_s"] > 2 * known[1]["tokens_per_s"]
        before = len(await seen(port_of(slow)))
        for _ in range(4):  # one after the other, plain and not streamed: what is known of them is estimated
            assert (await ask(gateway.port, chat(3))).status == 200
        assert len(await seen(port_of(slow))) == before
        page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
        assert page.count("\npenstock_replica_benchmark_ttft_seconds{") == 2

    run(main, 40.0)


def test_one_that_is_removed_while_its_benchmark_runs_leaves_at_once(start: Start, engines: list[str]) -> None:
    """Added by the admin API it is benchmarked, for longer than this test lasts; removed, its request is gone from its
    engine as well, and the gateway is at rest."""

    async def main() -> None:
        benchmark = {"enabled": True, "prompt_tokens": 64, "output_tokens": 10_000, "repeats": 1}
        gateway = start({"pools": [pool(engines[0])], "benchmark": benchmark})
        await ready(gateway)
        new = {"pool": "tiny", "url": engines[3], "engine": "vllm", "id": "new", "max_concurrent_requests": 1}
        status, _ = await order(gateway, "POST", "/admin/fleet", new)
        assert status in (200, 201)

        async def works() -> bool:
            return (await engine(port_of(engines[3])))["running"] == 1

        async def rests() -> bool:
            return (await engine(port_of(engines[3])))["running"] == 0

        await eventually(works, "the benchmark to run", 20.0)
        status, _ = await order(gateway, "DELETE", "/admin/fleet/new")
        assert status == 200
        await eventually(rests, "its engine to rest", 5.0)
        await at_rest(gateway, 20.0)

    run(main, 50.0)
