"""Writes what the journal holds into the ledger's tables: in batches, each call once, however often it is tried.

A batch is one transaction: its rows, and what they add to the sums. It is written as if nothing of it were there, which
is so but for a process that was killed between the commit and the journal's knowing of it; where the database finds an
id twice, the rows that are there already are left out of both, and the rest is written.

Records become rows and are added up one after another, as the database takes them: no batch is in memory as rows, and
PostgreSQL works meanwhile, so that a batch takes as long as the slower of the two.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final

from sqlalchemy import ClauseElement, Connection, Dialect, Table, exc, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from penstock.adapters.stores import sketch
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.rows import (
    COLUMNS,
    OF_OVERHEADS,
    OF_UPKEEP,
    Values,
    calls_of,
    overheads_of,
    upkeep_of,
)
from penstock.adapters.stores.sums import Spread, Sums, Times, summed
from penstock.adapters.stores.tables import SUMMED, WHOSE, calls, days, months, overheads, quarters, spreads, upkeep
from penstock.drive.segments import Record

TOGETHER: Final = 200
"""Rows of one statement, for SQLite. (A statement has room for 32,766 values.)"""
_VALUES: Final = re.compile(r"(.*? )VALUES (\([?, ]+\))(.*)", re.DOTALL)
_TYPED: Final = re.compile(r"(.*? )VALUES (\((?:%\(\w+\)s(?:::\w+)?(?:, )?)+\))(.*)", re.DOTALL)
_MOST_ASKED: Final = 500
"""Names in one question."""
_ID: Final = COLUMNS.index("id")
_SPREADS: Final = "SELECT tenant, day, model, latency, ttft FROM spreads"


class _Bulk:
    """An INSERT of many rows in one statement, compiled once: SQLAlchemy's own way costs more than the database's work.
    SQLite gets some at a time, since Python lets other threads run once for each statement, and the one that serves has
    enough of being asked to; PostgreSQL gets a list for each column."""

    def __init__(self, statement: ClauseElement, names: Sequence[str], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        self._text = str(compiled)
        self._names = names
        self._by_place = dialect.positional
        found = (_VALUES if self._by_place else _TYPED).fullmatch(self._text)
        assert found is not None, self._text
        head, row, tail = found.groups()
        if self._by_place:
            assert tuple(compiled.positiontup or ()) == tuple(names), "the order of the table's columns"  # type: ignore[attr-defined]
            self._many = f"{head}VALUES {', '.join([row] * TOGETHER)}{tail}"
        else:
            lists = ", ".join(f"{value}[]" if "::" in value else value for value in row[1:-1].split(", "))
            self._many = f"{head}SELECT * FROM unnest({lists}){tail}"

    def each(self, connection: Connection, rows: Iterable[Values]) -> Iterator[Values]:
        """Do it for some at a time, for whoever goes through them anyway."""
        rows = iter(rows)
        while part := list(islice(rows, TOGETHER)):
            self.run(connection, part)
            yield from part

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Do it for all of them."""
        if not rows:
            return
        if not self._by_place:
            connection.exec_driver_sql(self._many, dict(zip(self._names, map(list, zip(*rows)))))
            return
        whole = len(rows) // TOGETHER * TOGETHER
        for at in range(0, whole, TOGETHER):
            connection.exec_driver_sql(self._many, tuple(chain.from_iterable(rows[at : at + TOGETHER])))
        if whole < len(rows):
            connection.exec_driver_sql(self._text, list(rows[whole:]))


class Writer:
    """Puts batches into one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = dialect = database.engine.dialect
        self._mark = "?" if database.is_sqlite else "%s"
        own: Any = (sqlite if database.is_sqlite else postgresql).insert
        self._calls = _Bulk(insert(calls), COLUMNS, dialect) if database.is_sqlite else None
        """PostgreSQL gets them by COPY."""
        self._overheads = _Bulk(own(overheads).on_conflict_do_nothing(), OF_OVERHEADS, dialect)
        self._upkeep = _Bulk(own(upkeep).on_conflict_do_nothing(), OF_UPKEEP, dialect)
        self._days = self._adding(own, days, ("day", *WHOSE), SUMMED)
        self._months = self._adding(own, months, ("month", *WHOSE), SUMMED)
        self._quarters = self._adding(own, quarters, ("quarter", "tenant", "key", "model"), ("requests", "tokens"))
        put = own(spreads)
        onto = {name: put.excluded[name] for name in ("latency", "ttft")}
        keys = list(spreads.primary_key)
        put = put.on_conflict_do_update(index_elements=keys, set_=onto)
        self._spreads = _Bulk(put, [column.name for column in spreads.columns], dialect)

    def _adding(self, own: Any, table: Table, keys: Sequence[str], names: Sequence[str]) -> _Bulk:
        add = own(table)
        onto = {name: table.c[name] + add.excluded[name] for name in names}
        statement = add.on_conflict_do_update(index_elements=[table.c[name] for name in keys], set_=onto)
        return _Bulk(statement, [*keys, *names], self._dialect)

    def write(self, records: Sequence[Record]) -> int:
        """All of a batch, each row once; how many calls were new. Raises Away, and then nothing was written; or
        sqlalchemy's DataError or IntegrityError, or msgspec's DecodeError, where a row cannot be had at all."""
        try:
            with self._transaction() as connection:
                return self._put(connection, records, calls_of(records))
        except exc.IntegrityError:  # some are there, or twice in it; a savepoint for each batch would cost it a tenth
            with self._transaction() as connection:
                return self._put(connection, records, _unseen(connection, calls_of(records)))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._database.writing() as connection:
            if not self._database.is_sqlite:  # gateways take turns: what each adds is read and written back
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4712)")
            yield connection

    def _put(self, connection: Connection, records: Sequence[Record], rows: Iterable[Values]) -> int:
        """These calls, and what of the records is none; how many calls."""
        if self._calls is not None:
            sums = summed(self._calls.each(connection, rows))
        else:
            with self._database.copying(connection, calls.name, COLUMNS) as copy:
                sums = summed(copy.each(rows))
        self._add(connection, sums)
        self._overheads.run(connection, overheads_of(records))
        self._upkeep.run(connection, upkeep_of(records))
        return sums.calls

    def _add(self, connection: Connection, sums: Sums) -> None:
        self._days.run(connection, sums.days)
        self._months.run(connection, sums.months)
        self._quarters.run(connection, sums.quarters)
        self._spreads.run(connection, _spread(connection, sums.spreads, self._mark))


def _unseen(connection: Connection, rows: Iterable[Values]) -> list[Values]:
    """Those of which no row is there. (A batch itself has each id once, but for a damaged journal.)"""
    unseen = {row[_ID]: row for row in rows}
    for ids in _parts(list(unseen)):
        for (known,) in connection.execute(select(calls.c.id).where(calls.c.id.in_(ids))):
            del unseen[known]
    return list(unseen.values())


def _parts(names: list[str]) -> Iterator[list[str]]:
    return (names[at : at + _MOST_ASKED] for at in range(0, len(names), _MOST_ASKED))


# ===== sketches: what is there, and what a batch adds =====


def _spread(connection: Connection, added: dict[Spread, Times], mark: str) -> list[Values]:
    """Rows for `spreads`."""
    there = _spreads_of(connection, added, mark)
    changed: list[Values] = []
    for whose, (latency, ttft) in sorted(added.items()):
        before = there.get(whose, (b"", b""))
        changed.append((*whose, sketch.add(before[0], sketch.pack(latency)), sketch.add(before[1], sketch.pack(ttft))))
    return changed


def _spreads_of(connection: Connection, wanted: Iterable[Spread], mark: str) -> dict[Spread, tuple[bytes, bytes]]:
    """Those of these tenants and days that are there; `mark` is where the driver puts a value."""
    tenants: dict[int, dict[str, None]] = {}
    for tenant, day, _ in wanted:
        tenants.setdefault(day, {})[tenant] = None
    found = {}
    for day, names in tenants.items():
        for part in _parts(list(names)):
            query = f"{_SPREADS} WHERE day = {mark} AND tenant IN ({', '.join([mark] * len(part))})"
            for tenant, on, model, latency, ttft in connection.exec_driver_sql(query, (day, *part)):
                found[tenant, on, model] = (latency, ttft)
    return found
