"""The waiting room: lanes of calls, first come, first served."""

from math import inf

from penstock.core.flight import Flight
from penstock.core.limits.room import Room
from tests.core.playbook import call

ALICE, BOB = ("t", "alice", "m", "standard", 0), ("t", "bob", "m", "standard", 0)


def waits(room: Room, id: str, lane: tuple[str, str, str, str, int], at: float) -> Flight:
    """A call that joins a lane."""
    flight = Flight(call(id), (), at)
    room.push(flight, lane)
    return flight


def test_heads_are_the_first_of_each_lane() -> None:
    """Who came first first; who leaves makes room for the next."""
    room = Room()
    one, two, three = waits(room, "c1", ALICE, 1.0), waits(room, "c2", BOB, 0.5), waits(room, "c3", ALICE, 2.0)
    assert (len(room), room.waiting("t"), room.tenants()) == (3, 3, ["t"])
    assert room.heads("t") == [two, one]
    assert (room.oldest("t"), room.oldest("u")) == (0.5, inf)
    room.drop(one)
    assert room.heads("t") == [two, three]
    assert room.first(ALICE) is three
    room.drop(three)
    assert not room.busy(ALICE)
    assert room.busy(BOB)
    room.drop(two)
    assert (len(room), room.tenants(), room.heads("t"), room.waiting("t")) == (0, [], [], 0)
