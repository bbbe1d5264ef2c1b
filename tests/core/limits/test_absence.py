"""What is certain of shared limits while their store is away, and just after: by literal times."""

import pytest

from penstock.core.limits.absence import RETURN_S, Absence, counts_until
from penstock.core.limits.spans import AT_ONCE, span_of
from penstock.core.limits.spec import SharedSpec

MINUTE, DAY, MONTH = "requests per minute", "tokens per day", "budget per month"


def absence(away: str = "local", **more: float) -> Absence:
    """Of a process that heard its store at 1000, and had before."""
    made = Absence(SharedSpec(away=away, **more))  # type: ignore[arg-type]
    made.heard(990.0, 0.0, 990.0)
    made.heard(992.0, 0.0, 992.0)
    made._within.clear()
    made.heard_at, made.new_until = 1000.0, 995.0
    return made


def test_nothing_counts_for_ever() -> None:
    """A window and what is left of its piece; of a budget the month; by the span's own clock."""
    assert counts_until(span_of(MINUTE), 1000.5, 0.0) == 1061.0
    assert counts_until(span_of(MINUTE), 1000.5, 0.7) == 1062.0 - 0.7
    assert counts_until(span_of(MONTH), 86400.0, 0.0) == 31 * 86400.0


def test_a_share_is_served_when_no_lease_counts_any_more() -> None:
    """A window after the last moment at which somebody may have used what he was granted before the store went."""
    made = absence()
    made.lost(1002.0)
    made.lost(1050.0)
    assert made.since == 1002.0
    assert made.shares_at(span_of(MINUTE), 0.0, 1070.0) == 1066.0


def test_what_is_set_aside_is_a_part_of_limits_that_have_one() -> None:
    """Of less than a hundred one at most, and none where nothing is served without the store; a process that never
    heard the store has nothing of it."""
    made = absence(aside=0.1, share=0.5)
    assert [made.aside(limit) for limit in (1000, 100, 99, 9)] == [100, 10, 1, 0]
    assert (made.own_aside(1000), made.own_aside(15), made.share(15)) == (50, 0, 7)
    assert absence("refuse", aside=0.1).aside(1000) == 0
    assert Absence(made.spec).own_aside(1000) == 0


def test_who_is_back_stays_within_its_share_until_others_are_heard() -> None:
    """Some seconds; of limits whose share may have been served meanwhile, a window."""
    made = absence()
    made.lost(1002.0)
    made.heard(1003.5, 0.0, 1003.6)
    assert (made.within(MINUTE), made.within(DAY), made.within(AT_ONCE)) == (1008.6, 1008.6, 1008.6)
    made.lost(1010.0)
    made.heard(1100.0, 0.0, 1100.1)
    assert (made.within(MINUTE), made.within(DAY), made.within(AT_ONCE)) == (1161.0, 1105.1, 1105.1)
    made.heard(1101.0, 0.0, 1101.1)
    assert made.within(MINUTE) == 1161.0
    assert (made.since, made.heard_at, made.back_at) == (None, 1101.0, 1100.1)


@pytest.mark.parametrize("missed", [False, True])
def test_a_process_that_is_new_may_have_missed_something(missed: bool) -> None:
    """It hears the store for the first time: others may be about to; where it was away until then, for how long nobody
    knows."""
    made = Absence(SharedSpec(away="local"))
    if missed:
        made.lost(1000.0)
    made.heard(1010.0, 0.0, 1010.5)
    assert made.within(MINUTE) == (1071.0 if missed else 1010.5 + RETURN_S)
    assert (made.room(MINUTE, 100, 0, 1015.4), made.room(MINUTE, 100, 5, 1016.0)) == (0, 20 if missed else 100)


def test_who_refuses_has_nothing_to_be_careful_of() -> None:
    """It serves nothing without the store."""
    made = absence("refuse")
    made.lost(1001.0)
    made.heard(2000.0, 0.0, 2000.0)
    assert made.within(MINUTE) < 0


def test_a_store_that_was_there_for_a_moment_is_remembered() -> None:
    """Others that did not notice may serve their shares soon: for a window nothing is served beside them."""
    made = absence()
    assert not made.again(span_of(MINUTE), 0.0, 1001.0)
    made.lost(1002.0)
    made.heard(1010.0, 0.0, 1010.0)
    assert made.again(span_of(MINUTE), 0.0, 1073.9)
    assert not made.again(span_of(MINUTE), 0.0, 1074.0)
