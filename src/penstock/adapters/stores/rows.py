"""Rows: the journal's records as they stand in the ledger's tables, values by place, as drivers take them.

Times are whole microseconds since the epoch (UTC), money is in whole billionths.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from penstock.adapters.stores.tables import calls, overheads, upkeep
from penstock.base.entries import CALL, OVERHEAD, UPKEEP, Entry, Overhead, Upkeep
from penstock.base.nouns import Usage
from penstock.drive.segments import Record

MICROS: Final = 1_000_000
NANOS: Final = 1_000_000_000
HOUR: Final = 3_600 * MICROS
MOST_TEXT: Final = 256
"""Of a name that a client may choose."""
_NOTHING: Final = Usage()

Values = tuple[Any, ...]
"""One row."""
COLUMNS: Final = tuple(column.name for column in calls.columns if column.name != "n")
"""Of `calls`, in the order of `Values`; `n` is the database's."""
OF_OVERHEADS: Final = tuple(column.name for column in overheads.columns)
OF_UPKEEP: Final = tuple(column.name for column in upkeep.columns)


_entry = msgspec.json.Decoder(Entry).decode
_overhead = msgspec.json.Decoder(Overhead).decode
_upkeep = msgspec.json.Decoder(Upkeep).decode


def calls_of(records: Iterable[Record]) -> Iterator[Values]:
    """The rows of those records that are calls, as they are asked for. This and the next two raise msgspec.DecodeError
    for a payload that is none; kinds that this version does not know are passed over."""
    return (call_values(_entry(payload)) for kind, payload in records if kind == CALL)


def overheads_of(records: Iterable[Record]) -> list[Values]:
    """The rows of attempts that nobody is billed for."""
    return [_overhead_values(_overhead(payload)) for kind, payload in records if kind == OVERHEAD]


def upkeep_of(records: Iterable[Record]) -> list[Values]:
    """The rows of what replicas cost."""
    return [row for kind, payload in records if kind == UPKEEP for row in _upkeep_values(_upkeep(payload))]


def call_values(entry: Entry) -> Values:
    """A call as it stands in its table: the order is that of `COLUMNS`. What is true or false is 1 or 0, which every
    database takes: Python's driver of SQLite asks around for a microsecond before it takes a bool."""
    row = entry.row
    at = round(row.at * MICROS)
    ttft_s = row.ttft_s
    used = row.billed
    if used is None:
        told = row.usage is not None and row.outcome == "ok" and row.status < 400
        used = row.usage if told else _NOTHING
        assert used is not None
    client_id, model, path = row.client_id, row.model, row.path
    if len(client_id) + len(model) + len(path) > MOST_TEXT or "\0" in f"{client_id}{model}{path}":
        client_id, model, path = _text(client_id), _text(model), _text(path)
    return (
        row.id, client_id, at, row.tenant, row.key, model, path, row.pool, row.replica, entry.region, row.outcome,
        row.status, +row.stream, row.priority, row.attempts, row.hedge,
        used.prompt_tokens, used.completion_tokens, used.cached_tokens, +(row.billed is not None),
        round(row.cost * NANOS), round(row.latency_s * MICROS), None if ttft_s is None else round(ttft_s * MICROS),
        round(row.queue_s * MICROS), at // HOUR, row.user or "", row.cache or "",
    )  # fmt: skip


def _text(text: str) -> str:
    """As every database takes it."""
    if len(text) <= MOST_TEXT and "\0" not in text:
        return text
    return text[:MOST_TEXT].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _overhead_values(spent: Overhead) -> Values:
    return (
        spent.call, spent.attempt, round(spent.at * MICROS), round(spent.seconds * MICROS), spent.tenant, spent.key,
        _text(spent.model), spent.pool, spent.replica, spent.region, spent.what,
    )  # fmt: skip


def _upkeep_values(span: Upkeep) -> list[Values]:
    at, took = round(span.at * MICROS), round(span.seconds * MICROS)
    return [
        (
            span.id, kept.replica, at, took, kept.pool, kept.region, kept.purchase,
            round(kept.hourly_cost * span.seconds / 3600 * NANOS),
        )
        for kept in span.kept
    ]  # fmt: skip
