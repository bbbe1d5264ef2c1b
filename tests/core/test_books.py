"""Playbooks of what calls hold, and that all of it is given back; of their rows, and of when to come again."""

from penstock.core.effects import Record, Refuse
from penstock.core.events import Arrived, ClientGone, Ended, Failed, Woke
from penstock.core.spec import QueueSpec
from tests.core.playbook import arrived, call, fleet, gate, house, kinds, nothing_held, pool, record, refusals, tell

# ===== ids =====


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


def test_an_id_is_given_back_on_every_way_out() -> None:
    """Refused, late, left, failed and ended calls all free their client's id."""
    gate = house("a", queue=QueueSpec(max=1))
    gate.on(arrived("c1", client_id="1"), 0.0)
    gate.on(arrived("c2", client_id="2"), 0.0)
    gate.on(arrived("c3", client_id="3"), 0.0)
    assert gate.counts()["held_ids"] == 2
    gate.on(Woke(), 30.0)
    assert gate.counts()["held_ids"] == 1
    gate.on(Failed("c1", 1, "answer_too_large"), 31.0)
    gate.on(arrived("c4", client_id="4", model="none"), 31.0)
    gate.on(arrived("c5", client_id="5"), 31.0)
    gate.on(ClientGone("c5"), 31.0)
    assert nothing_held(gate)


def test_a_row_keeps_who_and_what() -> None:
    """The row says who called, with what key, for what, how urgent; never a prompt."""
    gate = house("a")
    fact = arrived("c1", tenant="t", key="k", client_id="x", stream=True, priority=4, path="/v1/completions")
    gate.on(fact, 0.0)
    (order,) = gate.on(Ended("c1", 1, 200), 1.0)
    assert isinstance(order, Record)
    assert order == record(
        "c1", tenant="t", key="k", client_id="x", stream=True, priority=4, path="/v1/completions", latency_s=1.0
    )


# ===== Retry-After =====


def test_retry_after_stays_within_a_second_and_a_minute() -> None:
    """However fast or slow the line moves, the client is told something between 1 and 60 s."""
    slow = gate(pool(queue=QueueSpec(max=7)))
    slow.on(fleet("a"), 0.0)
    tell(slow, *(arrived(f"c{n}") for n in range(8)), now=0.0)
    assert slow.on(arrived("late"), 0.0)[0] == Refuse("late", "queue_full", 429, "", 60.0)
    quick = gate(pool(queue=QueueSpec(max=1)))
    quick.on(fleet("a", max_concurrent_requests=20), 0.0)
    tell(quick, *(arrived(f"c{n}") for n in range(21)), now=0.0)
    assert quick.on(arrived("late"), 0.0)[0] == Refuse("late", "queue_full", 429, "", 1.0)
