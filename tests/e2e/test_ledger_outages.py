"""Serving never notices what ails the ledger: a lock, a full disk, a killed PostgreSQL; and all rows arrive."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers import postgres
from tests.helpers.outages import Lock, Outage, arrived
from tests.helpers.processes import Gateway
from tests.helpers.traffic import pool, said
from tests.helpers.wire import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

AWAY_S = 6.0
"""How long it lasts here: longer than SQLite is waited for. In `python -m bench.ledger away` as long as one likes."""
WORST_MS = 5_000.0
"""Machines that test are busy; a call that waited for a database would wait for all of the outage."""
SMALL_BYTES = 200_000
"""Of any file of a gateway whose disk is full."""


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL of this test alone."""
    postgres.needed()
    with postgres.running() as made:
        yield made


def tree(engines: list[str], folder: Path, **more: Any) -> dict[str, Any]:
    """A gateway's configuration."""
    return {"pools": [pool(*engines[:2])], "ledger": {"folder": str(folder), **more}}


def unnoticed(outage: Outage, calls: int) -> None:
    """No call failed, and none waited for the ledger."""
    assert sum(seen.failed for seen in outage.phases.values()) == 0
    assert outage.phases["away"].calls >= 40, "there was load"
    assert max(seen.worst_ms for seen in outage.phases.values()) < WORST_MS
    assert calls >= 440


def test_a_locked_database(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Another process holds SQLite's lock for longer than we wait for it, under load."""
    folder = tmp_path / "ledger"
    gateway = start(tree(engines, folder))
    lock = Lock(folder / "ledger.db")
    outage = Outage(gateway, lock.take, lock.give)
    calls = outage.go(AWAY_S)
    unnoticed(outage, calls)
    gateway.await_logged("rows wait in the journal")
    arrived(gateway, f"sqlite:///{folder}/ledger.db", calls)


def test_a_killed_postgres(start: Start, engines: list[str], tmp_path: Path, server: postgres.Server) -> None:
    """SIGKILL to all of it under load, and started again after a while: its recovery is part of the outage."""
    gateway = start(tree(engines, tmp_path / "ledger", database=server.url))
    outage = Outage(gateway, server.kill, server.start)
    calls = outage.go(AWAY_S)
    unnoticed(outage, calls)
    gateway.await_logged("rows wait in the journal")
    arrived(gateway, server.url, calls)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process that runs are set by prlimit(2)")
def test_a_full_disk(start: Start, engines: list[str], tmp_path: Path) -> None:
    """No file of the gateway can grow: its journal cannot be written, nor its database. Calls are remembered in memory,
    and arrive once there is room."""
    folder = tmp_path / "ledger"
    gateway = start(tree(engines, folder))
    hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)[1]

    def full() -> None:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (SMALL_BYTES, hard))

    def room() -> None:
        assert failing(gateway), "it was not full"
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))

    outage = Outage(gateway, full, room)
    calls = outage.go(AWAY_S)
    unnoticed(outage, calls)
    gateway.await_logged("calls are remembered in memory")
    arrived(gateway, f"sqlite:///{folder}/ledger.db", calls)


def failing(gateway: Gateway) -> bool:
    """Whether its journal cannot be written."""
    return bool(run(lambda: said(gateway.admin_port, "/admin/ledger"))["failing"])
