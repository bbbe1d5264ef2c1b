"""Workers, a cache with Redis behind it, batching, shared limits, a ledger and compression in one gateway, under
callers of every kind; a worker is killed in between, then all of it, then Redis: what was acknowledged is in the ledger
once and to the token, limits hold, and nothing is kept."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penstock.adapters.stores.database import Database
from tests.e2e.conftest import Start
from tests.helpers import postgres, redis
from tests.helpers.audit import FAULTS, Done, Rig, accounts
from tests.helpers.medley import KEYS, Known, Medley
from tests.helpers.processes import Emulators, Gateway, ending, until
from tests.helpers.traffic import SLOW, ask, at_rest, eventually, pool, ready, said
from tests.helpers.wire import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CALLS = 500
"""Of a wave."""
REQUESTS, TOKENS = 150, 4_000
"""An hour's limits of `counted` and `thrifty`."""
GIVEN = ("hit", "coalesced")
KILLS = ("worker", "gateway")
"""Waves in which calls on their way are lost."""
MORE_FILES, MORE_BYTES = 16, 48 << 20
"""What a gateway at rest may hold more after a further wave: connections of its stores, memory of what is bounded."""


class Row(NamedTuple):
    """A call as the ledger has it."""

    client_id: str
    tenant: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    outcome: str
    status: int
    cost: int
    cache: str
    path: str

    @property
    def tokens(self) -> tuple[int, int]:
        """What it was charged for."""
        return self.prompt_tokens, self.completion_tokens


@pytest.fixture
def store() -> Iterator[redis.RedisServer]:
    """A Redis of this test alone."""
    with redis.serving() as made:
        yield made


def children(gateway: Gateway) -> list[int]:
    """Its workers."""
    return [int(word) for word in Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()]


def held(gateway: Gateway) -> tuple[int, int]:
    """Open files, connections that wait for the next call among them, and resident bytes of the parent and its
    workers."""
    pids = [gateway.pid, *children(gateway)]
    files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return files, pages * os.sysconf("SC_PAGE_SIZE")


def everything(ports: dict[str, list[int]], url: str, ledger: dict[str, Any]) -> dict[str, Any]:
    """All of it in one file."""
    more: dict[str, dict[str, Any]] = {
        "tiny": {
            "strategy": "round_robin", "breaker": {"failures": 50}, "outliers": {"enabled": False},
            "batching": {"wait": "20ms"},
        },
        "twin": {"strategy": "round_robin", "hedge": {"delay": "60ms", "budget": 1}},
        "narrow": {},
    }  # fmt: skip
    pools = [
        pool(*(f"http://127.0.0.1:{port}" for port in own), name=name, models=(name,), **more[name])
        for name, own in ports.items()
    ]
    for made in pools:
        for replica in made["replicas"]:
            replica["max_concurrent_requests"] = 2 if made["name"] == "narrow" else 64
    limits = {"counted": {"requests_per_hour": REQUESTS}, "thrifty": {"tokens_per_hour": TOKENS}}
    return {
        "workers": 2, "pools": pools, "cache": {"redis": url, "ttl": "1s"}, "shared_limits": {"store": url},
        "keys": [{"name": f"{name}-key", "key": key, "tenant": name} for name, key in KEYS.items()],
        "tenants": [{"name": name, "limits": {"wait": 0, **limits.get(name, {})}} for name in KEYS],
        "prices": {name: {"prompt": 3, "completion": 9} for name in ports}, "ledger": ledger,
        "compression": {"min": "200B"}, "log": {"access": False},
    }  # fmt: skip


class Waves:
    """Callers, and what happens meanwhile."""

    def __init__(self, begin: Callable[[], Gateway], medley: Medley, store: redis.RedisServer) -> None:
        self._begin, self._medley, self._store = begin, medley, store
        self.gateway = begin()
        self.kept: list[tuple[int, int]] = []
        """What it held at rest behind the last waves."""

    async def all(self) -> None:
        """Quiet, a worker killed, the whole gateway killed and begun again at once, Redis killed and started again, and
        quiet twice."""
        await ready(self.gateway, 6)
        for name in ("before", "worker", "gateway", "redis", "quiet", "quiet again"):
            before = len(self._medley.known)
            going = asyncio.create_task(self._medley.wave(self.gateway.port, name, CALLS))
            await self._some(before + CALLS // 3)
            await self._happens(name, before)
            await going
            await eventually(self._two, "two workers", 20.0)
            await at_rest(self.gateway, 20.0)
            if name.startswith("quiet"):
                idle = (await said(self.gateway.admin_port, "/admin/counters"))["upstream_idle"]
                files, size = held(self.gateway)
                self.kept.append((files - idle, size))

    async def _happens(self, name: str, before: int) -> None:
        loop = asyncio.get_running_loop()
        if name == "worker":
            os.kill(children(self.gateway)[0], signal.SIGKILL)
        elif name == "gateway":
            self.gateway.kill()
            self.gateway = self._begin()
            await ready(self.gateway, 6)
        elif name == "redis":
            await loop.run_in_executor(None, self._store.kill)
            await self._some(before + CALLS * 2 // 3)
            await loop.run_in_executor(None, self._store.start)

    async def _some(self, count: int) -> None:
        async def so() -> bool:
            return len(self._medley.known) >= count

        await eventually(so, f"{count} calls", 60.0)

    async def _two(self) -> bool:
        page = (await ask(self.gateway.admin_port, None, "/metrics")).body.decode()
        up = [line for line in page.splitlines() if line.startswith("penstock_worker_up{")]
        return len(up) == 2 and all(line.endswith(" 1") for line in up)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_all_of_it_in_one_gateway(start: Start, tmp_path: Path, store: redis.RedisServer, kind: str) -> None:
    """3,000 calls: streams, cancels anywhere, retries, hedges, failovers, engines that die, batches, questions that are
    asked again; a worker is killed under them, then all of the gateway, then Redis. What clients were answered is in
    the ledger once and to the token; limits hold; seats, files and memory come back."""
    with ExitStack() as stack:
        if kind == "postgresql":
            postgres.needed()
            url = stack.enter_context(postgres.server())
        else:
            url = f"sqlite:///{tmp_path}/ledger/ledger.db"
        engines = {
            "tiny": [Emulators(tmp_path, 1.0, name=f"tiny{at}", fault=what) for at, what in enumerate(FAULTS["tiny"])],
            "twin": [Emulators(tmp_path, 1.0, SLOW, name="twin", model="twin")],
            "narrow": [Emulators(tmp_path, SLOW * 4, name="narrow", model="narrow")],
        }
        stack.enter_context(ending(*[one for group in engines.values() for one in group]))
        ports = {name: [port for one in group for port in one.ports] for name, group in engines.items()}
        own = {"folder": str(tmp_path / "ledger")} | ({"database": url} if kind == "postgresql" else {})
        medley = Medley(seed=7)

        waves = Waves(lambda: start(everything(ports, store.url, own)), medley, store)

        async def main() -> tuple[dict[str, dict[int, Done]], list[dict[str, Any]]]:
            await waves.all()
            port = waves.gateway.admin_port
            assert not any(view["in_flight"] for view in await said(port, "/admin/fleet"))
            return await accounts(Rig(waves.gateway, ports)), await said(port, "/admin/tenants")

        done, views = run(main, 240.0)
        rows = rows_in(url, waves.gateway, medley.known)
        nothing_kept(waves.kept)
        check(medley.known, rows, done)
        limited(rows, views)
        happened(medley.known, rows)


def rows_in(url: str, gateway: Gateway, known: dict[str, Known]) -> dict[str, Row]:
    """The ledger, once all is there that must be: every call that was not on its way in a process that was killed, or
    came to one that was about to end."""
    must = {id for id, mine in known.items() if mine.wave not in KILLS or mine.outcome == "completed"}
    base = Database(url, 0)
    found: list[Row] = []

    def there() -> bool:
        with base.reading() as connection:
            text = f"SELECT {', '.join(Row._fields)} FROM calls WHERE client_id <> ''"
            found[:] = [Row(*one) for one in connection.exec_driver_sql(text)]
        return must <= {row.client_id for row in found}

    try:
        until(there, 30.0, lambda: f"rows of {[known[id] for id in must - {row.client_id for row in found}]}")
        with base.reading() as connection:
            sums = connection.exec_driver_sql("SELECT sum(calls), sum(completion_tokens), sum(cost) FROM days").one()
            total = connection.exec_driver_sql("SELECT count(*), sum(completion_tokens), sum(cost) FROM calls").one()
    finally:
        base.close()
    assert tuple(map(int, sums)) == tuple(map(int, total))
    assert max(Counter(row.client_id for row in found).values()) == 1, "none doubled"
    assert {row.client_id for row in found} <= known.keys()
    state = run(lambda: said(gateway.admin_port, "/admin/ledger"))
    assert [state[name] for name in ("lost", "damaged", "rejected", "waiting", "away", "failing")] == [0] * 4 + [""] * 2
    return {row.client_id: row for row in found}


def check(known: dict[str, Known], rows: dict[str, Row], done: dict[str, dict[int, Done]]) -> None:
    """Of each call by itself."""
    for id, mine in known.items():
        row, own = rows.get(id), done.get(id, {})
        where = f"{id}: {mine}, {row}, {own}"
        if row is None:
            assert mine.wave in KILLS, where
            continue
        assert row.tenant == mine.tenant, where
        assert row.cost == 3000 * row.prompt_tokens + 9000 * row.completion_tokens, where
        if row.cache in GIVEN:
            assert (row.tokens, own) == ((0, 0), {}), where
        if mine.outcome == "completed":
            assert (row.outcome, row.status, row.estimated) == ("ok", 200, 0), where
            assert mine.usage in (None, row.tokens) or row.cache in GIVEN, where
            batched, inherited = "embedding" in mine.kind, (mine.cache, row.cache) == ("coalesced", "miss")
            finished = [one[:2] for one in own.values() if one.outcome == "finished"]
            assert row.cache in GIVEN or batched or inherited or row.tokens in finished, where
            assert row.cache in GIVEN or mine.delivered in (0, row.completion_tokens), where
        elif mine.outcome == "refused":
            assert row.outcome != "limits_away" or mine.tenant in ("counted", "thrifty"), where
            assert (row.tokens, row.outcome == "ok") == ((0, 0), False), where
        elif mine.outcome == "mistake":
            assert (row.tokens, row.status) in (((0, 0), 400), ((0, 0), 413), ((0, 0), 429), ((0, 0), 503)), where
        elif row.cache not in GIVEN and "embedding" not in mine.kind and own:
            assert row.completion_tokens <= max(one.completion for one in own.values()), where
            assert mine.delivered <= row.completion_tokens or not row.tokens[1], where


def limited(rows: dict[str, Row], views: list[dict[str, Any]]) -> None:
    """What limited tenants were served, and what their limits say of it."""
    used = {view["name"]: limit["used"] for view in views for limit in view["limits"] if view["kind"] == "tenant"}
    served = [row for row in rows.values() if row.tenant == "counted" and row.outcome == "ok" and row.status == 200]
    tokens = sum(sum(row.tokens) for row in rows.values() if row.tenant == "thrifty")
    sys.stdout.write(f"{len(served)} requests of {REQUESTS}, {tokens} tokens of {TOKENS}; {used}\n")
    assert 0.5 * REQUESTS <= len(served) <= REQUESTS, len(served)
    assert len(served) <= used["counted"] <= REQUESTS
    assert 0.5 * TOKENS <= tokens <= TOKENS, tokens
    assert tokens <= used["thrifty"] <= TOKENS


def happened(known: dict[str, Known], rows: dict[str, Row]) -> None:
    """What the test is for did happen."""
    outcomes = Counter(mine.outcome for mine in known.values())
    caches = Counter(row.cache for row in rows.values())
    sys.stdout.write(f"{outcomes} {caches}\n")
    assert outcomes["completed"] > 500, outcomes
    assert outcomes["left"] > 200, outcomes
    assert outcomes["interrupted"], outcomes
    assert not [mine for mine in known.values() if mine.outcome == "lost" and mine.wave not in KILLS]
    assert caches["hit"] > 30, caches
    assert any(mine.packed for mine in known.values())
    assert {mine.status for mine in known.values()} <= {0, 200, 400, 413, 429, 502, 503, 504}


def nothing_kept(kept: list[tuple[int, int]]) -> None:
    """Further waves leave nothing behind."""
    sys.stdout.write(f"{kept}\n")
    assert max(files for files, _ in kept) <= kept[0][0] + MORE_FILES, kept
    assert kept[-1][1] <= kept[-2][1] + MORE_BYTES, kept
