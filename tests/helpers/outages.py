"""Outages of a ledger's database, or of its disk, under load: what clients notice, and what is there in the end."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from penstock.adapters.stores.database import Database
from tests.helpers.processes import Gateway, until
from tests.helpers.traffic import Traffic, ready, said
from tests.helpers.wire import run


class Seen(NamedTuple):
    """Of one phase, by its clients."""

    calls: int
    failed: int
    median_ms: float
    worst_ms: float


class Outage:
    """A gateway under load, while something is taken away from its ledger and given back."""

    def __init__(self, gateway: Gateway, take: Callable[[], None], give: Callable[[], None], users: int = 8) -> None:
        self._gateway = gateway
        self._take, self._give, self._users = take, give, users
        self.phases: dict[str, Seen] = {}
        self.most_waiting_bytes = 0
        """Of the journal, while the database was away."""

    def go(self, seconds: float, most_s: float = 60.0) -> int:
        """Load before it, for so long in it, and after it; how many calls were made."""
        return run(lambda: self._going(seconds), seconds + most_s)

    async def _going(self, seconds: float) -> int:
        await ready(self._gateway, 2)
        traffic = Traffic(self._gateway, self._users)
        loop = asyncio.get_running_loop()
        async with traffic.flowing():
            await self._phase("before", traffic, 200)
            await loop.run_in_executor(None, self._take)
            end = time.monotonic() + seconds
            count = len(traffic.answers)
            while time.monotonic() < end:
                await traffic.more(20)
            self._note("away", traffic, count)
            self.most_waiting_bytes = (await said(self._gateway.admin_port, "/admin/ledger"))["journal_bytes"]
            await loop.run_in_executor(None, self._give)
            await self._phase("after", traffic, 200)
        assert not traffic.refused
        return len(traffic.answers)

    async def _phase(self, name: str, traffic: Traffic, calls: int) -> None:
        count = len(traffic.answers)
        await traffic.more(calls)
        self._note(name, traffic, count)

    def _note(self, name: str, traffic: Traffic, since: int) -> None:
        answers = traffic.answers[since:]
        times = sorted(answer.e2e_s * 1e3 for answer in answers)
        failed = sum(bool(answer.error) for answer in answers)
        self.phases[name] = Seen(len(answers), failed, round(times[len(times) // 2], 1), round(times[-1], 1))


def arrived(gateway: Gateway, url: str, calls: int, within_s: float = 60.0) -> None:
    """Wait until the ledger has so many rows; then each call is there once, and so it is in the sums. Nothing is lost,
    and nothing waits."""
    base = Database(url, 0)

    def numbers() -> dict[str, Any]:
        with base.reading() as connection:
            ask = connection.exec_driver_sql
            return {
                "rows": ask("SELECT count(*) FROM calls").scalar_one(),
                "ids": ask("SELECT count(DISTINCT id) FROM calls").scalar_one(),
                "days": int(ask("SELECT coalesce(sum(calls), 0) FROM days").scalar_one()),
                "ok": int(ask("SELECT coalesce(sum(ok), 0) FROM days").scalar_one()),
            }

    try:
        until(lambda: numbers()["rows"] >= calls, within_s, lambda: f"{calls} rows: {numbers()}\n{gateway.log()}")
        assert numbers() == dict.fromkeys(("rows", "ids", "days", "ok"), calls)
    finally:
        base.close()
    state = run(lambda: said(gateway.admin_port, "/admin/ledger"))
    assert [state[name] for name in ("lost", "damaged", "rejected", "waiting", "away", "failing")] == [0] * 4 + [""] * 2


class Lock:
    """SQLite's write lock, held by another process as far as the gateway can tell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holder: sqlite3.Connection | None = None

    def take(self) -> None:
        """Hold it."""
        self._holder = sqlite3.connect(self._path, isolation_level=None, timeout=30.0, check_same_thread=False)
        self._holder.execute("BEGIN IMMEDIATE")

    def give(self) -> None:
        """Let go of it."""
        assert self._holder is not None
        with closing(self._holder):
            self._holder.execute("ROLLBACK")
