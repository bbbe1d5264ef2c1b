"""Writes what the journal holds into the ledger's tables: in batches, each once, however often it is tried.

A batch is one transaction: its rows, and what they add to the sums. Rows that are there already (a process was killed
between the commit and the journal's knowing of it) are left out of both, by their id.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import msgspec
from sqlalchemy import ClauseElement, Connection, Dialect, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from penstock.adapters.stores import sketch
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.tables import SUMMED, calls, days, months, overheads, spreads, upkeep
from penstock.base.entries import CALL, OVERHEAD, UPKEEP, Entry, Overhead, Upkeep
from penstock.base.nouns import CallRow, Usage

MICROS: Final = 1_000_000
NANOS: Final = 1_000_000_000
DAY: Final = 86_400 * MICROS
EPOCH: Final = date(1970, 1, 1)
MOST_TEXT: Final = 256
"""Of a name that a client may choose."""
UNKNOWN: Final = "(unknown)"
"""Stands in the sums for models that nobody serves: clients cannot fill them with inventions."""
TOGETHER: Final = 100
"""Rows of one statement, for SQLite. (A statement has room for 32,766 values.)"""
_VALUES: Final = re.compile(r"(.*? VALUES )(\([?, ]+\))(.*)", re.DOTALL)
_MOST_ASKED: Final = 500
"""Names in one question."""
_NOTHING: Final = Usage()

Row = dict[str, Any]
Batch = tuple[list[Row], list[Row], list[Row]]
"""Rows for `calls`, `overheads` and `upkeep`."""

_entry = msgspec.json.Decoder(Entry).decode
_overhead = msgspec.json.Decoder(Overhead).decode
_upkeep = msgspec.json.Decoder(Upkeep).decode


def rows_of(records: Iterable[tuple[bytes, bytes]]) -> Batch:
    """The rows of records, by kind and payload. Raises msgspec.DecodeError for a payload that is none; kinds that this
    version does not know are passed over."""
    batch: Batch = ([], [], [])
    for kind, payload in records:
        if kind == CALL:
            batch[0].append(call_row(_entry(payload)))
        elif kind == OVERHEAD:
            batch[1].append(_overhead_row(_overhead(payload)))
        elif kind == UPKEEP:
            batch[2].extend(_upkeep_rows(_upkeep(payload)))
    return batch


def _text(text: str) -> str:
    """As every database takes it."""
    if len(text) <= MOST_TEXT and "\0" not in text:
        return text
    return text[:MOST_TEXT].replace("\0", "\N{REPLACEMENT CHARACTER}")


def call_row(entry: Entry) -> Row:
    """A call as it stands in its table."""
    row = entry.row
    used = row.billed or _used(row)
    return {
        "id": row.id, "client_id": _text(row.client_id), "at": round(row.at * MICROS), "tenant": row.tenant,
        "key": row.key, "model": _text(row.model), "path": _text(row.path), "pool": row.pool, "replica": row.replica,
        "region": entry.region, "outcome": row.outcome, "status": row.status, "stream": row.stream,
        "priority": row.priority, "attempts": row.attempts, "hedge": row.hedge, "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens, "cached_tokens": used.cached_tokens,
        "estimated": row.billed is not None, "cost": round(row.cost * NANOS),
        "latency": round(row.latency_s * MICROS),
        "ttft": None if row.ttft_s is None else round(row.ttft_s * MICROS), "queue": round(row.queue_s * MICROS),
    }  # fmt: skip


def _used(row: CallRow) -> Usage:
    return row.usage if row.usage is not None and row.outcome == "ok" and row.status < 400 else _NOTHING


def _overhead_row(spent: Overhead) -> Row:
    row = msgspec.structs.asdict(spent)
    row["at"], row["took"] = round(spent.at * MICROS), round(row.pop("seconds") * MICROS)
    row["model"] = _text(spent.model)
    return row


def _upkeep_rows(span: Upkeep) -> list[Row]:
    return [
        {
            "id": span.id, "replica": kept.replica, "at": round(span.at * MICROS),
            "took": round(span.seconds * MICROS), "pool": kept.pool, "region": kept.region,
            "purchase": kept.purchase, "cost": round(kept.hourly_cost * span.seconds / 3600 * NANOS),
        }
        for kept in span.kept
    ]  # fmt: skip


class _Bulk:
    """An INSERT of many rows, compiled once: SQLAlchemy's own way costs more than the database's work. SQLite gets a
    hundred rows in one statement: Python lets other threads run once for each, and the one that serves has enough of
    being asked to."""

    def __init__(self, statement: ClauseElement, table: Table, dialect: Dialect) -> None:
        names = [column.name for column in table.columns if not (table is calls and column.name == "n")]
        compiled = statement.compile(dialect=dialect, column_keys=names)
        self._text = str(compiled)
        places = getattr(compiled, "positiontup", None)
        self._values = None if places is None else itemgetter(*places)
        """By place, where the driver wants that."""
        head, row, tail = _VALUES.fullmatch(self._text).groups() if places else ("", "", "")  # type: ignore[union-attr]
        self._many = head + ", ".join([row] * TOGETHER) + tail

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Do it for all of them."""
        get = self._values
        if get is None:
            if rows:
                connection.exec_driver_sql(self._text, list(rows))
            return
        whole = len(rows) // TOGETHER * TOGETHER
        for at in range(0, whole, TOGETHER):
            connection.exec_driver_sql(self._many, tuple(chain.from_iterable(map(get, rows[at : at + TOGETHER]))))
        if whole < len(rows):
            connection.exec_driver_sql(self._text, [get(row) for row in rows[whole:]])


class Writer:
    """Puts batches into one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.engine.dialect
        own: Any = (sqlite if database.is_sqlite else postgresql).insert
        self._calls = _Bulk(insert(calls), calls, dialect)
        self._overheads = _Bulk(own(overheads).on_conflict_do_nothing(), overheads, dialect)
        self._upkeep = _Bulk(own(upkeep).on_conflict_do_nothing(), upkeep, dialect)
        self._days, self._months = (self._adding(own, table, dialect) for table in (days, months))
        put = own(spreads)
        onto = {name: put.excluded[name] for name in ("latency", "ttft")}
        keys = list(spreads.primary_key)
        self._spreads = _Bulk(put.on_conflict_do_update(index_elements=keys, set_=onto), spreads, dialect)

    @staticmethod
    def _adding(own: Any, table: Table, dialect: Dialect) -> _Bulk:
        add = own(table)
        onto = {name: table.c[name] + add.excluded[name] for name in SUMMED}
        return _Bulk(add.on_conflict_do_update(index_elements=list(table.primary_key), set_=onto), table, dialect)

    def write(self, batch: Batch) -> int:
        """All of a batch, each row once; how many calls were new. Raises Away, and then nothing was written; or
        sqlalchemy's DataError or IntegrityError, where a row cannot be had at all."""
        with self._database.writing() as connection:
            if not self._database.is_sqlite:  # gateways take turns: what each adds is read and written back
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4712)")
            new = _unseen(connection, batch[0])
            self._calls.run(connection, new)
            by_day, by_month = _sums(new)
            self._days.run(connection, by_day)
            self._months.run(connection, by_month)
            self._spreads.run(connection, _spread(connection, new))
            self._overheads.run(connection, batch[1])
            self._upkeep.run(connection, batch[2])
        return len(new)


def _unseen(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Those of which no row is there. (A batch itself has each id once, but for a damaged journal.)"""
    unseen = {row["id"]: row for row in rows}
    for ids in _parts(list(unseen)):
        for (known,) in connection.execute(select(calls.c.id).where(calls.c.id.in_(ids))):
            del unseen[known]
    return list(unseen.values())


def _parts(names: list[str]) -> Iterator[list[str]]:
    return (names[at : at + _MOST_ASKED] for at in range(0, len(names), _MOST_ASKED))


# ===== what calls add to the sums =====


_Whose = tuple[int, str, str, str, str]
"""Day or month, tenant, key, model, pool."""


def _sums(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """For `days` and for `months`."""
    by_day: dict[_Whose, Sequence[int]] = {}
    for row in rows:
        whose = (row["at"] // DAY, row["tenant"], row["key"], _served(row), row["pool"])
        _add(by_day, whose, _amounts(row))
    by_month: dict[_Whose, Sequence[int]] = {}
    for whose, amounts in by_day.items():
        _add(by_month, (month_of(whose[0]), *whose[1:]), amounts)
    return _rows_of(by_day, "day"), _rows_of(by_month, "month")


def _add(sums: dict[_Whose, Sequence[int]], whose: _Whose, amounts: Sequence[int]) -> None:
    found = sums.get(whose)
    sums[whose] = amounts if found is None else [old + new for old, new in zip(found, amounts)]


def _rows_of(sums: dict[_Whose, Sequence[int]], span: str) -> list[Row]:
    names = (span, "tenant", "key", "model", "pool", *SUMMED)
    return [dict(zip(names, (*whose, *found))) for whose, found in sums.items()]


@lru_cache(maxsize=1024)
def month_of(day: int) -> int:
    """The calendar month, since the year 0, of a day since the epoch."""
    on = EPOCH + timedelta(days=day)
    return on.year * 12 + on.month - 1


def _amounts(row: Row) -> tuple[int, ...]:
    good = row["outcome"] == "ok" and row["status"] < 400
    return (
        1, int(good), int(row["estimated"]), row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"],
        row["cost"], row["latency"],
    )  # fmt: skip


def _served(row: Row) -> str:
    model: str = row["model"]
    return model if row["pool"] else UNKNOWN


def _spread(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """For `spreads`: what is there, and what these add."""
    added: dict[tuple[int, str, str], tuple[list[int], list[int]]] = {}
    for row in rows:
        if row["outcome"] == "ok" and row["status"] < 400:
            latency, ttft = added.setdefault((row["at"] // DAY, row["tenant"], _served(row)), ([], []))
            latency.append(sketch.bucket_of(row["latency"]))
            if row["stream"] and row["ttft"] is not None:
                ttft.append(sketch.bucket_of(row["ttft"]))
    there = _spreads_of(connection, added)
    changed = []
    for whose, (latency, ttft) in added.items():
        before = there.get(whose, (b"", b""))
        changed.append(
            {
                "day": whose[0], "tenant": whose[1], "model": whose[2],
                "latency": sketch.add(before[0], sketch.pack(latency)),
                "ttft": sketch.add(before[1], sketch.pack(ttft)),
            }
        )  # fmt: skip
    return changed


def _spreads_of(
    connection: Connection, wanted: Iterable[tuple[int, str, str]]
) -> dict[tuple[int, str, str], tuple[bytes, bytes]]:
    """Those of these days and tenants that are there."""
    tenants: dict[int, dict[str, None]] = {}
    for day, tenant, _ in wanted:
        tenants.setdefault(day, {})[tenant] = None
    found = {}
    for day, names in tenants.items():
        for part in _parts(list(names)):
            query = spreads.select().where(spreads.c.day == day, spreads.c.tenant.in_(part))
            for row in connection.execute(query):
                found[row.day, row.tenant, row.model] = (row.latency, row.ttft)
    return found
