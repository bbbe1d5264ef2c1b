"""Demand in windows of five minutes: means, gaps, bounds, clocks that jump, and what outlives a restart."""

import pytest

from penstock.core.scale.history import DAY, KEPT, WINDOW_S, Demand, Past
from tests.core.scale.pools import seen, window


def looked(demand: Demand, start: float, end: float, calls: int, queued: int = 0, served_per_s: float = 0.0) -> None:
    """A look every ten seconds at one replica with so many calls in flight."""
    for at in range(int(start), int(end), 10):
        demand.see(window(seen("a", calls, served=int(served_per_s * (at - start))), queued=queued), float(at))


def test_a_window_has_the_mean_of_its_looks() -> None:
    """Calls in flight and waiting together, by the time for which they were seen; the one that goes on is not told."""
    demand = Demand()
    looked(demand, 0, 150, 4)
    looked(demand, 150, 300, 6, queued=2)
    assert demand.calls == []
    assert demand.see(window(seen("a", 1)), 300.0)
    assert demand.first == 0
    assert [round(value or 0.0, 1) for value in demand.calls] == [6.1]


def test_the_rate_is_of_calls_that_came() -> None:
    """Those that were answered and those that are there now and were not; a replica that goes takes none."""
    demand = Demand()
    demand.see(window(seen("a", 5, served=100), seen("b", 0, served=50)), 0.0)
    for at in (60, 120, 180, 240):
        demand.see(window(seen("a", 5, served=200), seen("b", 10, served=70)), float(at))
    demand.see(window(seen("b", 15, served=90)), 299.0)
    demand.see(window(seen("b", 15, served=90)), 300.0)
    assert [round((value or 0.0) * 299) for value in demand.rates] == [150]  # 140 were answered, 10 more are there


def test_too_little_seen_is_a_gap() -> None:
    """A window of which less than half was seen, and one that nobody looked at, are gaps: nothing is made up."""
    demand = Demand()
    looked(demand, 200, 300, 4)
    looked(demand, 300, 600, 4)
    demand.see(window(seen("a", 4)), 1300.0)
    assert demand.calls == [None, 4.0, None, None]
    assert demand.rates == [None, 0.0, None, None]


@pytest.mark.slow
def test_what_is_kept_is_bounded() -> None:
    """A week and a day, however long it goes on, or nobody looks."""
    demand = Demand()
    for number in range(KEPT + 50):
        looked(demand, number * WINDOW_S, (number + 1) * WINDOW_S, number % 7)
    assert (len(demand.calls), demand.first) == (KEPT, 49)
    demand.see(window(), 1e9)
    assert (len(demand.calls), len(demand.rates), demand.first) == (KEPT, KEPT, int(1e9 // 300) - KEPT)
    assert set(demand.calls) == {None}


def test_a_clock_that_was_put_back() -> None:
    """What was seen later than it is now was seen at a wrong time, and is forgotten."""
    demand = Demand()
    for number in range(10):
        looked(demand, number * WINDOW_S, (number + 1) * WINDOW_S, number)
    assert demand.see(window(seen("a", 1)), 4.5 * WINDOW_S)
    assert (demand.first, demand.calls) == (0, [0.0, 1.0, 2.0, 3.0])
    demand.see(window(seen("a", 1)), -20.0 * WINDOW_S)
    assert (demand.first, demand.calls, demand.number) == (-20, [], -20)


def test_it_outlives_a_restart() -> None:
    """What was written down is there again, with a gap for the time between; nothing later than now is believed."""
    past = Past(first=100, calls=(1.0, None, 3.0), rates=(0.1, None, 0.3), startup_s=40.0)
    demand = Demand()
    assert demand.recall(past, 105.5 * WINDOW_S)
    assert (demand.first, demand.calls) == (100, [1.0, None, 3.0, None, None])
    early = Demand()
    assert early.recall(past, 101.5 * WINDOW_S)
    assert early.calls == [1.0]
    assert not Demand().recall(past, 50.0 * WINDOW_S)
    assert not demand.recall(past, 105.5 * WINDOW_S)
    assert demand.past(40.0) == Past(first=100, calls=tuple(demand.calls), rates=tuple(demand.rates), startup_s=40.0)


def test_after_a_long_pause_a_day_is_left() -> None:
    """A pause moves what is known into the past, and out of it at last."""
    past = Past(first=0, calls=(1.0,) * KEPT, rates=(1.0,) * KEPT)
    demand = Demand()
    assert demand.recall(past, (2 * KEPT - DAY) * WINDOW_S)
    assert (demand.calls.count(1.0), len(demand.calls)) == (DAY, KEPT)
    assert not Demand().recall(past, 3 * KEPT * WINDOW_S)
