"""The vocabularies are closed, and every word can be written to a journal and read back."""

import msgspec

from penstock.engine.words import Abort, Emit, Event, Finish, Order, Reject, Slowed, Submit, Woke


def test_facts_survive_a_journal() -> None:
    """Each fact decodes from its JSON to what it was."""
    facts: list[Event] = [Submit("a", 3, 2, (1, 2), "stop"), Abort("a"), Slowed(2.0), Woke()]
    assert msgspec.json.decode(msgspec.json.encode(facts), type=list[Event]) == facts


def test_orders_survive_a_journal() -> None:
    """Each order decodes from its JSON to what it was."""
    orders: list[Order] = [Emit("a", 1, True), Finish("a", 3, 2, 0, "length"), Reject("b", "too_long")]
    assert msgspec.json.decode(msgspec.json.encode(orders), type=list[Order]) == orders
