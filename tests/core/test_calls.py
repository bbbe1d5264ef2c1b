"""Playbooks of single calls: sent, begun, ended. Those that wait stand in `test_dispatch`, failed attempts in
`test_chances`, clients that leave in `test_calls_leaving`."""

import pytest

from penstock.base.nouns import Usage
from penstock.core.events import Began, Ended, Failed, FleetSeen
from penstock.core.spec import TimeoutSpec
from tests.core.playbook import (
    USED,
    arrived,
    house,
    nothing_held,
    record,
    replica,
    send,
    tell,
)


def test_a_call_is_sent_at_once_and_ends_in_its_row() -> None:
    """A call that meets a free seat is sent with its pool's timeouts; its end gives the seat back and the one row."""
    gate = house("a")
    assert gate.on(arrived("c1"), 1.0) == [send("c1", 1, "a")]
    assert gate.counts() == {"flights": 1, "waiting": 0, "held_ids": 0, "limit_holds": 0, "seats_taken": 1}
    assert gate.on(Began("c1", 1), 1.5) == []
    assert gate.on(Ended("c1", 1, 200, USED, 4), 4.0) == [
        record("c1", at=1.0, latency_s=3.0, ttft_s=0.5, usage=Usage(10, 5), relayed_tokens=4)
    ]
    assert nothing_held(gate)
    assert gate.next_wake() is None


def test_an_answer_without_content_ends_like_any_other() -> None:
    """Ended without Began is a whole answer that had no content byte: no TTFT, and the row is written."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    assert gate.on(Ended("c1", 1, 200), 2.0) == [record("c1", latency_s=2.0)]


def test_a_clients_mistake_that_the_engine_found_is_an_answer() -> None:
    """A relayed 4xx ends as `ok` with its status and counts as served, not against the replica."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    assert gate.on(Ended("c1", 1, 422), 1.0) == [record("c1", status=422, latency_s=1.0)]
    (view,) = gate.replicas(1.0)
    assert (view.served, view.failed, view.error_rate) == (1, 0, 0.0)


def test_send_carries_the_pools_timeouts_and_the_upstreams_name() -> None:
    """The order says how long each stage may take and what the replica itself calls the model."""
    gate = house("a", timeouts=TimeoutSpec(connect_s=1.0, first_byte_s=2.0, idle_s=3.0))
    gate.on(FleetSeen((replica("a", models={"m": "meta/m-8b"}),)), 0.0)
    (order,) = gate.on(arrived("c1"), 0.0)
    assert (order.model, order.connect_timeout_s, order.first_byte_timeout_s, order.idle_timeout_s) == (  # type: ignore[union-attr]
        "meta/m-8b", 1.0, 2.0, 3.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "fact", [Began("c1", 2), Ended("c1", 2, 200), Failed("c1", 2, "closed_early"), Began("c9", 1), Ended("c9", 1, 200)]
)
def test_facts_about_other_attempts_mean_nothing(fact: Began | Ended | Failed) -> None:
    """What is told of an attempt that is not under way, or of an unknown call, changes nothing."""
    gate = house("a")
    gate.on(arrived("c1"), 0.0)
    before = gate.counts()
    assert gate.on(fact, 1.0) == []
    assert gate.counts() == before


def test_a_second_first_byte_means_nothing() -> None:
    """Began told twice keeps the first time."""
    gate = house("a")
    tell(gate, arrived("c1"), Began("c1", 1), now=0.0)
    gate.on(Began("c1", 1), 5.0)
    assert gate.on(Ended("c1", 1, 200), 6.0) == [record("c1", latency_s=6.0, ttft_s=0.0)]
