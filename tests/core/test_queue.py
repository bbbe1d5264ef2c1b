"""Lines and their counts, on their own."""

from typing import Any

import pytest

from penstock.core.fair import Fair
from penstock.core.flight import Flight
from penstock.core.queue import Counts, Line
from penstock.core.spec import PriorityBounds, QueueSpec
from tests.core.playbook import call


def flight(id: str, at: float = 0.0, **fields: Any) -> Flight:
    """A call that arrived at this time."""
    return Flight(call(id, **fields), (), at)


def test_a_line_knows_its_longest_wait() -> None:
    """The head is the earliest arrival of both parts; an empty line has none."""
    line = Line(QueueSpec())
    assert line.head_at() == float("inf")
    assert not line
    for each in (flight("b", 2.0), flight("c", 3.0)):
        line.push(each, Fair(QueueSpec(), ()).flow("t", 0.0), 3.0)
    assert line.head_at() == 2.0
    again = flight("a", 1.0)
    again.attempt = 1
    line.push(again, Fair(QueueSpec(), ()).flow("t", 0.0), 3.0)
    assert line.head_at() == 1.0
    assert [each.call.id for each in line] == ["a", "b", "c"]
    assert len(line) == 3


def test_counts_return_to_nothing() -> None:
    """What was added and dropped leaves no tenant, no byte and no priority behind."""
    counts = Counts()
    calls = [flight(f"c{n}", tenant=f"t{n % 2}", body_bytes=n, priority=n % 5) for n in range(7)]
    for each in calls:
        counts.add(each)
    assert (counts.calls, counts.bytes, counts.by_tenant) == (7, 21, {"t0": 4, "t1": 3})
    assert counts.shown_by_priority() == {"critical": 2, "high": 2, "normal": 1, "low": 1, "batch": 1}
    for each in calls:
        counts.drop(each)
    assert (counts.calls, counts.bytes, counts.by_tenant) == (0, 0, {})
    assert not any(counts.by_priority)


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        (QueueSpec(max=2), "queue_full"),
        (QueueSpec(max=3), None),
        (QueueSpec(max_bytes=29), "queue_full"),
        (QueueSpec(max_bytes=30), None),
        (QueueSpec(max_per_tenant=2), "tenant_queue_full"),
        (QueueSpec(max_per_tenant=3), None),
        (QueueSpec(max=2, max_per_tenant=2), "queue_full"),
        (QueueSpec(max_per_priority=PriorityBounds(normal=2)), "queue_full"),
        (QueueSpec(max_per_priority=PriorityBounds(normal=3, low=1)), None),
    ],
)
def test_each_bound_is_exact(spec: QueueSpec, refusal: str | None) -> None:
    """With two calls of 10 bytes waiting a third is refused exactly where a bound says so."""
    counts = Counts()
    counts.add(flight("a", body_bytes=10))
    counts.add(flight("b", body_bytes=10))
    assert counts.refusal(spec, flight("c", body_bytes=10)) == refusal


def test_only_the_tenants_with_the_most_waiting_are_shown() -> None:
    """Twenty of them, the longest first."""
    counts = Counts()
    for n in range(30):
        for m in range(n + 1):
            counts.add(flight(f"c{n}-{m}", tenant=f"t{n}"))
    shown = counts.shown_by_tenant()
    assert (len(shown), next(iter(shown.items()))) == (20, ("t29", 30))
