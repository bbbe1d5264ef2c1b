"""Playbooks of ends: all that a call held is given back, it gets its row, and its client is told when to come again."""

from penstock.core.effects import Record, Refuse
from penstock.core.events import ClientGone, Ended, Failed, Woke
from penstock.core.spec import QueueSpec
from tests.core.playbook import arrived, fleet, gate, house, nothing_held, pool, record, tell


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
