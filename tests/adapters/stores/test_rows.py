"""Rows: the journal's records by place, in the units and the order of the tables."""

from typing import Any

import msgspec
import pytest

from penstock.adapters.stores.rows import (
    COLUMNS,
    OF_OVERHEADS,
    OF_UPKEEP,
    call_values,
    calls_of,
    overheads_of,
    upkeep_of,
)
from penstock.base.entries import OVERHEAD, UPKEEP, Entry, Kept, Overhead, Upkeep
from penstock.base.nouns import Usage
from penstock.drive.segments import Record
from tests.telemetry.rows import row


def call_row(entry: Entry) -> dict[str, Any]:
    """A call's values by the names of their columns."""
    return dict(zip(COLUMNS, call_values(entry), strict=True))


def test_a_call_becomes_a_row() -> None:
    """Times in microseconds, money in billionths, the tokens that the engine told."""
    made = call_row(Entry(row(at=1.5, latency_s=2.25, ttft_s=0.1, queue_s=0.02, cost=0.000123), "eu"))
    assert made["at"] == 1_500_000
    assert (made["latency"], made["ttft"], made["queue"]) == (2_250_000, 100_000, 20_000)
    assert (made["prompt_tokens"], made["completion_tokens"], made["cached_tokens"]) == (10, 21, 4)
    assert (made["cost"], made["estimated"], made["region"]) == (123_000, 0, "eu")
    assert {type(value) for value in made.values()} == {int, str}, "what drivers take as it is"


@pytest.mark.parametrize(
    "changes, tokens, estimated",
    [
        ({"usage": None, "billed": Usage(8, 3), "outcome": "client_gone", "status": 499}, (8, 3), True),
        ({"usage": None, "outcome": "queue_full", "status": 429, "ttft_s": None}, (0, 0), False),
        ({"usage": Usage(8, 3), "status": 400}, (0, 0), False),
    ],
)  # fmt: skip
def test_tokens_are_those_that_are_billed(changes: dict[str, Any], tokens: tuple[int, int], estimated: bool) -> None:
    """An estimate where the engine did not tell; nothing for refusals and for mistakes of the client."""
    made = call_row(Entry(row(**changes)))
    assert (made["prompt_tokens"], made["completion_tokens"]) == tokens
    assert made["estimated"] == estimated


def test_names_of_clients_are_bounded_and_clean() -> None:
    """A model's name may be anything that a client sent: it is cut, and holds no NUL, which PostgreSQL refuses."""
    made = call_row(Entry(row(model="a\0" + "b" * 1000)))
    assert made["model"] == "a\ufffd" + "b" * 254


def test_whom_and_what_else_a_row_tells() -> None:
    """The end user's digest, what the cache did, and the hour by which ids of clients are found."""
    made = call_row(Entry(row(at=7200.5, user="0123abcd", cache="hit")))
    assert (made["end_user"], made["cache"], made["hour"]) == ("0123abcd", "hit", 2)


def test_values_are_in_the_order_of_their_columns() -> None:
    """Of overheads and upkeep as well."""
    lost = Overhead("a", 2, 1.5, 0.5, "acme", "web", "tiny", "p", "r1", "eu", "hedge_lost")
    span = Upkeep("g-1", 2.0, 1800.0, (Kept("r1", "p", "eu", "spot", 2.0),))
    records = [Record(OVERHEAD, msgspec.json.encode(lost)), Record(UPKEEP, msgspec.json.encode(span))]
    assert list(calls_of(records)) == []
    (found,) = overheads_of(records)
    assert dict(zip(OF_OVERHEADS, found, strict=True)) == {
        "call": "a", "attempt": 2, "at": 1_500_000, "took": 500_000, "tenant": "acme", "key": "web", "model": "tiny",
        "pool": "p", "replica": "r1", "region": "eu", "what": "hedge_lost",
    }  # fmt: skip
    (found,) = upkeep_of(records)
    assert dict(zip(OF_UPKEEP, found, strict=True)) == {
        "id": "g-1", "replica": "r1", "at": 2_000_000, "took": 1_800_000_000, "pool": "p", "region": "eu",
        "purchase": "spot", "cost": 1_000_000_000,
    }  # fmt: skip


def test_kinds_of_a_later_version_are_passed_over() -> None:
    """A journal may hold more than this version knows; what is no record of its kind is a mistake."""
    later = [Record(b"z", b"whatever")]
    assert (list(calls_of(later)), overheads_of(later), upkeep_of(later)) == ([], [], [])
    with pytest.raises(msgspec.DecodeError):
        list(calls_of([Record(b"c", b"whatever")]))
