"""The kernel: virtual time in order."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.drive.kernel import Kernel


def test_time_jumps_from_event_to_event() -> None:
    """Callbacks see the time at which they were due."""
    kernel = Kernel(10.0)
    seen: list[tuple[str, float]] = []
    kernel.at(12.0, lambda name: seen.append((name, kernel.clock())), "b")
    kernel.at(11.0, lambda name: seen.append((name, kernel.clock())), "a")
    assert kernel.run() == 12.0
    assert seen == [("a", 11.0), ("b", 12.0)]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5)))
def test_equal_times_keep_their_order(times: list[int]) -> None:
    """What is due at the same time happens in the order in which it was scheduled."""
    kernel = Kernel()
    seen: list[tuple[int, int]] = []
    for index, when in enumerate(times):
        kernel.at(when, seen.append, (when, index))
    kernel.run()
    assert seen == sorted(seen)
    assert kernel.done == len(times)


def test_the_past_means_now() -> None:
    """A callback for the past is called at the present time."""
    kernel = Kernel(5.0)
    seen: list[float] = []
    kernel.at(1.0, lambda _: seen.append(kernel.clock()), None)
    kernel.run()
    assert seen == [5.0]


def test_a_timer_can_be_taken_back() -> None:
    """A cancelled timer is not called; cancelling twice, or after it fired, is harmless."""
    kernel = Kernel()
    seen: list[str] = []
    first = kernel.call_at(1.0, lambda: seen.append("first"))
    second = kernel.call_at(2.0, lambda: seen.append("second"))
    first.cancel()
    first.cancel()
    kernel.run()
    second.cancel()
    assert seen == ["second"]


def test_running_until_a_time_includes_it_and_leaves_the_rest() -> None:
    """run(until) performs what is due at `until`, stands at that time, and goes on later."""
    kernel = Kernel()
    seen: list[float] = []
    for when in (1.0, 2.0, 3.0):
        kernel.at(when, seen.append, when)
    assert kernel.run(2.0) == 2.0
    assert (seen, kernel.pending()) == ([1.0, 2.0], 1)
    assert kernel.run(2.5) == 2.5
    assert kernel.run() == 3.0


@pytest.mark.slow
def test_time_that_stands_still_is_an_error() -> None:
    """A callback that schedules itself for now for ever ends the run with an error instead of a hang."""
    kernel = Kernel()

    def again(_: None) -> None:
        kernel.at(kernel.clock(), again, None)

    kernel.at(1.0, again, None)
    with pytest.raises(RuntimeError, match="stands still"):
        kernel.run()


def test_a_halt_ends_the_run_after_the_callback_that_asked_for_it() -> None:
    """What is left comes with the next run, at its own time."""
    kernel, seen = Kernel(), list[int]()

    def see(number: int) -> None:
        seen.append(number)
        if number == 1:
            kernel.halt()

    for number in range(3):
        kernel.at(float(number), see, number)
    assert kernel.run() == 1.0
    assert seen == [0, 1]
    kernel.run()
    assert seen == [0, 1, 2]


@pytest.mark.slow
def test_it_is_fast() -> None:
    """At least 200,000 trivial events a second of CPU time, even on a slow machine (a million on a usual one)."""
    kernel = Kernel()

    def again(left: int) -> None:
        if left:
            kernel.at(kernel.clock() + 0.001 * (left % 13), again, left - 1)

    for start in range(100):
        kernel.at(start * 0.001, again, 1_000)
    begun = time.process_time()
    kernel.run()
    assert kernel.done / (time.process_time() - begun) > 200_000
