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
    broken.health.open_until = 130.0
    drained.health.sign("drain")
    assert [unfit(each, of, "m") for each in (broken, drained, other, seat("d", backup=True))] == [
        "breaker open after 5 failed calls in a row|130.000", "draining", "other models", "backup",
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
        "no free seat", "suspect after 3 failed calls in a row, one call at a time", "asked for a pause",
        "its engine's own queue is too long",
        "put out as an outlier, on trial while its pool panics", "unhealthy, on trial while its pool panics",
    ]  # fmt: skip


def test_kinds_of_failing_in_a_row_are_told_apart() -> None:
    """A suspect, an open breaker, one on trial, failed probes, and a time out, each with its number."""
    of, told = Pool(pool(), Rand(1)), []
    failing, probed, odd = seat("a", in_flight=2), seat("b"), seat("c")
    for _ in range(3):
        failing.health.failed()
    told.append(full(failing))
    for _ in range(2):
        failing.health.failed()
    told.append(unfit(failing, of, "m"))
    failing.health.half_open()
    told.append(full(failing))
    for _ in range(3):
        probed.health.probed(False)
    told.append(unfit(probed, of, "m"))
    odd.health.eject(True, "latency")
    odd.health.ejected_until = 60.5
    told.append(unfit(odd, of, "m").rpartition("|")[2])
    assert told == [
        "suspect after 3 failed calls in a row, one call at a time",
        "breaker open after 5 failed calls in a row",
        f"breaker half open after 5 failed calls in a row, on trial with {failing.health.limit} at a time",
        "unhealthy after 3 failed health probes in a row", "60.500",
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
