"""Which seats are looked at: the free ones, and of very many a fair sample."""

from collections import Counter

from penstock.base.rand import Rand
from penstock.core.load import Seat
from penstock.core.route.filters import SCORE_ALL, free, sample
from tests.core.playbook import seat


def seats(count: int) -> list[Seat]:
    """So many seats, named by their numbers."""
    return [seat(str(n), n) for n in range(count)]


def test_free_keeps_those_below_their_limit() -> None:
    """Full seats and seats that are set aside are left out; the order stays."""
    some = seats(4)
    some[0].in_flight = 8
    some[2].health.set_aside(True)
    assert [each.id for each in free(some)] == ["1", "3"]


def test_up_to_64_all_are_scored() -> None:
    """No sample where all can be looked at."""
    some = seats(SCORE_ALL)
    assert sample(some, Rand(1).stream("x")) is some


def test_a_sample_has_64_different_seats() -> None:
    """Also where the run goes around the end of the list."""
    some = seats(100)
    rng = Rand(1).stream("x")
    for _ in range(200):
        drawn = sample(some, rng)
        assert len(drawn) == SCORE_ALL
        assert len({each.id for each in drawn}) == SCORE_ALL


def test_every_seat_is_sampled_equally_often() -> None:
    """Over 3,000 samples of 64 out of 100 each seat comes 1,920 times, give or take a tenth."""
    some = seats(100)
    rng = Rand(1).stream("x")
    drawn = Counter(each.id for _ in range(3000) for each in sample(some, rng))
    assert min(drawn.values()) > 1728
    assert max(drawn.values()) < 2112
