"""Consistent hashing at work: keys keep their replica, load is bounded, nobody waits while a seat is free."""

from collections import Counter

import pytest

from penstock.base.nouns import Call
from penstock.base.rand import Rand
from penstock.core.load import Seat
from penstock.core.route.hashed import key_of
from penstock.core.route.pipeline import Pipeline, build
from penstock.core.route.presets import ConsistentHash
from tests.core.playbook import call, seat


def pipeline(**fields: float) -> Pipeline:
    """The strategy with these settings."""
    return build(ConsistentHash(**fields), Rand(1))  # type: ignore[arg-type]


def seats(count: int, **fields: int) -> list[Seat]:
    """So many idle seats with room for much."""
    return [seat(f"r{n}", n, **{"max_concurrent_requests": 1000, **fields}) for n in range(count)]


def asked(session: object) -> Call:
    """A call of this session."""
    return call(session=str(session))


def placed(made: Pipeline, some: list[Seat], sessions: int) -> list[str]:
    """Where each session goes while nothing is in flight."""
    chosen = [made.choose(asked(n), some, 0.0) for n in range(sessions)]
    return [each.id for each in chosen if each]


def test_the_key_is_session_else_user_else_prefix() -> None:
    """In this order; equal texts of different kinds are different keys; the prefix counts up to its k-th block."""
    assert key_of(call(session="x", user="y", prefix=(1,)), 4) == key_of(call(session="x"), 4)
    assert key_of(call(user="x", prefix=(1,)), 4) == key_of(call(user="x"), 4) != key_of(call(session="x"), 4)
    assert key_of(call(prefix=(1, 2, 3)), 2) == key_of(call(prefix=(1, 2, 4)), 2) != key_of(call(prefix=(1, 3)), 2)
    assert key_of(call(prefix=(1,)), 4) is not None
    assert key_of(call(prefix=(1,)), 0) is None
    assert key_of(call(), 4) is None


def test_without_a_key_it_is_least_connections() -> None:
    """Fewest in flight, ties by id."""
    some = seats(3)
    some[0].in_flight = 2
    assert pipeline().choose(call(), some, 0.0) is some[1]


def test_a_session_keeps_its_replica_and_a_removed_replica_moves_only_its_own() -> None:
    """Asked again, all go where they went; without r3 only what was r3's goes elsewhere, and comes back with it."""
    made, some = pipeline(), seats(8)
    before = placed(made, some, 1000)
    assert placed(made, some, 1000) == before
    left = [each for each in some if each.id != "r3"]
    for without in (left, list(left)):  # ill for a while, then removed for good: the same
        after = placed(made, without, 1000)
        assert all((now == was) if was != "r3" else now != "r3" for was, now in zip(before, after, strict=True))
        made.changed(left)
    made.changed(some)
    assert placed(made, some, 1000) == before


def test_no_replica_has_more_than_a_quarter_above_the_mean() -> None:
    """One session sends everything, or a thousand send alike: after every call each has at most ⌈1.25 × mean⌉."""
    for sessions in (1, 3, 1000):
        made, some = pipeline(), seats(8)
        for number in range(800):
            chosen = made.choose(asked(number % sessions), some, 0.0)
            assert chosen is not None
            chosen.in_flight += 1
            assert chosen.in_flight <= -(-5 * (number + 1) // 32)


def test_the_bound_follows_the_seats() -> None:
    """A replica with three times the seats may have three times the calls."""
    some = [seat("big", 0, max_concurrent_requests=300), seat("small", 1, max_concurrent_requests=100)]
    made = pipeline(load_factor=1.0)
    for number in range(200):
        chosen = made.choose(asked(number), some, 0.0)
        assert chosen is not None
        chosen.in_flight += 1
    assert [each.in_flight for each in some] == [pytest.approx(150, abs=2), pytest.approx(50, abs=2)]


def test_spilled_keys_go_to_the_next_on_the_ring_and_return() -> None:
    """While its owner is beyond the bound a key has one other replica, always the same; then its owner again."""
    made, some = pipeline(), seats(8)
    owner = made.choose(asked("x"), some, 0.0)
    assert owner is not None
    owner.in_flight = 50
    spilled = Counter(made.choose(asked("x"), some, 0.0) for _ in range(20))
    assert len(spilled) == 1
    assert owner not in spilled
    owner.in_flight = 0
    assert made.choose(asked("x"), some, 0.0) is owner


def test_no_call_waits_while_a_seat_is_free() -> None:
    """Seats count before the bound: the only free one takes any key, and only none at all makes it wait."""
    made, some = pipeline(), seats(300, max_concurrent_requests=2)
    for each in some:
        each.in_flight = 2
    assert all(made.choose(asked(n), some, 0.0) is None for n in range(20))
    some[77].in_flight = 1
    assert all(made.choose(asked(n), some, 0.0) is some[77] for n in range(20))
    assert made.choose(asked(1), [], 0.0) is None
