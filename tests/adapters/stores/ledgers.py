"""Ledgers for tests: databases on disk, and records as a gateway writes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from penstock.adapters.stores.database import Database
from penstock.adapters.stores.writing import Writer
from penstock.base.entries import CALL, Entry
from penstock.drive.segments import Record
from tests.telemetry.rows import row

MIDNIGHT = 20_000 * 86_400
"""The beginning of a day, 2024-10-04."""


def call(id: str, *, region: str = "", **changes: Any) -> Record:
    """The record of a call; it came shortly after MIDNIGHT unless `at` says otherwise."""
    return Record(CALL, msgspec.json.encode(Entry(row(id=id, **{"at": MIDNIGHT + 60.0, **changes}), region)))


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """A SQLite database with all tables."""
    made = Database(f"sqlite:///{folder}/ledger.db")
    made.migrate()
    try:
        yield made
    finally:
        made.close()


def write(base: Database, *records: Record) -> int:
    """Write them in one batch; how many calls were new."""
    return Writer(base).write(records)


def rows(base: Database, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds."""
    with base.reading() as connection:
        return [tuple(found) for found in connection.exec_driver_sql(statement)]
