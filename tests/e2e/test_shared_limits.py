"""Limits of several gateways together, over real sockets and a real Redis: bursts of sixty at each pass none of them,
nearly all of each is used, and gateways that are killed or a Redis that is stopped change nothing of that."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers import redis
from tests.helpers.processes import Gateway
from tests.helpers.traffic import ask, chat, pool, ready, said
from tests.helpers.wire import Answer, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BURST, GATEWAYS = 60, 3
KEYS = [{"name": "team", "key": "sk-team"}, {"name": "other", "key": "sk-other"}, {"name": "free", "key": "sk-free"}]


@pytest.fixture
def store() -> Iterator[redis.RedisServer]:
    """A Redis of this test alone."""
    with redis.serving() as made:
        yield made


def limited(url: str, *urls: str, shared: dict[str, Any] | None = None, **allowance: Any) -> dict[str, Any]:
    """A gateway whose tenants `team` and `other` may use so much, together with all others at this store."""
    tenants = [{"name": name, "limits": allowance} for name in ("team", "other")]
    return {
        "pools": [pool(*urls)], "keys": KEYS, "tenants": [*tenants, {"name": "free"}],
        "shared_limits": {"store": url, **(shared or {})},
        "prices": {"tiny": {"prompt": 100, "completion": 100}}, "unknown_price": "refuse",
    }  # fmt: skip


async def burst(gateway: Gateway, key: str = "sk-team", count: int = BURST) -> list[Answer]:
    """So many at once, each on a connection of its own; those that a killed gateway does not answer are left out."""
    answers = await asyncio.gather(
        *[ask(gateway.port, chat(20), key=key) for _ in range(count)], return_exceptions=True
    )
    return [answer for answer in answers if isinstance(answer, Answer) and answer.complete]


def children(pid: int) -> list[int]:
    """The processes that a process has started: a gateway's workers."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def tokens(answer: Answer) -> int:
    """What the engine counted."""
    found: int = json.loads(answer.body)["usage"]["total_tokens"]
    return found


async def counted(engines: list[str]) -> int:
    """Requests that the engines have had, by their own metrics."""
    total = 0.0
    for url in engines:
        page = (await ask(int(url.rpartition(":")[2]), None, "/metrics")).body.decode()
        for line in page.splitlines():
            if line.startswith("vllm:request_success_total"):
                total += float(line.rpartition(" ")[2])
    return int(total)


@pytest.mark.parametrize(
    "allowance, limit, per",
    [
        ({"requests_per_minute": 100}, 100, "request"),
        ({"requests_per_hour": 20}, 20, "request"),
        ({"requests_per_hour": 400}, 400, "request"),
        ({"tokens_per_hour": 3000}, 3000, "token"),
        ({"budget_per_month": 0.3}, 3000, "token"),
    ],
)
def test_bursts_at_every_gateway_use_a_limit_and_never_pass_it(
    start: Start, engines: list[str], store: redis.RedisServer, allowance: dict[str, Any], limit: int, per: str
) -> None:
    """Three gateways, sixty calls at once at each, four times: what was served, by the engines' counts, is at most the
    limit and at least nine tenths of it (all but one of a small one); a tenant's use does not touch another's."""
    gateways = [start(limited(store.url, engines[0], engines[1], **allowance)) for _ in range(GATEWAYS)]
    answers: list[Answer] = []

    async def main() -> None:
        for gateway in gateways:
            await ready(gateway, 2)
        for _ in range(4):
            for found in await asyncio.gather(*[burst(gateway) for gateway in gateways]):
                answers.extend(found)
        served = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status != 200]
        used = len(served) if per == "request" else sum(map(tokens, served))
        sys.stdout.write(f"{allowance}: {used} of {limit} used, {len(served)} served, {len(refused)} refused\n")
        assert used <= limit
        assert used >= (0.9 * limit if limit >= 100 else limit - 1)
        assert {answer.status for answer in refused} == {429}
        assert all(int(answer.header("retry-after") or 0) > 0 for answer in refused)
        assert (await ask(gateways[0].port, chat(5), key="sk-other")).status == 200

    run(main, 100.0)


def test_gateways_that_are_killed_take_no_more_than_they_had(
    start: Start, engines: list[str], store: redis.RedisServer
) -> None:
    """Bursts at three gateways, and one is killed in the middle of each and started anew: what all have served together
    is at most the limit. What the dead had counts as used, so that the rest is usable: with those answers that nobody
    got, nine tenths of it."""
    limit = 600
    file = limited(store.url, engines[0], engines[1], requests_per_hour=limit)
    gateways = [start(file) for _ in range(GATEWAYS)]

    async def main() -> None:
        for gateway in gateways:
            await ready(gateway, 2)
        before = await counted(engines)
        served = 0
        for wave in range(16):
            bursts = [asyncio.ensure_future(burst(gateway)) for gateway in gateways]
            if wave % 4 == 1:
                await asyncio.sleep(0.05)
                gateways[wave % GATEWAYS].kill()
            served += sum(answer.status == 200 for found in await asyncio.gather(*bursts) for answer in found)
            if wave % 4 == 1:
                gateways[wave % GATEWAYS] = start(file)
                await ready(gateways[wave % GATEWAYS], 2)
        reached = await counted(engines) - before
        (view,) = (one for one in await said(gateways[0].admin_port, "/admin/tenants") if one["name"] == "team")
        sys.stdout.write(f"killed: {served} of {limit} served, {reached} reached an engine; {view['limits']}\n")
        assert served <= reached <= limit
        assert view["limits"][0]["used"] >= 0.9 * limit

    run(main, 150.0)


@pytest.mark.parametrize("away", ["refuse", "local"])
def test_a_redis_that_stops_and_comes_back(
    start: Start, engines: list[str], store: redis.RedisServer, away: str
) -> None:
    """Bursts while Redis runs, is killed, and runs again: never more than the limit is served; while it is away limited
    tenants get 503 and a time, or a share, and others are served; afterwards all of the rest is usable."""
    limit = 500
    shared = {"away": away, "share": 0.3}
    file = limited(store.url, engines[0], engines[1], shared=shared, requests_per_hour=limit)
    gateways = [start(file) for _ in range(GATEWAYS)]
    by_phase: list[list[int]] = []

    async def wave() -> list[int]:
        found = await asyncio.gather(*[burst(gateway, count=30) for gateway in gateways])
        return [answer.status for answers in found for answer in answers]

    async def main() -> None:
        for gateway in gateways:
            await ready(gateway, 2)
        by_phase.append(await wave())
        store.kill()
        by_phase.append(await wave() + await wave())
        assert (await ask(gateways[0].port, chat(5), key="sk-free")).status == 200
        store.start()
        await asyncio.sleep(1.5)
        by_phase.append([status for _ in range(8) for status in await wave()])
        served = [phase.count(200) for phase in by_phase]
        sys.stdout.write(f"away: {away}: served {served} of {limit}; while away {set(by_phase[1])}\n")
        assert sum(served) <= limit
        assert sum(served) >= 0.9 * limit
        assert set(by_phase[1]) <= {200, 503}
        assert served[1] > 0 or away == "refuse"

    run(main, 150.0)


def test_workers_of_gateways_share_what_all_share(start: Start, engines: list[str], store: redis.RedisServer) -> None:
    """Two gateways of two workers each; in the midst of bursts a worker of each is killed, then Redis is, and comes
    back: what reached an engine is at most the limit, and at least nine tenths of it. What the dead had and had not
    sent comes free, by what stands on their sheets."""
    limit = 400
    file = limited(store.url, engines[0], engines[1], requests_per_hour=limit) | {"workers": 2}
    gateways = [start(file) for _ in range(2)]

    async def wave() -> int:
        found = await asyncio.gather(*[burst(gateway) for gateway in gateways])
        return sum(answer.status == 200 for answers in found for answer in answers)

    async def main() -> None:
        for gateway in gateways:
            await ready(gateway, 2)
        before = await counted(engines)
        bursts = asyncio.gather(wave(), wave())
        await asyncio.sleep(0.1)
        for gateway in gateways:
            os.kill(children(gateway.pid)[0], signal.SIGKILL)
        served = sum(await bursts)
        store.kill()
        served += await wave()
        store.start()
        for _ in range(24):
            served += await wave()
            (view,) = (one for one in await said(gateways[0].admin_port, "/admin/tenants") if one["name"] == "team")
            if view["limits"][0]["used"] >= limit - 1:
                break
            await asyncio.sleep(0.5)
        reached = await counted(engines) - before
        (view,) = (one for one in await said(gateways[0].admin_port, "/admin/tenants") if one["name"] == "team")
        used = view["limits"][0]["used"]
        sys.stdout.write(f"workers: {served} of {limit} served, {reached} reached an engine, {used} count as used\n")
        assert served <= reached <= limit
        assert reached >= 0.9 * limit

    run(main, 150.0)


def test_what_is_used_and_left_is_the_shared_truth(start: Start, engines: list[str], store: redis.RedisServer) -> None:
    """One gateway serves, the other tells: its headers and its admin API know what was used at the first, and a gateway
    that is stopped gives back what it had."""
    file = limited(store.url, engines[0], requests_per_hour=50)
    one, two = start(file), start(file)

    async def main() -> None:
        await ready(one)
        await ready(two)
        for _ in range(20):
            assert (await ask(one.port, chat(2), key="sk-team")).status == 200
        assert one.stop() == 0
        answer = await ask(two.port, chat(2), key="sk-team")
        assert answer.header("x-ratelimit-limit-requests") == "50"
        assert answer.header("x-ratelimit-remaining-requests") == "29"
        (view,) = (one for one in await said(two.admin_port, "/admin/tenants") if one["name"] == "team")
        assert (view["limits"][0]["used"], view["limits"][0]["left"]) == (21, 29)
        page = (await ask(two.admin_port, None, "/metrics")).body.decode()
        assert "\npenstock_lease_store_up{} 1\n" in page
        assert all("sk-" not in key for key in store.known())

    run(main, 60.0)
