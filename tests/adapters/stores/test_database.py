"""Databases: what their tables are, how they are shared, and what is told of them."""

import logging
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from penstock.adapters.stores import database as module
from penstock.adapters.stores.database import Away, Database
from penstock.adapters.stores.tables import metadata
from tests.adapters.stores.ledgers import call, database, rows, write


def test_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    """Alembic finds no difference between a migrated database and `tables`; migrating again changes nothing."""
    with database(tmp_path) as base:
        base.migrate()
        with base.reading() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
            assert compare_metadata(context, metadata) == []


def test_sqlite_is_shared(tmp_path: Path) -> None:
    """WAL: who reads sees the last whole transaction while another writes."""
    with database(tmp_path) as base:
        write(base, call("a"))
        assert rows(base, "PRAGMA journal_mode") == [("wal",)]
        with base.writing() as connection:
            connection.exec_driver_sql("DELETE FROM calls")
            assert rows(base, "SELECT count(*) FROM calls") == [(1,)]
        assert rows(base, "SELECT count(*) FROM calls") == [(0,)]


@pytest.mark.parametrize("durable, level", [(False, 1), (True, 2)])
def test_a_durable_one_waits_for_the_disk(durable: bool, level: int, tmp_path: Path) -> None:
    """Where the journal survives a loss of power, so must the database that rows leave it for: synchronous is FULL."""
    base = Database(f"sqlite:///{tmp_path}/a.db", durable=durable)
    assert rows(base, "PRAGMA synchronous") == [(level,)]
    base.close()


def test_a_locked_database_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that keeps its lock: told after a while, and over once it lets go."""
    monkeypatch.setattr(module, "BUSY_S", 0.05)
    with database(tmp_path) as base:
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Away, match="locked"):
            write(base, call("a"))
        other.execute("ROLLBACK")
        other.close()
        assert write(base, call("a")) == 1


@pytest.mark.slow
def test_urls_that_are_none_are_refused_without_their_password() -> None:
    """What cannot be a database is a ValueError; a password is never shown."""
    for url in ("nonsense", "nosuch://host/name"):
        with pytest.raises(ValueError):
            Database(url)
    base = Database("postgresql://user:secret@127.0.0.1:1/name")
    assert "secret" not in base.name
    with pytest.raises(Away) as away:
        base.migrate()
    assert "secret" not in str(away.value)
    base.close()


def test_slow_queries_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Above the limit they are logged, without the values, and counted."""
    base = Database(f"sqlite:///{tmp_path}/a.db", slow_query_s=1e-9)
    with caplog.at_level(logging.WARNING), base.reading() as connection:
        connection.exec_driver_sql("SELECT ?", ("value",))
    assert "SELECT ?" in caplog.text
    assert "value" not in caplog.text
    assert base.numbers().slow >= 1
    base.close()


def test_connections_are_bounded_counted_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty at most, then who comes waits and is told; after so many uses one is replaced."""
    monkeypatch.setattr(module, "ACQUIRE_S", 0.01)
    monkeypatch.setattr(module, "USES", 3)
    base = Database(f"sqlite:///{tmp_path}/a.db")
    taken = [base.engine.connect() for _ in range(20)]
    with pytest.raises(Away), base.reading():
        pass
    numbers = base.numbers()
    assert (numbers.open, numbers.used, numbers.waiting, numbers.timeouts) == (20, 20, 0, 1)
    for connection in taken:
        connection.close()
    assert base.numbers().open == 5
    for _ in range(8):
        with base.reading():
            pass
    assert base.numbers().recycled == 2
    base.close()


@pytest.mark.slow
def test_a_crowd_that_waits_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    """More than five at once: a warning, and each of them is told in time that there is none for it."""
    monkeypatch.setattr(module, "ACQUIRE_S", 0.3)
    base = Database(f"sqlite:///{tmp_path}/a.db")
    taken = [base.engine.connect() for _ in range(20)]
    together = threading.Barrier(8)

    def ask() -> bool:
        together.wait()
        try:
            with base.reading():
                return True
        except Away:
            return False

    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as crowd:
        found = [each.result() for each in [crowd.submit(ask) for _ in range(8)]]
    assert not any(found)
    assert base.numbers().timeouts == 8
    assert "wait for a connection" in caplog.text
    for connection in taken:
        connection.close()
    base.close()
