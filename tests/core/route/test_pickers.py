"""Pickers on literal vectors: published sequences, formulas, ties."""

from collections import Counter
from math import exp

import pytest

from penstock.base.rand import Rand
from penstock.core.load import Seat
from penstock.core.route.pickers import Best, Lot, PeakEwmaOfTwo, SmoothTurns, Turns
from tests.core.playbook import seat


def weighted(**weights: float) -> list[Seat]:
    """Seats of these weights."""
    return [seat(name, order, weight=weight) for order, (name, weight) in enumerate(weights.items())]


def turns(picker: Turns | SmoothTurns, seats: list[Seat], count: int) -> str:
    """The ids of so many picks."""
    return "".join(picker.pick(seats, [], 0.0).id for _ in range(count))


def test_smooth_turns_give_the_published_sequence() -> None:
    """Weights 5, 1, 1 are served a a b a c a a (nginx's commit message of its smooth weighted balancing), again and
    again."""
    assert turns(SmoothTurns(), weighted(a=5, b=1, c=1), 14) == "aabacaa" * 2


@pytest.mark.parametrize(
    ("weights", "round_"),
    [({"a": 1, "b": 1, "c": 1}, "abc"), ({"a": 4, "b": 2}, "aba"), ({"a": 0.5, "b": 1.5}, "babb"), ({"a": 3}, "aaa")],
)
def test_smooth_turns_are_proportional_and_interleaved(weights: dict[str, float], round_: str) -> None:
    """In every round each seat comes as often as its weight says, spread evenly."""
    assert turns(SmoothTurns(), weighted(**weights), 2 * len(round_)) == 2 * round_


def test_smooth_turns_remember_no_strangers() -> None:
    """Ten thousand replicas that came and went leave no memory behind."""
    picker = SmoothTurns()
    for n in range(10_000):
        picker.pick([seat(str(n))], [], 0.0)
    assert len(picker._credit) <= 67


def test_turns_go_around_in_the_fleets_order() -> None:
    """Each in turn; one that is missing is skipped and has its turn again when it is back."""
    picker, (a, b, c) = Turns(), weighted(a=1, b=1, c=1)
    assert turns(picker, [a, b, c], 4) == "abca"
    assert turns(picker, [a, c], 3) == "cac"
    assert turns(picker, [a, b, c], 3) == "abc"
    assert turns(picker, [c, a, b], 3) == "abc"


def test_best_takes_the_highest_score() -> None:
    """Wherever it stands."""
    seats = weighted(a=1, b=1, c=1)
    assert Best(None).pick(seats, [0.2, 0.9, 0.5], 0.0).id == "b"
    assert Best(Rand(1).stream("x")).pick(seats, [0.2, 0.1, 0.5], 0.0).id == "c"


def test_ties_go_to_the_lowest_id_or_by_lot() -> None:
    """Without luck the lowest id, in whatever order they stand; with it each of the best equally often."""
    seats = weighted(c=1, a=1, b=1)
    assert Best(None).pick(seats, [1.0, 1.0, 1.0], 0.0).id == "a"
    assert Best(None).pick(seats, [1.0, 0.0, 1.0], 0.0).id == "b"
    picker = Best(Rand(1).stream("x"))
    drawn = Counter(picker.pick(seats, [0.5, 1.0, 1.0], 0.0).id for _ in range(1000))
    assert set(drawn) == {"a", "b"}
    assert abs(drawn["a"] - 500) < 60


def of_two(seed: int = 1) -> PeakEwmaOfTwo:
    """The picker with τ = 10 s."""
    return PeakEwmaOfTwo(Rand(seed).stream("x"), 10.0)


def test_p2c_cost_is_faded_peak_times_pending() -> None:
    """Finagle's and tower's metric: EWMA at now × (pending + 1)."""
    one, other = seat("a", in_flight=3), seat("b")
    one.peak.observe(2.0, 10.0, 0.0)
    assert of_two().cost(one, other, 5.0) == pytest.approx(2.0 * exp(-0.5) * 4)


def test_p2c_takes_the_cheaper_of_two() -> None:
    """With two seats both are always compared, in either order."""
    one, other = seat("a", in_flight=1), seat("b", in_flight=4)
    one.peak.observe(2.0, 10.0, 0.0)
    other.peak.observe(0.5, 10.0, 0.0)
    assert {of_two(seed).pick([one, other], [], 0.0).id for seed in range(10)} == {"b"}
    other.in_flight = 9
    assert {of_two(seed).pick([one, other], [], 0.0).id for seed in range(10)} == {"a"}


def test_p2c_takes_an_unmeasured_one_to_be_like_the_other() -> None:
    """Between a measured and an unmeasured seat only the calls in flight decide, whatever the times are."""
    for first_byte_s in (0.01, 100.0):
        one, fresh = seat("a", in_flight=2), seat("b", in_flight=1)
        one.peak.observe(first_byte_s, 10.0, 0.0)
        assert {of_two(seed).pick([one, fresh], [], 0.0).id for seed in range(10)} == {"b"}
        fresh.in_flight = 3
        assert {of_two(seed).pick([one, fresh], [], 0.0).id for seed in range(10)} == {"a"}


def test_p2c_draws_two_different_seats_without_favour() -> None:
    """A seat is never compared with itself: the costliest of three is never picked, the others equally often."""
    seats = weighted(a=1, b=1, c=1)
    seats[1].in_flight = 5
    picker = of_two()
    drawn = Counter(picker.pick(seats, [], 0.0).id for _ in range(3000))
    assert drawn["b"] == 0
    assert abs(drawn["a"] - 1500) < 120


def test_p2c_takes_the_only_one() -> None:
    """One seat needs no luck."""
    only = seat("a")
    assert of_two().pick([only], [], 0.0) is only


def test_a_lot_takes_each_equally_often() -> None:
    """Whatever they are doing, and the same ones for the same seed."""
    seats = weighted(a=5, b=1, c=1)
    seats[0].in_flight = 7
    drawn = [Lot(Rand(3).stream("x")).pick(seats, [], 0.0).id for _ in range(2)]
    assert drawn[0] == drawn[1]
    picker = Lot(Rand(1).stream("x"))
    counted = Counter(picker.pick(seats, [], 0.0).id for _ in range(3000))
    assert all(abs(count - 1000) < 80 for count in counted.values())
    assert len(counted) == 3


def test_two_choices_tell_what_was_drawn() -> None:
    """The two of the last choice with their costs, for explanations; of a single seat there is no drawing."""
    picker = PeakEwmaOfTwo(Rand(1).stream("x"), 10.0)
    one, other = seat("a", in_flight=1), seat("b", 1)
    one.peak.observe(0.5, 10.0, 0.0)
    assert picker.pick([one, other], [], 0.0) is other
    drawn = picker.drawn()
    assert sorted([drawn[:2], drawn[2:]]) == [("a", 1.0), ("b", 0.5)]
    picker.pick([one], [], 0.0)
    assert picker.drawn() == ()
