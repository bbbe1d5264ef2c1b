"""Notes: references to what a choice was made among, and nothing where nobody asks."""

from penstock.base.rand import Rand
from penstock.core.route.notes import Notes
from penstock.core.route.pipeline import build
from penstock.core.route.presets import Adaptive, ConsistentHash, GpuAware
from tests.core.playbook import call, seat


def test_a_choice_leaves_what_it_has_in_its_hands() -> None:
    """The seats that were scored and a list of scores for each scorer, as they are and not copied."""
    pipeline, notes = build(Adaptive(), Rand(1)), Notes()
    pipeline.take_notes(notes)
    full, free = seat("a", 0, in_flight=8), seat("b", 1)
    assert pipeline.choose(call(), [full, free], 0.0) is free
    assert (notes.pipeline, notes.looked, notes.found) == (pipeline, [full, free], [free])
    assert notes.parts == [[1.0], [1.0], [1.0], [1.0]]


def test_the_ring_leaves_nobody_scored() -> None:
    """A call with a key is placed, not scored."""
    pipeline, notes = build(ConsistentHash(), Rand(1)), Notes()
    pipeline.take_notes(notes)
    seats = [seat("a"), seat("b", 1)]
    pipeline.changed(seats)
    pipeline.choose(call(session="s"), seats, 0.0)
    assert (notes.pipeline, notes.found) == (pipeline, None)


def test_filters_leave_who_was_before_and_after() -> None:
    """Each filter in turn, and the strategy that it falls through to has the last word."""
    pipeline, notes = build(GpuAware(), Rand(1)), Notes()
    pipeline.take_notes(notes)
    seats = [seat("a"), seat("b", 1)]
    pipeline.choose(call(), seats, 0.0)
    assert [(before, after) for _, before, after in notes.filtered] == [(seats, seats)]


def test_without_a_sheet_nothing_is_noted() -> None:
    """Taken away again, a pipeline chooses as before."""
    pipeline, notes = build(Adaptive(), Rand(1)), Notes()
    pipeline.take_notes(notes)
    pipeline.take_notes(None)
    pipeline.choose(call(), [seat("a")], 0.0)
    assert notes.pipeline is None
