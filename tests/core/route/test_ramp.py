"""Slow start against Envoy's formula, and that it holds nobody back who need not be."""

from math import inf

import pytest

from penstock.base.rand import Rand
from penstock.core.events import FleetSeen
from penstock.core.load import Seat
from penstock.core.route.presets import Random, RoundRobin, Strategy
from penstock.core.route.ramp import Ramp, share_at
from penstock.core.spec import SlowStartSpec
from tests.core.playbook import arrived, call, gate, pool, replica, seat, sends, stats

SPEC = SlowStartSpec(window_s=60.0)


@pytest.mark.parametrize(
    ("age_s", "aggression", "share"),
    [
        (0.0, 1.0, 0.1), (5.0, 1.0, 0.1), (6.0, 1.0, 0.1), (15.0, 1.0, 0.25), (30.0, 1.0, 0.5), (59.0, 1.0, 59 / 60),
        (60.0, 1.0, 1.0), (1e6, 1.0, 1.0), (15.0, 2.0, 0.5), (30.0, 0.5, 0.25), (15.0, 0.5, 0.1), (-1.0, 1.0, 0.1),
    ],
)  # fmt: skip
def test_the_share_is_envoys(age_s: float, aggression: float, share: float) -> None:
    """max(0.10, (age / window) ^ (1 / aggression)), by hand."""
    spec = SlowStartSpec(window_s=60.0, aggression=aggression)
    assert share_at(age_s, spec) == pytest.approx(share)


def taken_part(ramp: Ramp, seats: list[Seat], now: float, draws: int = 4000) -> float:
    """The share of choices in which the last seat takes part."""
    return sum(seats[-1] in ramp.thin(call(), seats, seats, now) for _ in range(draws)) / draws


def warm_and_new(joined_at: float = 100.0) -> tuple[Ramp, list[Seat]]:
    """A pool of two that are warm and one that joined now."""
    ramp, seats = Ramp(SPEC, Rand(1).stream("ramp")), [seat(f"r{n}", n) for n in range(3)]
    ramp.thin(call(), seats[:2], seats[:2], 0.0)
    ramp.changed()
    ramp.thin(call(), seats, seats, joined_at)
    return ramp, seats


def test_a_new_replica_takes_part_in_its_share_of_the_choices() -> None:
    """A tenth at once, a half after half of the window, all after it; the others in all, all the time."""
    ramp, seats = warm_and_new()
    for age_s, share in ((0.0, 0.1), (15.0, 0.25), (30.0, 0.5), (60.0, 1.0)):
        assert taken_part(ramp, seats, 100.0 + age_s) == pytest.approx(share, abs=0.025)
    assert ramp.until == 160.0
    assert set(seats[:2]) <= set(ramp.thin(call(), seats, seats, 101.0))


def test_where_all_are_new_nobody_is_held_back() -> None:
    """A gateway that has just started, or a whole fleet that returns, serves with all it has."""
    ramp, seats = Ramp(SPEC, Rand(1).stream("ramp")), [seat(f"r{n}", n) for n in range(3)]
    assert ramp.until == inf
    assert all(ramp.thin(call(), seats, seats, now) is seats for now in (0.0, 1.0, 59.0))


def test_no_capacity_is_lost() -> None:
    """When the others are full the new one gets the call."""
    ramp, seats = warm_and_new()
    for each in seats[:2]:
        each.in_flight = 8
    assert all(ramp.thin(call(), seats, seats, 100.0) is seats or seats[2] in seats for _ in range(50))
    assert all(seats[2] in ramp.thin(call(), seats, seats, 100.0) for _ in range(50))


def test_a_replica_that_returns_starts_slowly_again() -> None:
    """Ill and well between two choices counts as a return; a change of somebody else does not."""
    ramp, seats = warm_and_new()
    ramp.changed()
    assert taken_part(ramp, seats, 200.0) == 1.0
    seats[2].health.sign("ill")
    seats[2].health.sign("well")
    ramp.changed()
    assert taken_part(ramp, seats, 200.0) == pytest.approx(0.1, abs=0.025)


def test_a_warm_cache_ends_it_early() -> None:
    """With half of the others' share of prefix hits it takes part in half; with as many, in all; too few look-ups, or
    none told, say nothing."""
    ramp, seats = warm_and_new()
    seats[0].observed(stats(prefix_queries=10_000, prefix_hits=6000), 10.0, 100.0)
    assert taken_part(ramp, seats, 100.0) == pytest.approx(0.1, abs=0.025)
    seats[2].observed(stats(prefix_queries=900, prefix_hits=900), 10.0, 100.0)
    assert taken_part(ramp, seats, 100.0) == pytest.approx(0.1, abs=0.025)
    seats[2].observed(stats(prefix_queries=2000, prefix_hits=600), 10.0, 100.0)
    assert taken_part(ramp, seats, 100.0) == pytest.approx(0.5, abs=0.025)
    seats[2].observed(stats(prefix_queries=2000, prefix_hits=1300), 10.0, 100.0)
    assert taken_part(ramp, seats, 100.0) == 1.0


def test_a_session_changes_its_replica_once_and_not_back_and_forth() -> None:
    """While the new replica warms up, a session that it takes part for stays one that it takes part for."""
    ramp, seats = warm_and_new()
    for session in map(str, range(50)):
        parts = [seats[2] in ramp.thin(call(session=session), seats, seats, 100.0 + age_s) for age_s in range(0, 61, 3)]
        assert parts == sorted(parts)


@pytest.mark.parametrize("strategy", [RoundRobin(), Random()])
def test_traffic_to_a_new_replica_grows_with_time(strategy: Strategy) -> None:
    """Through the Gate, one of two replicas joins later: of the calls of each tenth of the window it gets half of the
    formula's share."""
    made = gate(pool(strategy=strategy, slow_start=SlowStartSpec(window_s=100.0)))
    old, new = (replica(name, max_concurrent_requests=100_000) for name in "ab")
    made.on(FleetSeen((old,)), 0.0)
    made.on(arrived("first"), 0.0)
    made.on(FleetSeen((old, new)), 1000.0)
    made.on(arrived("second"), 1000.0)
    for tenth in (0, 3, 6, 10):
        got = 0
        for n in range(1000):
            now = 1000.0 + 10.0 * tenth + n / 100
            got += sends(made.on(arrived(f"{tenth}-{n}"), now))[0][1] == "b"
        share = min(1.0, max(0.1, (tenth + 0.5) / 10))
        # by lot half of the choices it takes part in; in turns, every second one, after another's turn at least
        expected = share / 2 if isinstance(strategy, Random) else share / (1 + share)
        assert got / 1000 == pytest.approx(expected, abs=0.06)


def test_switched_off_a_new_replica_is_like_any_other() -> None:
    """A window of 0."""
    made = gate(pool(slow_start=SlowStartSpec(window_s=0.0)))
    made.on(FleetSeen((replica("a", max_concurrent_requests=10),)), 0.0)
    made.on(arrived("one"), 0.0)
    made.on(FleetSeen(tuple(replica(name, max_concurrent_requests=10) for name in "ab")), 100.0)
    assert sends(made.on(arrived("two"), 100.0)) == [("two", "b")]
