"""The orders are one closed vocabulary that a journal can keep and give back."""

from typing import get_args

import msgspec
import pytest

from penstock.base.leases import Ask, Want
from penstock.base.nouns import Rates
from penstock.core.effects import (
    Aboard,
    Adopt,
    Answer,
    Bench,
    Cancel,
    Carry,
    Compare,
    Drop,
    Effect,
    Forget,
    Hand,
    Keep,
    Lease,
    LookUp,
    Probe,
    Refuse,
    Release,
    Return,
)
from tests.core.playbook import USED, record, send

ONE_OF_EACH: list[Effect] = [
    send("c1", 1, "a"),
    Carry("group/c1", (Aboard("c1", 0.5), Aboard("c2", 0.0, Rates(60, 0, 1.5, None, None, None)))),
    Cancel("c1", 2),
    Refuse("c1", "queue_full", 429, "", 3.0, Rates(60, 0, 1.5, None, None, None)),
    record(usage=USED),
    Probe("a", "stats", 5.0),
    Probe("a", "bench", 30.0, Bench(1, "m", 512, 32, 2)),
    Lease(1, 3.0, (Ask(("tenant", "t", ""), 1, (Want("tokens per day", 9, ((17, 2),), 1, 1, 1, 4),)),)),
    Return(2, 3.0, ()),
    Forget("a"),
    LookUp("c1", "k"),
    LookUp("c1", "k", 2),
    Release("k", "c1", True),
    Hand("1/7", "hit", "k", "", 5.0, 60.0, ("t",), 3),
    Hand("1/7", "coalesced", "k", "c0"),
    Hand("1/7", "failed", label="upstream_5xx", status=500),
    Compare("c1", "f"),
    Answer("c1", "k", "hit", "", 5.0, None, 0.93),
    Answer("c1", "k", "coalesced", "c0"),
    Adopt("c0", "c1"),
    Keep("c1", "k", 60.0, "x", "m", ("t",), True, ("j",)),
    Drop(("k",)),
]


@pytest.mark.parametrize("order", ONE_OF_EACH, ids=lambda order: type(order).__name__)
def test_an_order_survives_being_written_and_read(order: Effect) -> None:
    """Encoded as JSON and decoded as an Effect it is the same order."""
    assert msgspec.json.decode(msgspec.json.encode(order), type=Effect) == order


def test_the_list_is_complete() -> None:
    """Every kind of order stands in the list above."""
    assert {type(order) for order in ONE_OF_EACH} == set(get_args(Effect))
