"""Shedding: saturation by engines' numbers, who is held or refused, and that no outage of metrics stops anybody."""

import pytest

from penstock.core.events import Ended, Observed, Woke
from penstock.core.gate import Gate
from penstock.core.shed import saturation
from penstock.core.spec import PriorityBounds, QueueSpec, ScrapeSpec, ShedSpec
from tests.core.playbook import arrived, house, nothing_held, refusals, seat, sends, stats, tell


@pytest.mark.parametrize(
    ("numbers", "level"),
    [
        ([(0, 0.0)], 0.0), ([(5, 0.0)], 1.0), ([(0, 0.8)], 1.0), ([(2, 0.6)], 0.75), ([(10, 0.8), (0, 0.4)], 1.25),
        ([(None, None)], 0.0), ([(5, 0.9), None], 0.5625), ([], 0.0),
    ],
)  # fmt: skip
def test_saturation_is_the_mean_of_the_worse_number(
    numbers: list[tuple[int | None, float | None] | None], level: float
) -> None:
    """Per replica the larger of waiting / 5 and KV usage / 0.8; numbers that are missing count as 0."""
    seats = [seat(f"r{at}") for at in range(len(numbers))]
    for each, told in zip(seats, numbers, strict=True):
        if told is not None:
            each.observed(stats(waiting=told[0], kv_usage=told[1]), 10.0, 0.0)
    assert saturation(seats, ShedSpec(), 9.9) == pytest.approx(level, abs=0.07 if None in numbers else 1e-9)
    assert saturation(seats, ShedSpec(), 10.0) == 0.0  # stale


def shedding(mode: str) -> Gate:
    """Two seats behind numbers that never become stale within a test; nobody asks for new ones."""
    queue = QueueSpec(shed=ShedSpec(mode=mode))  # type: ignore[arg-type]
    return house("a", seats=2, queue=queue, scrape=ScrapeSpec(enabled=False, stale_after_s=20.0))


def test_low_classes_are_held_back_first_and_come_when_it_is_better() -> None:
    """At saturation 0.8 batch waits beside a free seat and low does not; when numbers get better batch is sent."""
    gate = shedding("hold")
    gate.on(Observed("a", stats(waiting=4)), 0.0)
    assert sends(tell(gate, arrived("b", priority=4), arrived("l", priority=3), now=1.0)) == [("l", "a")]
    assert gate.next_wake() == 1.5
    assert sends(gate.on(Woke(), 1.5)) == []
    gate.on(Observed("a", stats(waiting=0)), 1.6)
    assert gate.next_wake() == 2.0
    assert sends(gate.on(Woke(), 2.0)) == [("b", "a")]
    tell(gate, Ended("l", 1, 200), Ended("b", 1, 200), now=3.0)
    assert nothing_held(gate)
    assert gate.next_wake() in (None, 2.5)


def test_critical_calls_pass_all_that_are_held() -> None:
    """However saturated the engines, a critical call takes the free seat past those that are held back."""
    gate = shedding("hold")
    gate.on(Observed("a", stats(waiting=50, kv_usage=1.0)), 0.0)
    assert sends(tell(gate, arrived("n"), arrived("h", priority=1), now=1.0)) == []
    assert sends(gate.on(arrived("c", priority=0), 1.0)) == [("c", "a")]


def test_stale_numbers_stop_nobody() -> None:
    """Who is held back is sent when the numbers are stale, without any fact but time."""
    gate = shedding("hold")
    gate.on(Observed("a", stats(waiting=50)), 0.0)
    assert sends(gate.on(arrived("n"), 1.0)) == []
    sent: list[tuple[str, str]] = []
    while not sent:
        wake = gate.next_wake()
        assert wake is not None
        assert wake < 22.0
        sent = sends(gate.on(Woke(), wake))
    assert sent == [("n", "a")]


def test_refusing_tells_the_client_at_once() -> None:
    """With `refuse` a class above its ceiling gets 429 with Retry-After; others are served; with `off` all are."""
    gate = shedding("refuse")
    gate.on(Observed("a", stats(kv_usage=0.7)), 0.0)
    orders = gate.on(arrived("l", priority=3), 1.0)
    assert refusals(orders) == [("l", "saturated", 429)]
    assert sends(gate.on(arrived("n"), 1.0)) == [("n", "a")]
    usual = shedding("off")
    usual.on(Observed("a", stats(waiting=50)), 0.0)
    assert sends(usual.on(arrived("l", priority=4), 1.0)) == [("l", "a")]


def test_a_priority_has_a_bound_of_its_own() -> None:
    """`max_per_priority` refuses more of one priority and leaves the others alone."""
    gate = house("a", queue=QueueSpec(max_per_priority=PriorityBounds(batch=1)))
    tell(gate, arrived("c1"), arrived("c2", priority=4), now=0.0)
    assert refusals(gate.on(arrived("c3", priority=4), 0.0)) == [("c3", "queue_full", 429)]
    assert refusals(gate.on(arrived("c4", priority=3), 0.0)) == []
