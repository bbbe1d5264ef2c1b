"""A pool as people see it."""

from penstock.core.pool import Pool
from penstock.core.spec import StickySpec
from penstock.core.view import pool_view
from tests.core.playbook import arrived, house


def shown(gate: object) -> Pool:
    """The only pool of a house."""
    return gate._fleet.pools["main"]  # type: ignore[attr-defined,no-any-return]


def test_what_waits_and_what_is_taken_is_counted() -> None:
    """Two replicas of one seat, three calls: two in flight, one waiting since two seconds."""
    gate = house("a", "b")
    for number in range(3):
        gate.on(arrived(f"c{number}", priority=number), 1.0)
    view = pool_view(shown(gate), 3.0)
    assert (view.in_flight, view.seats, view.replicas, view.healthy) == (2, 2, 2, 2)
    assert (view.queued, view.oldest_s, view.queued_by_priority["normal"]) == (1, 2.0, 1)
    assert (view.strategy, view.models) == ("least_connections", ["m"])


def test_who_waits_for_one_replica_waits_as_long_as_anybody() -> None:
    """The oldest is looked for among pinned calls too: they stand in lines of their replicas."""
    gate = house("a", sticky=StickySpec(header="x-session-id", pin=True))
    gate.on(arrived("c1", session="x"), 0.0)
    gate.on(arrived("c2", session="x"), 1.0)
    gate.on(arrived("c3"), 2.0)
    view = pool_view(shown(gate), 5.0)
    assert (view.queued, view.oldest_s) == (2, 4.0)


def test_an_idle_pool_waits_for_nothing() -> None:
    """Nothing queued, nothing in panic, nobody put out."""
    view = pool_view(shown(house("a")), 5.0)
    assert (view.queued, view.oldest_s, view.panic, view.ejections) == (0, 0.0, False, {})
