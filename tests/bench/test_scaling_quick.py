"""The quick model: seats, a line, and the gateway's own Governor; nobody is lost, and everybody is counted."""

from array import array

from bench.scaling import ours
from bench.scaling_plan import Stay
from bench.scaling_quick import PATIENCE_S, Calls, Quick, calls_of
from bench.scaling_rivals import hpa_cpu, hpa_queue
from penstock.config.scenarios import Group, Slo
from penstock.workload.request import NS, Request

GROUP = Group(count=2, cost="demo", seats=2, startup_s=20.0)
SLO = Slo(ttft_s=1.0)


def coming(*calls: tuple[float, float]) -> Calls:
    """Calls by arrival and the time that they take."""
    return Calls(
        array("d", (at for at, _ in calls)), array("d", (took for _, took in calls)), array("d", [0.1] * len(calls))
    )


def steady(seconds: int, per_s: int, takes: float) -> Calls:
    """So many a second."""
    return coming(*((number / per_s, takes) for number in range(seconds * per_s)))


def test_a_free_seat_is_had_at_once() -> None:
    """Two calls on a replica of two seats are good; the third waits for the first to end, and is late."""
    found = Quick(coming((0.0, 5.0), (0.0, 7.0), (0.0, 1.0)), GROUP, SLO).fixed(1)
    assert (found.requests, found.good, found.failed) == (3, 2, 0)
    assert sorted(found.waits) == [0.0, 0.0, 5.0]


def test_who_waits_too_long_is_refused() -> None:
    """After the gateway's own patience; the seat is the next one's."""
    found = Quick(coming((0.0, PATIENCE_S + 5), (0.0, PATIENCE_S + 5), (0.0, 1.0), (20.0, 1.0)), GROUP, SLO).fixed(1)
    assert (found.good, found.failed, max(found.waits)) == (2, 1, 15.0)


def test_a_governor_grows_the_pool_and_all_is_counted() -> None:
    """More than two replicas can do: others are started, take their time, and then nobody waits."""
    calls = steady(1200, 2, 4.0)
    found = Quick(calls, GROUP, SLO).scaled(ours(0.7, None, 15.0))
    assert found.ups >= 1
    assert len(found.waits) + found.failed == found.requests
    assert list(found.waits)[-100:] == [0.0] * 100
    fixed = Quick(calls, GROUP, SLO).fixed(2)
    assert fixed.good < found.good
    assert abs(fixed.hours - 2 * 1200 / 3600) < 0.05
    assert found.hours > fixed.hours


def test_a_plan_is_played() -> None:
    """One replica from the beginning and another for a while; hours are from the start's order to the end."""
    found = Quick(steady(100, 1, 1.5), GROUP, SLO).planned([Stay(0.0, 200.0), Stay(40.0, 60.0)])
    assert (found.failed, found.good) == (0, 100)
    assert abs(found.hours * 3600 - (100.5 + 41.0)) < 2.0


def test_rivals_play_too() -> None:
    """Both know only their own metric; the CPU of an engine that is busy is about a quarter of four cores."""
    calls = steady(900, 2, 4.0)
    by_queue = Quick(calls, GROUP, SLO).scaled(hpa_queue(1.0, 1, 10))
    by_cpu = Quick(calls, GROUP, SLO).scaled(hpa_cpu(0.2, 1, 10), cpu=True)
    blind = Quick(calls, GROUP, SLO).scaled(hpa_cpu(0.7, 1, 10), cpu=True)
    assert by_queue.ups
    assert by_cpu.ups
    assert (blind.ups, blind.downs) == (0, 1)


def test_calls_are_the_workloads() -> None:
    """Times of arrival as they are, lengths as the engine's model says."""
    calls = calls_of([Request(2 * NS, 100, 10), Request(3 * NS, 1000, 100)], GROUP)
    assert list(calls.at) == [2.0, 3.0]
    assert calls.takes[1] > calls.takes[0] > calls.first[0] > 0
