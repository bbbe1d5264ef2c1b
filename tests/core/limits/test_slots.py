"""Slots: calls at once, by what is granted, and by what is certain without a store."""

from penstock.base.leases import Grant
from penstock.core.limits.parts import Axis
from penstock.core.limits.slots import Slots
from penstock.core.limits.spec import SharedSpec


class Calls:
    """Who has calls in flight."""

    calls = 0


def slots(granted: int, share: float = 0.5) -> tuple[Slots, Calls]:
    """Of eight, so many granted at 10, until 13."""
    owner, axis = Calls(), Axis(SharedSpec(away="local", share=share, aside=0.0))
    axis.absence.heard(9.0, 0.0, 9.0)
    axis.absence.heard(10.0, 0.0, 10.0)
    made = Slots(8, axis, owner)
    made.hear(Grant(made.name, granted, 8, 8, 0.0, 1.0), 0, 13.0, 15.0)
    return made, owner


def test_slots_go_by_the_calls_in_flight() -> None:
    """What is granted less what is in flight; when the lease ends, none."""
    owner = Calls()
    made = Slots(8, Axis(), owner)
    made.hear(Grant(made.name, 3, 8, 8, 0.0, 1.0), 0, 13.0, 10.0)
    owner.calls = 2
    assert not made.over(1, 10.0)
    assert made.over(2, 10.0)
    assert (made.kept(), made.used_here(), made.untold()) == (2, 2, False)
    assert made.over(1, 13.0)


def test_without_a_store_what_was_granted_is_certain() -> None:
    """And no more than the share, which is served as a whole when calls that others had begun are over."""
    made, owner = slots(granted=3)
    made._axis.absence.lost(16.0)
    made.go_alone(16.0)
    owner.calls = 2
    assert not made.over(1, 17.0)
    assert made.over(2, 17.0)
    assert made.over(2, 78.9)
    assert not made.over(2, 79.0)
    assert made.over(3, 79.0)
    assert made.alone_until(17.0) == 17.0
    many, _ = slots(granted=8)
    many._axis.absence.lost(16.0)
    many.go_alone(16.0)
    assert many.over(5, 17.0)
    assert not many.over(4, 17.0)
    many.end_alone()
    assert many.over(1, 17.0)


def test_back_they_stay_within_the_share() -> None:
    """Until the others have been heard."""
    made, owner = slots(granted=1)
    made._axis.absence.lost(16.0)
    made._axis.absence.heard(20.0, 0.0, 20.0)
    owner.calls = 1
    made.hear(Grant(made.name, 8, 8, 8, 0.0, 1.0), 0, 23.0, 20.0)
    assert not made.over(3, 20.0)
    assert made.over(4, 20.0)
