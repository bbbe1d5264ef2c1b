"""Replicas that lie, freeze, flap or fail their probes only: over real sockets traffic goes on, nothing oscillates."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import Traffic, ask, eventually, pool, ready, said
from tests.helpers.wire import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """Three quick emulated engines of their own, because they are made ill."""
    emulators = Emulators(tmp_path_factory.mktemp("trio"), 1.0, 1.0, 1.0, name="trio")
    with ending(emulators):
        yield emulators


@pytest.fixture
def trio(three: Emulators) -> Iterator[Emulators]:
    """The three, well at the begin of each test and at its end."""
    yield three

    async def heal() -> None:
        for port in three.ports:
            await ails(port)

    run(heal)


async def ails(port: int, *faults: dict[str, Any]) -> None:
    """From now on the engine at this port has just these faults."""
    body = json.dumps(faults).encode()
    assert (await ask(port, body, "/emulator/faults")).status == 200


async def view(gateway: Gateway, port: int) -> dict[str, Any]:
    """What the gateway shows of the replica at this port."""
    (found,) = (one for one in await said(gateway.admin_port, "/admin/fleet") if one["id"].endswith(f":{port}"))
    assert isinstance(found, dict)
    return found


async def in_panic(gateway: Gateway) -> bool:
    """Whether the one pool panics."""
    (found,) = await said(gateway.admin_port, "/admin/queues")
    return bool(found["panic"])


def test_lying_and_silent_metrics_cost_no_call(start: Start, trio: Emulators) -> None:
    """No replica's metrics can be read, then one claims to be idle and another to be full: every call is answered, and
    only who says that it is full is left alone."""
    gateway = start({"pools": [pool(*trio.urls, scrape={"interval": "100ms", "stale_after": "300ms"})]})
    idle, full, _ = trio.ports

    async def main() -> Traffic:
        await ready(gateway, 3)
        traffic = Traffic(gateway, 12)
        async with traffic.flowing():
            for port in trio.ports:
                await ails(port, {"kind": "wrong_metrics"})
            await traffic.more(200)
            await ails(idle, {"kind": "lying_metrics", "claim": "idle"})
            await ails(full, {"kind": "lying_metrics", "claim": "full"})

            async def left_alone() -> bool:
                one = await view(gateway, full)
                return bool(one["state"] == "overloaded" and one["in_flight"] == 0)

            await eventually(left_alone, "a replica that says it is full to be left alone")
            await traffic.more(200)
            assert await left_alone()
            for port in trio.ports:
                await ails(port)
            before = (await view(gateway, full))["served"]

            async def back() -> bool:
                return bool((await view(gateway, full))["served"] > before)

            await eventually(back, "calls at the replica that lied")
        return traffic

    assert run(main, 40.0).errors() == []


def test_a_frozen_replica_that_answers_probes_is_put_out_and_comes_back(start: Start, trio: Emulators) -> None:
    """It takes calls and never begins an answer, its probes are good: outliers by latency put it out; the calls that
    hung there are answered by others; once it thaws it serves again."""
    frozen = trio.ports[1]
    latency = {"enabled": True, "at_least": "300ms", "requests": 3}
    outliers = {"interval": "1s", "ejection": "1s", "latency": latency}
    more: dict[str, Any] = {
        "outliers": outliers, "timeouts": {"first_byte": "4s"}, "breaker": {"failures": 100, "suspect_after": 100},
        "strategy": "round_robin", "slow_start": {"window": "0s"},
    }  # fmt: skip
    gateway = start({"pools": [pool(*trio.urls, **more)]})

    async def main() -> Traffic:
        await ready(gateway, 3)
        traffic = Traffic(gateway, 20)
        async with traffic.flowing():
            habit = asyncio.get_running_loop().time() + 2.5  # two intervals, for a habit
            await eventually(lambda: reached(habit), "time for a habit")
            await ails(frozen, {"kind": "hang_before_head"})

            async def out() -> bool:
                one = await view(gateway, frozen)
                return bool(one["ejected"] and one["state"] == "unhealthy")

            await eventually(out, "the frozen one to be put out")
            await traffic.more(100)
            await ails(frozen)
            before = (await view(gateway, frozen))["served"]

            async def back() -> bool:
                return bool((await view(gateway, frozen))["served"] > before)

            await eventually(back, "calls at the one that thawed", 20.0)
        return traffic

    assert run(main, 50.0).errors() == []


async def reached(at: float) -> bool:
    """Whether the loop's time has come so far."""
    return asyncio.get_running_loop().time() >= at


def test_a_replica_that_flaps_every_half_second(start: Start, trio: Emulators) -> None:
    """For three seconds one of three resets everything every other half second: no call fails, and the gateway does not
    flap with it."""
    flapping = trio.ports[2]
    gateway = start({"pools": [pool(*trio.urls, probe={"interval": "10s"}, retries={"backoff": "20ms"})]})

    async def main() -> tuple[Traffic, int]:
        await ready(gateway, 3)
        traffic = Traffic(gateway, 12)
        changes, was = 0, "healthy"
        async with traffic.flowing():
            await ails(flapping, {"kind": "flap", "period_s": 0.5})
            end = asyncio.get_running_loop().time() + 3.0

            async def over() -> bool:
                nonlocal changes, was
                one = await view(gateway, flapping)
                now = "unhealthy" if one["state"] == "unhealthy" else "healthy"
                changes, was = changes + (now != was), now
                return await reached(end)

            await eventually(over, "three seconds")
            await ails(flapping)
            await traffic.more(100)
        return traffic, changes

    traffic, changes = run(main, 40.0)
    assert traffic.errors() == []
    assert changes <= 2, "in 3 s it flapped six times"


def test_where_all_probes_fail_calls_are_served(start: Start, trio: Emulators) -> None:
    """The health path of every replica answers 500 while calls are well: the pool panics and serves; it calms down when
    the probes are good again."""
    gateway = start({"pools": [pool(*trio.urls)]})

    async def main() -> Traffic:
        await ready(gateway, 3)
        traffic = Traffic(gateway, 12)
        async with traffic.flowing():
            for port in trio.ports:
                await ails(port, {"kind": "status", "path": "/health"})
            await eventually(lambda: in_panic(gateway), "panic")

            async def all_ill() -> bool:  # panic begins with the second of three
                return {one["state"] for one in await said(gateway.admin_port, "/admin/fleet")} == {"unhealthy"}

            await eventually(all_ill, "all replicas ill")
            page = (await ask(gateway.admin_port, None, "/metrics")).body
            assert b'penstock_pool_panic{pool="tiny"} 1' in page
            await traffic.more(200)
            for port in trio.ports:
                await ails(port)

            async def calm() -> bool:
                return not await in_panic(gateway)

            await eventually(calm, "an end of panic")
            await traffic.more(100)
        return traffic

    assert run(main, 40.0).errors() == []
