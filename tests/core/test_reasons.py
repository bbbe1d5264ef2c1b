"""Reasons: the words for a replica that was no candidate. How they come together is tested with the trails."""

import pytest

from penstock.base.rand import Rand
from penstock.core.outliers import REASONS
from penstock.core.pool import Pool
from penstock.core.reasons import MOST_LEFT, Known, full, ill, left_out, snake, unfit
from penstock.core.route.notes import Notes
from tests.core.playbook import pool, seat


def test_names_of_scorers() -> None:
    """A scorer that is new appears by its own name."""
    names = ("Load", "FewestInFlight", "PeakEwmaOfTwo")
    assert [snake(name) for name in names] == ["load", "fewest_in_flight", "peak_ewma_of_two"]


def test_who_cannot_serve() -> None:
    """An open breaker, a drained one, a backup that is not needed, and one with other models."""
    of = Pool(pool(), Rand(1))
    broken, drained, other = seat("a"), seat("b"), seat("c", models={"n": "n"})
    for _ in range(5):
        broken.health.failed()
    drained.health.sign("drain")
    assert [unfit(each, of, "m") for each in (broken, drained, other, seat("d", backup=True))] == [
        "breaker open", "draining", "other models", "backup",
    ]  # fmt: skip


def test_who_is_full() -> None:
    """All seats taken, on trial after failures, at its own wish, crowded, or ill and asked in a panic."""
    taken, suspect, aside, crowded = seat("a", in_flight=8), seat("b", in_flight=1), seat("c"), seat("d")
    for _ in range(3):
        suspect.health.failed()
    aside.health.set_aside(True)
    crowded.health.crowd(51)
    odd, dead = seat("e", in_flight=1), seat("f", in_flight=1)
    odd.health.eject(True)
    dead.health.sign("ill")
    for each in (odd, dead):
        each.health.panics(True)
    assert [full(each) for each in (taken, suspect, aside, crowded, odd, dead)] == [
        "no free seat", "on trial, one call at a time", "asked for a pause", "its engine's own queue is too long",
        "put out as an outlier, on trial while its pool panics", "unhealthy, on trial while its pool panics",
    ]  # fmt: skip


def test_what_put_an_outlier_out_is_told() -> None:
    """Each comparison has words of its own, as long as the replica is out."""
    odd, told = seat("a"), []
    for reason in REASONS:
        odd.health.eject(True, reason)
        told.append(ill(odd))
    assert [each.partition(": ")[0] for each in told] == ["put out as an outlier"] * len(REASONS)
    assert len({each.partition(": ")[2] for each in told} - {""}) == len(REASONS)
    odd.health.eject(False)
    assert "outlier" not in ill(odd)


@pytest.mark.parametrize("count", [10, 40])
def test_only_so_many_are_named(count: int) -> None:
    """All are counted."""
    notes = Notes()
    notes.looked = notes.considered = [seat(f"r{number}", number, in_flight=8) for number in range(count)]
    known = Known(notes.looked, tuple(each.id for each in notes.looked), (), 5, "main", "m", "adaptive")
    pairs, total = left_out(notes, known, None, [])
    assert (len(pairs) // 2, total) == (min(count, MOST_LEFT), count + 5)
