"""Deadlines: who has not begun by his time is late, once, and nobody else is."""

from penstock.drive.kernel import Kernel
from penstock.sim.deadlines import Deadlines


def test_only_who_has_not_begun_is_late() -> None:
    """Of four, two had begun; the other two are late at their own times, and one alarm does for all."""
    kernel, begun = Kernel(), {"a", "c"}
    late: list[tuple[float, str]] = []
    found: Deadlines[str] = Deadlines(kernel, begun.__contains__, lambda item: late.append((kernel.now, item)))
    for until, item in ((1.0, "a"), (2.0, "b"), (3.0, "c"), (4.0, "d")):
        found.add(item, until)
    assert kernel.pending() == 1
    kernel.run()
    assert late == [(2.0, "b"), (4.0, "d")]


def test_those_in_time_do_not_pile_up() -> None:
    """A thousand that had begun are forgotten as new ones come."""
    found: Deadlines[int] = Deadlines(Kernel(), lambda item: True, lambda item: None)
    for number in range(1000):
        found.add(number, float(number))
    assert len(found._due) == 1
