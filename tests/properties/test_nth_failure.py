"""The n-th attempt fails, for every n and every way to fail: all other calls are served and nothing is left behind."""

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush

import pytest

from penstock.base.errors import REFUSALS, Label
from penstock.core.effects import Cancel, Effect, Record, Refuse, Send
from penstock.core.events import Began, Ended, Event, Failed, Woke
from penstock.core.gate import Gate
from penstock.core.spec import HedgeSpec
from tests.core.playbook import arrived, house, nothing_held

CALLS = 8
LABELS: list[Label] = [row.label for row in REFUSALS.values() if row.type == "upstream_error"]  # type: ignore[misc]


def run(gate: Gate, nth: Callable[[int], bool], label: Label, after_first_byte: bool) -> list[Effect]:
    """Eight calls at once at two replicas of two seats; attempts begin after 0.1 s and end after 1 s, but the attempts
    that `nth` names (from 1) fail. All orders until nobody has anything left to do."""
    heap: list[tuple[float, int, Event]] = [(0.0, n, arrived(f"c{n}")) for n in range(CALLS)]
    orders: list[Effect] = []
    made, count = 0, CALLS
    while heap or gate.next_wake() is not None:
        wake = gate.next_wake()
        if wake is not None and (not heap or wake < heap[0][0]):
            now, fact = wake, Woke()
        else:
            now, _, fact = heappop(heap)  # type: ignore[assignment]
        for order in gate.on(fact, now):
            orders.append(order)
            if isinstance(order, Send):
                made, count = made + 1, count + 2
                bad = nth(made)
                if not bad or after_first_byte:
                    heappush(heap, (now + 0.1, count, Began(order.id, order.attempt)))
                end = Failed(order.id, order.attempt, label) if bad else Ended(order.id, order.attempt, 200)
                heappush(heap, (now + (0.2 if bad else 1.0), count + 1, end))
    return orders


@pytest.mark.parametrize("after_first_byte", [False, True])
@pytest.mark.parametrize("label", LABELS)
def test_one_failed_attempt_costs_at_most_its_own_call(label: Label, after_first_byte: bool) -> None:
    """Whichever attempt fails: one row a call, all others are ok, and that one is too where it may be repeated."""
    for failing in range(1, CALLS + 1):
        gate = house("a", "b", seats=2)
        orders = run(gate, lambda made, failing=failing: made == failing, label, after_first_byte)  # type: ignore[misc]
        rows = Counter(order.row.outcome for order in orders if isinstance(order, Record))
        spared = REFUSALS[label].retryable and not after_first_byte
        assert rows == (Counter(ok=CALLS) if spared else Counter({"ok": CALLS - 1, label: 1}))
        assert sum(isinstance(order, Send) for order in orders) == CALLS + spared
        assert nothing_held(gate)


@pytest.mark.parametrize("after_first_byte", [False, True])
@pytest.mark.parametrize("label", LABELS)
def test_with_hedges_it_costs_no_more(label: Label, after_first_byte: bool) -> None:
    """Whichever attempt fails of calls that all want a hedge: one row a call, the others are ok, no seat is kept."""
    hedged = 0
    for failing in range(1, 2 * CALLS + 1):
        gate = house("a", "b", "c", seats=3, hedge=HedgeSpec(delay_s=0.05, budget=1.0))
        orders = run(gate, lambda made, failing=failing: made == failing, label, after_first_byte)  # type: ignore[misc]
        rows = [order.row for order in orders if isinstance(order, Record)]
        assert sorted(row.id for row in rows) == [f"c{n}" for n in range(CALLS)]
        assert sum(row.outcome != "ok" for row in rows) <= 1
        if REFUSALS[label].retryable and not after_first_byte:
            assert {row.outcome for row in rows} == {"ok"}
        begun = sum(isinstance(order, Send) for order in orders) - sum(isinstance(order, Cancel) for order in orders)
        assert begun <= CALLS + 1
        assert nothing_held(gate)
        hedged += sum(row.hedge in ("won", "lost", "neither") for row in rows)
    assert hedged


def most_attempts(label: Label) -> int:
    """Three; and two more where an attempt that fails so has reached no engine."""
    row = REFUSALS[label]
    return 5 if row.unsent or (row.free_failover and not row.blames_replica) else 3


@pytest.mark.parametrize("label", LABELS)
def test_when_everything_fails_every_call_still_ends(label: Label) -> None:
    """All attempts fail: each call is refused once and recorded once, with at most as many attempts as it may have,
    and time ends."""
    gate = house("a", "b", seats=2)
    orders = run(gate, lambda made: True, label, False)
    assert Counter(order.id for order in orders if isinstance(order, Refuse)) == {f"c{n}": 1 for n in range(CALLS)}
    assert sorted(order.row.id for order in orders if isinstance(order, Record)) == [f"c{n}" for n in range(CALLS)]
    assert max(Counter(order.id for order in orders if isinstance(order, Send)).values(), default=0) <= most_attempts(
        label
    )
    assert nothing_held(gate)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_calls_survive_frequent_failures(step: int) -> None:
    """Every second, third or fifth attempt refused: nobody has more than five attempts, all are answered, nothing is
    left behind."""
    gate = house("a", "b", "c", seats=2)
    orders = run(gate, lambda made: made % step == 0, "connect_refused", False)
    assert [order.row.outcome for order in orders if isinstance(order, Record)] == ["ok"] * CALLS
    assert max(Counter(order.id for order in orders if isinstance(order, Send)).values()) <= 5
    assert nothing_held(gate)
