"""The pump: order, time that never goes back, one timer, bugs that cost nothing else."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.drive.kernel import Kernel
from penstock.drive.pump import BUG_PAUSE_S, Pump, monotonic_clock, raise_bug

Row = tuple[float, str, list[str]]


class Echo:
    """Answers every fact with the orders that are written in it, "a>b,c": the fact a orders b and c."""

    def __init__(self) -> None:
        self.wake: float | None = None
        self.broken: set[str] = set()
        self.wake_broken = False

    def on(self, event: str, now: float) -> list[str]:
        if event in self.broken:
            raise ZeroDivisionError(event)
        if event == "woke":
            self.wake = None
        if event.startswith("wake at "):
            self.wake = float(event.removeprefix("wake at "))
        return event.partition(">")[2].split(",") if ">" in event else []

    def next_wake(self) -> float | None:
        if self.wake_broken:
            raise ZeroDivisionError
        return self.wake


class Bench:
    """An Echo under a pump with a clock that is set by hand and timers that are fired by hand."""

    def __init__(self, perform: Callable[[str], None] | None = None) -> None:
        self.machine = Echo()
        self.time = 100.0
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.cancelled = 0
        self.rows: list[Row] = []
        self.performed: list[str] = []
        self.bugs: list[object] = []
        self.pump: Pump[str, str] = Pump(
            self.machine,
            perform or self.performed.append,
            lambda: self.time,
            self.call_at,
            lambda now, event, orders: self.rows.append((now, event, orders)),
            "woke",
            lambda what, error: self.bugs.append(what),
        )

    def call_at(self, when: float, callback: Callable[[], object]) -> "Bench":
        self.timers.append((when, callback))
        return self

    def cancel(self) -> None:
        self.cancelled += 1
        self.timers.clear()

    def fire(self, at: float) -> None:
        self.time = at
        self.timers.pop(0)[1]()


def test_orders_are_performed_in_order_after_the_journal_saw_them() -> None:
    """A turn is observed with its orders, and they are performed in their order."""
    bench = Bench()
    bench.pump.tell("a>b,c")
    assert bench.rows == [(100.0, "a>b,c", ["b", "c"])]
    assert bench.performed == ["b", "c"]


def test_a_fact_told_while_performing_waits_for_the_turn_to_end() -> None:
    """A performer that tells a fact at once does not re-enter the machine: the other orders go first."""
    done: list[str] = []

    def perform(order: str) -> None:
        done.append(order)
        if order == "b":
            bench.pump.tell("from b>d")
            done.append("b is done")

    bench = Bench(perform)
    bench.pump.tell("a>b,c")
    assert done == ["b", "b is done", "c", "d"]
    assert [event for _, event, _ in bench.rows] == ["a>b,c", "from b>d"]


@settings(max_examples=50)
@given(st.recursive(st.just([]), lambda children: st.lists(children, max_size=4), max_leaves=30))
def test_the_inbox_is_first_in_first_out(tree: list[Any]) -> None:
    """Whatever facts cause what facts: each turn's orders are all performed before the next, oldest fact is told."""
    trees: dict[str, list[Any]] = {"0": tree}
    story: list[str] = []

    def fact(name: str) -> str:
        children = {f"{name}.{index}": child for index, child in enumerate(trees[name])}
        trees.update(children)
        return f"{name}>{','.join(children)}" if children else name

    def perform(order: str) -> None:
        story.append(f"do {order}")
        bench.pump.tell(fact(order))

    bench = Bench(perform)
    bench.pump = Pump(
        bench.machine, perform, lambda: 0.0, bench.call_at, lambda n, event, o: story.append(event), "woke", raise_bug
    )
    bench.pump.tell(fact("0"))
    expected, waiting = [], ["0"]
    while waiting:
        name = waiting.pop(0)
        orders = [f"{name}.{index}" for index in range(len(trees[name]))]
        expected += [f"{name}>{','.join(orders)}" if orders else name, *(f"do {order}" for order in orders)]
        waiting += orders
    assert story == expected


def test_time_never_goes_back() -> None:
    """A clock that jumps back is held at the last time that the machine was told."""
    bench = Bench()
    bench.pump.tell("a")
    bench.time = 90.0
    bench.pump.tell("b")
    assert bench.pump.now() == 100.0
    bench.time = 101.0
    bench.pump.tell("c")
    assert [now for now, _, _ in bench.rows] == [100.0, 100.0, 101.0]
    assert bench.pump.now() == 101.0


def test_one_timer_for_the_earliest_wake() -> None:
    """An earlier wake replaces the timer, a later one leaves it, and the early firing only arms again."""
    bench = Bench()
    bench.pump.tell("wake at 110")
    bench.pump.tell("wake at 105")
    bench.pump.tell("wake at 120")
    assert [when for when, _ in bench.timers] == [105.0]
    assert bench.cancelled == 1
    bench.fire(105.0)
    assert [when for when, _ in bench.timers] == [120.0]
    assert [event for _, event, _ in bench.rows][-1] == "wake at 120"
    bench.fire(120.5)
    assert bench.rows[-1] == (120.5, "woke", [])
    assert bench.timers == []


def test_a_firing_a_little_early_counts_as_the_wake_time() -> None:
    """An event loop that fires half a millisecond early wakes the machine at the time it asked for, never before."""
    bench = Bench()
    bench.pump.tell("wake at 105")
    bench.fire(104.9995)
    assert bench.rows[-1] == (105.0, "woke", [])
    bench.pump.tell("next")
    assert bench.rows[-1] == (105.0, "next", [])


def test_a_firing_much_too_early_arms_again() -> None:
    """A timer that fires 50 ms early is armed once more instead of telling the machine a time to come."""
    bench = Bench()
    bench.pump.tell("wake at 105")
    bench.fire(104.95)
    assert [when for when, _ in bench.timers] == [105.0]
    assert bench.rows[-1][1] == "wake at 105"


def test_no_wake_is_told_when_none_is_wanted_any_more() -> None:
    """The timer of a wake that the machine gave up fires into nothing."""
    bench = Bench()
    bench.pump.tell("wake at 105")
    bench.machine.wake = None
    bench.fire(105.0)
    assert len(bench.rows) == 1
    assert bench.timers == []


def test_close_takes_back_the_timer() -> None:
    """After close no timer is left; the next fact arms one again."""
    bench = Bench()
    bench.pump.tell("wake at 105")
    bench.pump.close()
    assert bench.timers == []
    bench.pump.tell("a")
    assert [when for when, _ in bench.timers] == [105.0]


def test_a_bug_in_the_machine_costs_one_fact() -> None:
    """A fact that makes the machine raise is reported; the next one is handled."""
    bench = Bench()
    bench.machine.broken = {"bad"}
    bench.pump.tell("bad")
    bench.pump.tell("good>x")
    assert bench.bugs == ["bad"]
    assert bench.performed == ["x"]


def test_a_bug_in_one_order_leaves_the_others() -> None:
    """A performer that raises for one order is reported; the orders after it are still performed."""
    done: list[str] = []

    def perform(order: str) -> None:
        if order == "b":
            raise ZeroDivisionError
        done.append(order)

    bench = Bench(perform)
    bench.pump.tell("a>b,c,d")
    assert (bench.bugs, done) == (["b"], ["c", "d"])


def test_a_bug_in_a_reader_costs_no_order() -> None:
    """An observer that raises is reported; the turn's orders are performed all the same."""
    bugs: list[object] = []
    done: list[str] = []

    def observe(now: float, event: str, orders: list[str]) -> None:
        raise ZeroDivisionError

    kernel = Kernel()
    pump = Pump(
        Echo(), done.append, kernel.clock, kernel.call_at, observe, "woke", lambda what, error: bugs.append(what)
    )
    pump.tell("a>b")
    assert (bugs, done) == (["a>b"], ["b"])


def test_a_machine_that_cannot_say_its_wake_is_reported() -> None:
    """next_wake raising is a bug like another, after a fact and after a timer."""
    bench = Bench()
    bench.pump.tell("wake at 105")
    bench.machine.wake_broken = True
    bench.pump.tell("a")
    bench.fire(105.0)
    assert bench.bugs == ["a", "woke"]


def test_a_bug_may_be_answered_with_a_fact() -> None:
    """on_bug may tell a fact (that ends the call concerned): it is handled, whatever it was that raised."""
    bench = Bench()
    bench.machine.broken = {"bad"}

    def on_bug(what: object, error: Exception) -> None:
        if what != "sorry":
            bench.pump.tell("sorry")

    bench.pump = Pump(
        bench.machine, bench.performed.append, lambda: 0.0, bench.call_at,
        lambda n, event, o: bench.rows.append((n, event, o)), "woke", on_bug,
    )  # fmt: skip
    bench.pump.tell("bad")
    bench.machine.wake_broken = True
    bench.pump.tell("good")
    assert [event for _, event, _ in bench.rows] == ["sorry", "good", "sorry"]


def test_a_machine_whose_wake_up_is_broken_is_woken_with_pauses() -> None:
    """A bug in Woke itself does not spin: the next wake-up comes after a pause."""
    bench = Bench()
    bench.machine.broken = {"woke"}
    bench.pump.tell("wake at 105")
    bench.fire(105.0)
    assert bench.bugs == ["woke"]
    assert [when for when, _ in bench.timers] == [105.0 + BUG_PAUSE_S]


def test_raise_bug_stops_the_run_and_leaves_the_pump_usable() -> None:
    """In tests a bug ends the run at once, at the tell that caused it."""
    kernel, machine = Kernel(), Echo()
    machine.broken = {"bad"}
    rows: list[str] = []
    pump = Pump(
        machine, lambda order: None, kernel.clock, kernel.call_at, lambda n, e, o: rows.append(e), "woke", raise_bug
    )
    with pytest.raises(ZeroDivisionError):
        pump.tell("bad")
    pump.tell("good")
    assert rows == ["good"]


def test_the_default_logs_the_bug(caplog: pytest.LogCaptureFixture) -> None:
    """Without another wish a bug goes to the log, with its trace and without the fact's contents."""
    kernel, machine = Kernel(), Echo()
    machine.broken = {"private words"}
    pump = Pump(machine, lambda order: None, kernel.clock, kernel.call_at, lambda n, e, o: None, "woke")
    with caplog.at_level(logging.ERROR):
        pump.tell("private words")
    assert [record.getMessage() for record in caplog.records] == ["bug while handling str: ZeroDivisionError"]
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_the_monotonic_clock_and_its_timers_share_an_axis(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """On a real loop the clock reads seconds since the epoch, and a timer fires when the clock says so."""

    async def main() -> None:
        clock, call_at = monotonic_clock(asyncio.get_running_loop())
        assert abs(clock() - time.time()) < 1.0
        rows: list[Row] = []
        woken = asyncio.Event()
        pump: Pump[str, str] = Pump(
            Echo(), lambda order: None, clock, call_at, lambda n, e, o: rows.append((n, e, o)), "woke", raise_bug
        )
        begun = clock()
        pump.tell(f"wake at {begun + 0.02!r}")
        call_at(begun + 0.05, woken.set)
        taken_back = call_at(begun + 0.03, lambda: rows.append((0.0, "taken back", [])))
        taken_back.cancel()
        async with asyncio.timeout(5):
            await woken.wait()
        assert [event for _, event, _ in rows[1:]] == ["woke"]
        assert begun + 0.02 <= rows[1][0] <= begun + 0.05

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
