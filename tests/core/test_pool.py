"""A pool on its own: who can serve what, who is next, and that made-up names do not pile up."""

from typing import Any

import pytest

from penstock.base.rand import Rand
from penstock.core.catalog import Target
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.route.presets import P2CPeakEwma
from tests.core.playbook import call, pool, seat


def pool_of(*seats: Seat, **fields: Any) -> Pool:
    """A pool at work with these seats."""
    made = Pool(pool(**fields), Rand(1))
    made.seats.extend(seats)
    return made


def waiting(id: str, at: float, *tried: str) -> Flight:
    """A call for m that waits; after a failed attempt if any replica was tried."""
    flight = Flight(call(id), (Target("main", "m"),), at)
    if tried:
        flight.attempt, flight.tried = 1, frozenset(tried)
    return flight


def ids(seats: list[Seat]) -> list[str]:
    """Their ids."""
    return [each.id for each in seats]


@pytest.mark.parametrize(
    ("pool_models", "own", "listed", "asked", "serves"),
    [
        (("m",), {}, None, "m", True),  # the pool's word holds for replicas that say nothing
        (("m", "n"), {"n": "x"}, None, "m", False),  # a replica's own word is narrower
        (("m", "n"), {"n": "x"}, None, "n", True),
        ((), {}, None, "m", False),  # nobody has said anything yet
        ((), {}, ("m",), "m", True),
        ((), {}, ("n",), "m", False),
        ((), {"m": "x"}, ("n",), "m", True),
        ((), {}, None, "", True),  # a path without a model
        ((), {"m": "x"}, None, "", True),
    ],
)
def test_who_serves_a_model(
    pool_models: tuple[str, ...], own: dict[str, str], listed: tuple[str, ...] | None, asked: str, serves: bool
) -> None:
    """A replica's own models, else the pool's, else what its engine listed."""
    made = seat(models=own)
    made.listed = listed
    assert ids(pool_of(made, models=pool_models).usable(asked)) == (["a"] if serves else [])


def test_backups_count_only_without_a_usable_primary_of_the_model() -> None:
    """Primaries of another model do not keep a backup out."""
    primary, backup = seat("a", models={"n": "n"}), seat("b", backup=True)
    made = pool_of(primary, backup, models=("m", "n"))
    assert ids(made.usable("m")) == ["b"]
    assert ids(made.usable("n")) == ["a"]
    primary.health.sign("drain")
    made.changed()
    assert ids(made.usable("n")) == ["b"]


def test_made_up_names_do_not_pile_up() -> None:
    """What was worked out for a name is kept for a bounded number of names."""
    made = pool_of(seat(), models=())
    for n in range(5000):
        made.usable(f"made-up-{n}")
    assert len(made._usable) <= 4097


def test_an_untried_replica_comes_first_and_a_tried_one_last() -> None:
    """A failed replica is chosen again only when nobody else is usable; a busy one is still somebody."""
    a, b = seat("a", 0), seat("b", 1)
    made = pool_of(a, b)
    assert made.choose(call(), "m", frozenset("a"), 0.0) is b
    b.in_flight = 8
    assert made.choose(call(), "m", frozenset("a"), 0.0) is None
    assert made.choose(call(), "m", frozenset("ab"), 0.0) is a
    b.health.sign("drain")
    made.changed()
    assert made.choose(call(), "m", frozenset("a"), 0.0) is a


def test_retries_go_before_the_line_but_do_not_block_it() -> None:
    """Each retry that finds a seat is next; one that cannot lets the others and the line pass."""
    a, b = seat("a", 0), seat("b", 1, in_flight=8)
    made = pool_of(a, b)
    for flight in (waiting("x", 5.0, "a"), waiting("y", 6.0, "b"), waiting("z", 1.0)):
        made.push(flight, "m", 0.0)
    order = []
    while (found := made.next(9.0)) is not None:
        flight, chosen = found
        assert chosen is not None
        made.drop(flight, "m")
        order.append((flight.call.id, chosen.id))
    assert order == [("y", "a"), ("z", "a")]
    b.in_flight = 0
    found = made.next(9.0)
    assert found is not None
    assert found[1] is not None
    assert (found[0].call.id, found[1].id) == ("x", "b")


def test_an_empty_line_is_taken_down() -> None:
    """Lines live only while somebody waits in them."""
    made = pool_of()
    flight = waiting("x", 0.0)
    made.push(flight, "m", 0.0)
    assert list(made.lines) == ["m"]
    made.drop(flight, "m")
    assert made.lines == {}
    assert made.next(0.0) is None


def test_settled_when_everybody_has_spoken() -> None:
    """A pool without replicas is not settled; one whose replicas all name or listed their models is."""
    assert not pool_of(models=()).settled()
    silent = seat("b")
    made = pool_of(seat("a", models={"m": "m"}), silent, models=())
    assert not made.settled()
    silent.listed = ()
    assert made.settled()
    assert made.models() == ["m"]


def test_the_decay_is_the_strategys_where_it_has_one() -> None:
    """Peaks fade as p2c_peak_ewma is told to, and by its default under other strategies."""
    made = pool_of(strategy=P2CPeakEwma(decay_s=3.0))
    assert made.decay_s == 3.0
    made.respec(pool())
    assert made.decay_s == 10.0
