"""The shape of a machine is enough to turn one: a counter that wants to be woken, by nothing but the protocol."""

from penstock.base.machine import Machine


class Counter:
    """Counts facts, answers each with the number so far, and wants to be woken a second later."""

    def __init__(self) -> None:
        self.count = 0
        self.wake: float | None = None

    def on(self, event: str, now: float) -> list[int]:
        """One more."""
        self.count += 1
        self.wake = now + 1.0 if event != "stop" else None
        return [self.count]

    def next_wake(self) -> float | None:
        """A second after the last fact."""
        return self.wake


def test_any_object_of_the_shape_is_a_machine() -> None:
    """A plain class without a base class is turned through the protocol: facts in, orders out, one wake."""
    machine: Machine[str, int] = Counter()
    assert [machine.on("go", 1.0), machine.on("go", 2.0)] == [[1], [2]]
    assert machine.next_wake() == 3.0
    machine.on("stop", 4.0)
    assert machine.next_wake() is None
