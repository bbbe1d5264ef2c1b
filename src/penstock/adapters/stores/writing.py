"""Writes what the journal holds into the ledger's tables: in batches, each once, however often it is tried.

A batch is one transaction: its rows, and what they add to the sums. Rows that are there already (a process was killed
between the commit and the journal's knowing of it) are left out of both, by their id.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from penstock.adapters.stores import sketch
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.tables import calls, days, overheads, spreads, upkeep
from penstock.base.entries import CALL, OVERHEAD, UPKEEP, Entry, Overhead, Upkeep
from penstock.base.nouns import CallRow, Usage

MICROS: Final = 1_000_000
NANOS: Final = 1_000_000_000
DAY: Final = 86_400 * MICROS
MOST_TEXT: Final = 256
"""Of a name that a client may choose."""
UNKNOWN: Final = "(unknown)"
"""Stands in the sums for models that nobody serves: clients cannot fill them with inventions."""
_IDS: Final = 500
_NOTHING: Final = Usage()
_SUMS: Final = (
    "calls", "ok", "estimated", "prompt_tokens", "completion_tokens", "cached_tokens", "cost", "latency",
)  # fmt: skip

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


class Writer:
    """Puts batches into one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = sqlite if database.is_sqlite else postgresql
        self._insert = dialect.insert

    def write(self, batch: Batch) -> int:
        """All of a batch, each row once; how many calls were new. Raises Away, and then nothing was written; or
        sqlalchemy's DataError or IntegrityError, where a row cannot be had at all."""
        with self._database.writing() as connection:
            if not self._database.is_sqlite:  # gateways take turns: what each adds is read and written back
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4712)")
            new = self._unseen(connection, batch[0])
            if new:
                connection.execute(insert(calls), new)
                self._add_days(connection, new)
                self._add_spreads(connection, new)
            for table, rows in ((overheads, batch[1]), (upkeep, batch[2])):
                if rows:
                    connection.execute(self._insert(table).on_conflict_do_nothing(), rows)
        return len(new)

    def _unseen(self, connection: Connection, rows: Sequence[Row]) -> list[Row]:
        """Those of which no row is there. (A batch itself has each id once, but for a damaged journal.)"""
        unseen = {row["id"]: row for row in rows}
        ids = list(unseen)
        for at in range(0, len(ids), _IDS):
            seen = connection.execute(select(calls.c.id).where(calls.c.id.in_(ids[at : at + _IDS])))
            for (known,) in seen:
                del unseen[known]
        return list(unseen.values())

    def _add_days(self, connection: Connection, rows: Sequence[Row]) -> None:
        sums: dict[tuple[int, str, str, str, str], list[int]] = {}
        for row in rows:
            whose = (row["at"] // DAY, row["tenant"], row["key"], _served(row), row["pool"])
            found = sums.get(whose)
            if found is None:
                found = sums[whose] = [0] * len(_SUMS)
            for at, amount in enumerate(_amounts(row)):
                found[at] += amount
        names = ("day", "tenant", "key", "model", "pool", *_SUMS)
        added = [dict(zip(names, (*whose, *found), strict=True)) for whose, found in sums.items()]
        self._upsert(connection, days, added, _SUMS)

    def _upsert(self, connection: Connection, table: Table, rows: list[Row], summed: Sequence[str]) -> None:
        add = self._insert(table)
        onto = {name: table.c[name] + add.excluded[name] for name in summed}
        connection.execute(add.on_conflict_do_update(index_elements=list(table.primary_key), set_=onto), rows)

    def _add_spreads(self, connection: Connection, rows: Sequence[Row]) -> None:
        buckets: dict[tuple[int, str, str], tuple[list[int], list[int]]] = {}
        for row in rows:
            if row["outcome"] != "ok" or row["status"] >= 400:
                continue
            whose = (row["at"] // DAY, row["tenant"], _served(row))
            latency, ttft = buckets.setdefault(whose, ([], []))
            latency.append(sketch.bucket_of(row["latency"]))
            if row["stream"] and row["ttft"] is not None:
                ttft.append(sketch.bucket_of(row["ttft"]))
        changed = []
        for whose, (latency, ttft) in buckets.items():
            where = spreads.select().where(*(column == is_ for column, is_ in zip(spreads.primary_key, whose)))
            old = connection.execute(where).one_or_none()
            before = (b"", b"") if old is None else (old.latency, old.ttft)
            changed.append(
                {
                    "day": whose[0], "tenant": whose[1], "model": whose[2],
                    "latency": sketch.add(before[0], sketch.pack(latency)),
                    "ttft": sketch.add(before[1], sketch.pack(ttft)),
                }
            )  # fmt: skip
        if changed:
            add = self._insert(spreads)
            onto = {name: add.excluded[name] for name in ("latency", "ttft")}
            keys = list(spreads.primary_key)
            connection.execute(add.on_conflict_do_update(index_elements=keys, set_=onto), changed)


def _served(row: Row) -> str:
    model: str = row["model"]
    return model if row["pool"] else UNKNOWN


def _amounts(row: Row) -> tuple[int, ...]:
    good = row["outcome"] == "ok" and row["status"] < 400
    return (
        1, good, row["estimated"], row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"], row["cost"],
        row["latency"],
    )  # fmt: skip
