"""The ledger as a part of a gateway: rows before answers, what the fleet was, and what it says of itself."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.adapters.stores.spec import LedgerSpec
from penstock.base.nouns import Replica
from penstock.config.schema import ServerSpec, Settings
from penstock.core.events import Recalled
from penstock.core.limits.spec import LimitsSpec
from penstock.core.spec import GateSpec
from penstock.drive.segments import Reader, Segments
from penstock.gateway import ledger as module
from penstock.gateway.ledger import Ledger, open_ledger
from penstock.gateway.outbox import Outbox
from tests.helpers.wire import run
from tests.telemetry.rows import record


class Clock:
    """A time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


def opened(folder: Path, clock: Clock | None = None, **more: Any) -> Ledger:
    """A ledger in this folder."""
    outbox = Outbox(asyncio.get_running_loop().call_soon)
    return open_ledger(LedgerSpec(folder=str(folder), **more), outbox, clock or Clock())


def within(main: Coroutine[Any, Any, None]) -> None:
    """Run it."""
    run(lambda: main)


def rows(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    """What its database has."""
    with closing(sqlite3.connect(folder / "ledger.db")) as base:
        return base.execute(statement).fetchall()


@pytest.mark.slow
def test_a_row_is_on_disk_before_the_outbox_writes(tmp_path: Path) -> None:
    """A flush commits first; so does the end of the turn, and a stop carries everything into the database."""

    async def main() -> None:
        ledger = opened(tmp_path)
        ledger.observe(1.0, None, [record(id="a")])  # type: ignore[arg-type]
        assert ledger.segments.committed[1] == 0
        ledger._outbox.flush()
        assert ledger.segments.committed[1] > 0
        ledger.start()
        ledger.observe(2.0, None, [record(id="b")])  # type: ignore[arg-type]
        ledger.close()
        assert ledger.state().written == 2
        assert ledger._outbox.before is None

    within(main())
    assert rows(tmp_path, "SELECT id FROM calls ORDER BY n") == [("a",), ("b",)]


@pytest.mark.slow
def test_what_the_fleet_was_is_written_down(tmp_path: Path) -> None:
    """A span for each fleet, ended by a change of it, by time, or by the end."""
    clock = Clock()

    def replica(id: str, cost: float) -> Replica:
        return Replica(id=id, url="http://h", pool="p", engine="vllm", region="eu", hourly_cost=cost)

    async def main() -> None:
        ledger = opened(tmp_path, clock)
        ledger.fleet([replica("r1", 3600.0)])
        clock.now += 10
        ledger.fleet([replica("r1", 3600.0)])
        clock.now += 10
        ledger.fleet([replica("r1", 3600.0), replica("r2", 0.0)])
        clock.now += module.UPKEEP_S
        ledger.start([replica("r1", 3600.0), replica("r2", 0.0)])
        clock.now += 5
        ledger.close()

    within(main())
    spans = rows(tmp_path, "SELECT replica, at - 1000000000000000, took, cost FROM upkeep ORDER BY at, replica")
    nano, micro, long = 10**9, 10**6, int(module.UPKEEP_S)
    assert spans == [
        ("r1", 0, 20 * micro, 20 * nano),
        ("r1", 20 * micro, long * micro, long * nano), ("r2", 20 * micro, long * micro, 0),
        ("r1", (20 + long) * micro, 5 * micro, 5 * nano), ("r2", (20 + long) * micro, 5 * micro, 0),
    ]  # fmt: skip


@pytest.mark.slow
def test_without_its_database_rows_wait(tmp_path: Path) -> None:
    """It says so, stops in time, and the next gateway on the folder brings them home."""
    (tmp_path / "ledger.db").mkdir()

    async def first() -> None:
        ledger = opened(tmp_path)
        ledger.start()
        ledger.observe(1.0, None, [record(id="a")])  # type: ignore[arg-type]
        ledger.close()
        state = ledger.state()
        assert state.away
        assert state.journal_bytes > 0

    async def second() -> None:
        ledger = opened(tmp_path)
        ledger.start()
        ledger.close()

    within(first())
    (tmp_path / "ledger.db").rmdir()
    within(second())
    assert rows(tmp_path, "SELECT id FROM calls") == [("a",)]


@pytest.mark.slow
def test_what_cannot_be_had_is_told_at_the_start(tmp_path: Path) -> None:
    """A folder that another has, a database that is none; and then nothing is held."""

    async def main() -> None:
        with pytest.raises(OSError, match=r"ledger\.database"):
            opened(tmp_path, database="nonsense")
        ledger = opened(tmp_path)
        with pytest.raises(OSError, match="another process"):
            opened(tmp_path)
        ledger.close()
        opened(tmp_path).close()

    within(main())


@pytest.mark.slow
def test_a_start_with_limits_is_told_what_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `begin` comes back, in facts of a bounded size; without limits nobody asks; a database that is away is not
    waited for."""
    limited = Settings(gate=GateSpec(limits=LimitsSpec()), replicas=(), server=ServerSpec())
    told: list[Recalled] = []

    async def life(settings: Settings, *ids: str) -> None:
        ledger = opened(tmp_path)
        await ledger.begin(settings, told.append)
        for id in ids:
            ledger.observe(1.0, None, [record(id=id, tenant=id, at=time.time(), cost=0.5)])  # type: ignore[arg-type]
        ledger.close()

    within(life(limited, "a", "b", "c"))
    assert told == []
    within(life(msgspec.structs.replace(limited, gate=GateSpec())))
    assert told == []
    monkeypatch.setattr(module, "PART", 2)
    within(life(limited))
    assert [len(fact.used) for fact in told] == [2, 2, 2]
    assert sum(used.month for fact in told for used in fact.used) == 1_500_000_000
    told.clear()
    (tmp_path / "ledger.db").rename(tmp_path / "gone")
    (tmp_path / "ledger.db").mkdir()
    within(life(limited))
    assert told == []


def test_a_ledger_that_was_never_started_keeps_what_was_booked(tmp_path: Path) -> None:
    """As where a port is taken: no thread was there, the journal has it."""

    async def main() -> None:
        ledger = opened(tmp_path)
        ledger.observe(1.0, None, [record(id="a")])  # type: ignore[arg-type]
        ledger.close()

    within(main())
    segments = Segments(tmp_path)
    assert len(Reader(segments).read(9)) == 1
    segments.close()


@pytest.mark.slow
def test_without_the_extra_the_gateway_is_imported_and_says_what_is_missing() -> None:
    """The base install has no SQLAlchemy: nothing of the gateway needs it until a ledger is asked for."""
    code = (
        "import sys; sys.modules['sqlalchemy'] = None; sys.modules['alembic'] = None\n"
        "import penstock.gateway.build, penstock.cli.ledger\n"
        "from penstock.gateway.ledger import open_ledger\n"
        "from penstock.adapters.stores.spec import LedgerSpec\n"
        "try: open_ledger(LedgerSpec(folder='x'), None, None)\n"
        "except OSError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "penstock[ledger]" in done.stdout, done.stderr
