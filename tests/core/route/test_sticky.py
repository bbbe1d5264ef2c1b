"""Sticky sessions: kept while it can be, given up when it must be, and bounded."""

import pytest

from penstock.base.rand import Rand
from penstock.core.load import Seat
from penstock.core.route.pipeline import build
from penstock.core.route.presets import STRATEGIES, RoundRobin, Strategy
from penstock.core.route.sticky import Sticky
from penstock.core.spec import StickySpec
from tests.core.playbook import arrived, call, fleet, house, seat, sends, tell

TURNS = build(RoundRobin(), Rand(1))


def seats(count: int = 3) -> list[Seat]:
    """So many idle seats."""
    return [seat(f"r{n}", n) for n in range(count)]


@pytest.mark.parametrize("strategy", [strategy() for strategy in STRATEGIES._specs.values()])
def test_a_session_keeps_its_replica_under_any_strategy(strategy: Strategy) -> None:
    """Whoever is chosen first is chosen again, however busy, while it has a free seat."""
    sticky, some, pipeline = Sticky(600.0, 100), seats(), build(strategy, Rand(1))
    first = sticky.choose(call(session="x"), some, pipeline, 0.0)
    assert first is not None
    first.in_flight = 7
    assert {sticky.choose(call(session="x"), some, pipeline, float(n)) for n in range(5)} == {first}


def test_it_is_forgotten_after_its_time() -> None:
    """The time begins again with every call."""
    sticky, some = Sticky(10.0, 100), seats()
    first = sticky.choose(call(session="x"), some, TURNS, 0.0)
    assert sticky.choose(call(session="x"), some, TURNS, 9.0) is first
    assert sticky.choose(call(session="x"), some, TURNS, 18.0) is first
    assert sticky.choose(call(session="x"), some, TURNS, 28.0) is not first


def test_a_full_replica_is_not_waited_for_and_not_forgotten() -> None:
    """A call goes elsewhere; the next one returns."""
    sticky, some = Sticky(600.0, 100), seats()
    first = sticky.choose(call(session="x"), some, TURNS, 0.0)
    assert first is not None
    first.in_flight = 8
    other = sticky.choose(call(session="x"), some, TURNS, 1.0)
    assert other not in (first, None)
    first.in_flight = 7
    assert sticky.choose(call(session="x"), some, TURNS, 2.0) is first
    assert sticky.choose(call(session="x"), [each for each in some if each is not first], TURNS, 3.0) is not first
    assert sticky.choose(call(session="x"), some, TURNS, 4.0) is first


def test_when_the_replica_is_gone_the_new_choice_is_kept() -> None:
    """Also when the old one comes back."""
    sticky, some = Sticky(600.0, 100), seats()
    first = sticky.choose(call(session="x"), some, TURNS, 0.0)
    assert first is not None
    first.health.sign("ill")
    second = sticky.choose(call(session="x"), [each for each in some if each is not first], TURNS, 1.0)
    assert second is not first
    first.health.sign("well")
    assert sticky.choose(call(session="x"), some, TURNS, 2.0) is second


def test_sessions_are_bounded_and_the_silent_ones_go_first() -> None:
    """A million sessions leave a hundred behind; expired ones leave by themselves."""
    sticky, some = Sticky(600.0, 100), seats()
    kept = sticky.choose(call(session="kept"), some, TURNS, 0.0)
    for number in range(1000):
        sticky.choose(call(session=str(number)), some, TURNS, 1.0)
        assert sticky.choose(call(session="kept"), some, TURNS, 1.0) is kept
    assert len(sticky) == 100
    sticky.choose(call(session="late"), some, TURNS, 700.0)
    assert len(sticky) == 1


def test_a_pool_is_sticky_when_it_says_so() -> None:
    """Through the Gate: round robin alternates, the session stays; calls without one are balanced as ever."""
    gate = house("a", "b", seats=8, strategy=RoundRobin(), sticky=StickySpec(header="x-session-id"))
    first = sends(gate.on(arrived("s0", session="x"), 0.0))[0][1]
    assert {sends(gate.on(arrived(f"s{n}", session="x"), 0.0))[0][1] for n in (1, 2, 3)} == {first}
    free = [sends(gate.on(arrived(f"f{n}"), 0.0))[0][1] for n in range(4)]
    assert free in (["a", "b", "a", "b"], ["b", "a", "b", "a"])
    other = "b" if first == "a" else "a"
    tell(gate, fleet(other, max_concurrent_requests=8), now=1.0)
    assert sends(gate.on(arrived("s9", session="x"), 2.0)) == [("s9", other)]
