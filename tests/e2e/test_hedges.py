"""Hedges over processes and sockets: the client gets the quick replica's answer, the slow one is let go."""

import json
import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import ENDLESS, SLOW, ask, at_rest, chat, engine, eventually, pool, post, ready, said, seen
from tests.helpers.wire import Client, run

SLOWER = SLOW / 30
"""Speed of an engine that needs more than half a second to its first token."""
FREED_S = 2.0


async def running(*ports: int) -> list[float]:
    """How many requests run at each of these engines."""
    return [(await engine(port))["running"] for port in ports]


async def hedged(gateway: Gateway) -> dict[str, float]:
    """The gateway's count of hedges, by what came of them."""
    page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
    lines = [line for line in page.splitlines() if line.startswith("penstock_hedges_total{")]
    return {line.split('result="')[1].split('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
def test_a_slow_replica_costs_a_delay_and_not_its_slowness(start: Start, tmp_path: Path, stream: bool) -> None:
    """Of calls in turn some meet the slow replica: all are answered by the quick one, the slow one works on none of
    them afterwards, and is not blamed."""
    slow, quick = Emulators(tmp_path, SLOWER, name="slow"), Emulators(tmp_path, name="quick")
    with ending(slow, quick):
        hedge = {"delay": "200ms", "budget": 1}
        gateway = start({"pools": [pool(*slow.urls, *quick.urls, strategy="round_robin", hedge=hedge)]})

        async def main() -> None:
            await ready(gateway, 2)
            for number in range(4):
                found = await ask(gateway.port, chat(5, stream=stream), id=f"h{number}")
                assert found.status == 200
                assert found.header("x-penstock-replica") == f"127.0.0.1:{quick.ports[0]}"

            async def free() -> bool:
                return await running(*slow.ports, *quick.ports) == [0.0, 0.0]

            await eventually(free, "engines without work", FREED_S)
            ends = await seen(*slow.ports)
            assert set(ends.values()) == {"aborted"}
            assert (await hedged(gateway)).get("won") == len(ends) >= 1
            views = await said(gateway.admin_port, "/admin/fleet")
            assert [(view["failed"], view["breaker"]) for view in views] == [(0, "closed")] * 2
            await at_rest(gateway)

        run(main, 30.0)


async def one_goes_on(gateway: Gateway, ports: list[int], body: bytes, path: str) -> None:
    """Both engines get a long stream at once; from its first content on only one works, until its client leaves."""
    await ready(gateway, 2)
    async with Client(gateway.port) as client:
        client.send(post(body, path))
        await client.reader.readuntil(b"data: ")

        async def one() -> bool:
            return sorted(await running(*ports)) == [0.0, 1.0]

        await eventually(one, "one engine at work", FREED_S)
        await client.reader.readuntil(b"data: ")
        assert await one(), "the winner goes on"

    async def none() -> bool:
        return await running(*ports) == [0.0, 0.0]

    await eventually(none, "engines without work", FREED_S)
    await at_rest(gateway)
    assert sum((await hedged(gateway)).values()) == 1


@pytest.mark.slow
def test_the_loser_stops_while_the_winner_goes_on(start: Start, tmp_path: Path) -> None:
    """Two equal engines, both asked at once: one of them is let go within two seconds."""
    emulators = Emulators(tmp_path, SLOW, SLOW, name="equal")
    with ending(emulators):
        hedge = {"delay": 0, "budget": 1}
        gateway = start({"pools": [pool(*emulators.urls, hedge=hedge)]})
        run(lambda: one_goes_on(gateway, emulators.ports, chat(ENDLESS, stream=True), "/v1/chat/completions"), 30.0)


@pytest.mark.real_engine
def test_a_real_engine_stops_for_the_loser(start: Start) -> None:
    """The same with two real vLLM: the loser's running count is 0 within two seconds."""
    urls = os.environ.get("PENSTOCK_REAL_ENGINES", "").split()
    if len(urls) < 2:
        pytest.skip("needs two addresses in PENSTOCK_REAL_ENGINES")
    ports = [int(url.rpartition(":")[2]) for url in urls[:2]]
    gateway = start({"pools": [pool(*urls[:2], hedge={"delay": 0, "budget": 1})]})
    words = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 3000, "stream": True, "ignore_eos": True}
    run(lambda: one_goes_on(gateway, ports, json.dumps(words).encode(), "/v1/completions"), 60.0)
