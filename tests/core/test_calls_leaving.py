"""Playbooks of clients that leave: in every state a call ends in one row, and an attempt that is out is cancelled."""

import pytest

from penstock.core.effects import Cancel
from penstock.core.events import Began, ClientGone, Ended, Failed, Woke
from tests.core.playbook import arrived, fleet, gate, house, kinds, nothing_held, record, send, sends, tell

GONE = "client_gone"


def test_leaving_while_queued_removes_the_call() -> None:
    """A client that leaves the queue is never sent; its time in the queue is in the row."""
    gate = house("a")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    assert gate.on(ClientGone("c2"), 4.0) == [
        record("c2", GONE, 499, replica="", attempts=0, latency_s=4.0, queue_s=4.0),
    ]
    assert gate.next_wake() is None
    assert gate.on(Ended("c1", 1, 200), 5.0) == [record("c1", latency_s=5.0)]
    assert nothing_held(gate)


def test_leaving_before_the_first_byte_cancels_the_attempt() -> None:
    """An attempt that has not answered yet is cancelled, its seat goes to the next in line."""
    gate = house("a")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    assert gate.on(ClientGone("c1"), 3.0) == [
        Cancel("c1", 1),
        record("c1", GONE, 499, latency_s=3.0),
        send("c2", 1, "a", queue_s=3.0),
    ]


def test_leaving_in_the_middle_of_an_answer_cancels_the_attempt() -> None:
    """An attempt that has begun is cancelled; the row has the tokens that were relayed."""
    gate = house("a")
    tell(gate, arrived("c1"), Began("c1", 1), now=1.0)
    assert gate.on(ClientGone("c1", 9), 3.0) == [
        Cancel("c1", 1),
        record("c1", GONE, 499, at=1.0, latency_s=2.0, ttft_s=0.0, relayed_tokens=9),
    ]
    assert nothing_held(gate)


def test_leaving_in_a_pause_before_a_retry_needs_no_cancel() -> None:
    """A call that pauses holds nothing at any engine: only its row is written and its alarm taken back."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    gate.on(Failed("c1", 1, "upstream_5xx"), 1.0)
    assert gate.on(ClientGone("c1"), 1.5) == [record("c1", GONE, 499, replica="", latency_s=1.5)]
    assert gate.next_wake() is None
    assert gate.on(Woke(), 2.0) == []
    assert nothing_held(gate)


@pytest.mark.parametrize("late", [Began("c1", 1), Ended("c1", 1, 200), Failed("c1", 1, "closed_early")])
def test_what_a_failed_attempt_still_says_in_the_pause_means_nothing(late: Began | Ended | Failed) -> None:
    """Between two attempts none is under way: the retry comes in its time, and the call is answered by that."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    gate.on(Failed("c1", 1, "upstream_5xx"), 1.0)
    assert gate.on(late, 1.1) == []
    again = gate.next_wake()
    assert again is not None
    assert sends(gate.on(Woke(), again)) == [("c1", "a")]
    assert kinds(gate.on(Ended("c1", 2, 200), again + 1)) == ["Record"]
    assert nothing_held(gate)


def test_leaving_while_waiting_beside_the_line() -> None:
    """A retry that waits for an untried replica is taken out like any waiting call."""
    gate = house("a", "b")
    tell(gate, arrived("c1"), arrived("c2"), now=0.0)
    gate.on(Failed("c1", 1, "closed_early"), 1.0)
    assert gate.on(ClientGone("c1"), 3.0) == [record("c1", GONE, 499, replica="", latency_s=3.0, queue_s=2.0)]
    assert gate.on(Ended("c2", 1, 200), 4.0) == [record("c2", replica="b", latency_s=4.0)]
    assert gate.next_wake() is None
    assert nothing_held(gate)


def test_leaving_during_a_later_attempt_cancels_that_one() -> None:
    """The order to cancel names the attempt that is under way."""
    gate = house("a", "b")
    gate.on(arrived("c1"), 0.0)
    gate.on(Failed("c1", 1, "closed_early"), 1.0)
    assert gate.on(ClientGone("c1"), 2.0) == [
        Cancel("c1", 2),
        record("c1", GONE, 499, replica="b", attempts=2, latency_s=2.0),
    ]


def test_leaving_while_no_replica_is_there() -> None:
    """A call that waits for any replica at all may leave as well."""
    machine = gate()
    machine.on(arrived("c1"), 0.0)
    assert machine.on(ClientGone("c1"), 1.0) == [
        record("c1", GONE, 499, replica="", attempts=0, latency_s=1.0, queue_s=1.0)
    ]
    assert machine.next_wake() is None


def test_leaving_twice_or_after_the_end_means_nothing() -> None:
    """Whatever is told of a call after its row changes nothing."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    gate.on(ClientGone("c1"), 1.0)
    late = tell(gate, ClientGone("c1"), Began("c1", 1), Ended("c1", 1, 200), Failed("c1", 1, "closed_early"), now=2.0)
    assert late == []
    assert nothing_held(gate)


def test_a_client_that_leaves_says_nothing_about_its_replica() -> None:
    """Leaving is neither a success nor a failure of the replica."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    gate.on(ClientGone("c1"), 50.0)
    (view,) = gate.replicas(50.0)
    assert (view.served, view.failed, view.error_rate, view.state) == (0, 0, 0.0, "healthy")


def test_a_wait_in_vain_counts_as_slow() -> None:
    """A replica that let a client wait longer than it is known to need does not keep its good name."""
    gate = house("a", seats=9)
    tell(gate, arrived("c1", stream=True), now=0.0)
    gate.on(Began("c1", 1), 1.0)
    gate.on(arrived("c2", stream=True), 1.0)
    gate.on(ClientGone("c2"), 1.5)
    assert gate.replicas(2.0)[0].ttft_ewma_s == 1.0
    gate.on(arrived("c3", stream=True), 2.0)
    gate.on(ClientGone("c3"), 13.0)
    assert gate.replicas(13.0)[0].ttft_ewma_s == 2.0
    gate.on(fleet("b"), 13.0)
    gate.on(arrived("c4", stream=True), 13.0)
    gate.on(ClientGone("c4"), 15.0)
    assert gate.replicas(15.0)[0].ttft_ewma_s == 2.0


def test_leaving_after_the_first_byte_says_nothing_about_speed() -> None:
    """The time to the first byte is known by then; how long the client read on is its own affair."""
    gate = house("a", seats=2)
    tell(gate, arrived("c1", stream=True), now=0.0)
    gate.on(Began("c1", 1), 1.0)
    gate.on(ClientGone("c1"), 100.0)
    assert gate.replicas(100.0)[0].ttft_ewma_s == 1.0


def test_leaving_a_replica_that_is_already_out_of_the_fleet_lets_it_go() -> None:
    """The last call of a removed replica may end by its client's leaving."""
    machine = house("a")
    machine.on(arrived("c1"), 0.0)
    machine.on(fleet("b"), 1.0)
    kinds = [type(order).__name__ for order in machine.on(ClientGone("c1"), 2.0)]
    assert kinds == ["Cancel", "Forget", "Record"]
