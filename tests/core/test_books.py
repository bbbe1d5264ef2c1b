"""Playbooks of what calls hold: ids of clients, which are in flight once."""

from penstock.core.effects import Refuse
from penstock.core.events import Arrived, Ended
from tests.core.playbook import arrived, call, house, kinds, record, refusals, tell


def test_a_clients_id_is_refused_while_one_is_in_flight() -> None:
    """A second call with its client's id gets 409 and leaves the first alone; after the end the id is free again."""
    gate = house("a", seats=5)
    gate.on(arrived("c1", client_id="x"), 0.0)
    assert gate.on(arrived("c2", client_id="x"), 1.0) == [
        Refuse("c2", "duplicate_request_id", 409),
        record("c2", "duplicate_request_id", 409, client_id="x", at=1.0, replica="", attempts=0),
    ]
    assert gate.counts() == {"flights": 1, "waiting": 0, "held_ids": 1, "limit_holds": 0, "seats_taken": 1}
    gate.on(Ended("c1", 1, 200), 2.0)
    assert kinds(gate.on(arrived("c3", client_id="x"), 2.0)) == ["Send"]


def test_clients_ids_are_their_tenants_own() -> None:
    """Two tenants may use one id at the same time; calls without an id never meet."""
    gate = house("a", seats=5)
    both = tell(gate, arrived("c1", client_id="x", tenant="t"), arrived("c2", client_id="x", tenant="u"), now=0.0)
    assert kinds(both) == ["Send", "Send"]
    assert kinds(tell(gate, arrived("c3"), arrived("c4"), now=0.0)) == ["Send", "Send"]
    assert gate.counts()["held_ids"] == 2


def test_our_own_id_cannot_enter_twice() -> None:
    """A second call under an id of ours that is in flight is refused and does not disturb the first."""
    gate = house("a", seats=5)
    gate.on(arrived("c1"), 0.0)
    assert refusals(gate.on(Arrived(call("c1")), 0.0)) == [("c1", "duplicate_request_id", 409)]
    assert gate.on(Ended("c1", 1, 200), 1.0) == [record("c1", latency_s=1.0)]
