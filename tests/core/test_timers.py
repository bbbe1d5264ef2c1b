"""Alarms ring once, in order, at the last wish, and leave nothing behind."""

from penstock.core.timers import Timers


def test_alarms_ring_in_the_order_of_their_times() -> None:
    """Due ones come out with the times they were set for; equal times in the order of setting."""
    timers: Timers[str] = Timers()
    for key, when in (("c", 3.0), ("a", 1.0), ("z", 1.0), ("b", 2.0)):
        timers.set(key, when)
    assert timers.next() == 1.0
    assert list(timers.due(0.9)) == []
    assert list(timers.due(2.0)) == [(1.0, "a"), (1.0, "z"), (2.0, "b")]
    assert list(timers.due(2.0)) == []
    assert timers.next() == 3.0
    assert len(timers) == 1


def test_the_last_wish_holds() -> None:
    """Setting a key again moves its alarm, earlier or later; the old time does not ring."""
    timers: Timers[str] = Timers()
    timers.set("a", 5.0)
    timers.set("a", 1.0)
    assert list(timers.due(2.0)) == [(1.0, "a")]
    timers.set("a", 3.0)
    timers.set("a", 9.0)
    assert list(timers.due(8.0)) == []
    assert timers.next() == 9.0


def test_a_cancelled_alarm_does_not_ring() -> None:
    """Cancelling is final, and cancelling nothing is nothing."""
    timers: Timers[str] = Timers()
    timers.set("a", 1.0)
    assert "a" in timers
    timers.cancel("a")
    timers.cancel("b")
    assert "a" not in timers
    assert timers.next() is None
    assert list(timers.due(10.0)) == []


def test_what_one_alarm_leads_to_silences_those_behind_it() -> None:
    """After a stall several alarms are due at once: one that is cancelled or moved meanwhile does not ring."""
    timers: Timers[str] = Timers()
    for when, key in enumerate("abcd"):
        timers.set(key, float(when))
    rung = []
    for _, key in timers.due(10.0):
        rung.append(key)
        if key == "a":
            timers.cancel("b")
            timers.set("c", 20.0)
    assert rung == ["a", "d"]
    assert list(timers.due(30.0)) == [(20.0, "c")]
    assert len(timers) == 0


def test_the_same_time_set_again_rings_once() -> None:
    """Two wishes for one time are one alarm."""
    timers: Timers[str] = Timers()
    timers.set("a", 1.0)
    timers.set("a", 1.0)
    assert list(timers.due(1.0)) == [(1.0, "a")]


def test_cancelled_alarms_do_not_pile_up() -> None:
    """A million calls that each set and cancel an alarm far away leave a small heap."""
    timers: Timers[int] = Timers()
    timers.set(-1, 0.5)
    for n in range(10_000):
        timers.set(n, 1e9 + n)
        timers.cancel(n)
    assert len(timers._heap) < 200
    assert list(timers.due(1.0)) == [(0.5, -1)]


def test_rebuilding_the_heap_loses_no_alarm() -> None:
    """Those that still stand ring at their times after any number of others were cancelled."""
    timers: Timers[int] = Timers()
    for n in range(1000):
        timers.set(n, float(n))
        if n % 10:
            timers.cancel(n)
    assert list(timers.due(1000.0)) == [(float(n), n) for n in range(0, 1000, 10)]


def test_a_cancelled_alarm_before_the_known_head_does_not_ring() -> None:
    """A cancelled alarm that still lies before the one last looked at neither rings nor hides it."""
    timers: Timers[str] = Timers()
    timers.set("late", 5.0)
    assert timers.next() == 5.0
    timers.set("early", 1.0)
    timers.cancel("early")
    assert timers.next() == 5.0
    assert list(timers.due(9.0)) == [(5.0, "late")]
    assert timers.next() is None
