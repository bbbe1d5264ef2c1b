"""The agreement: the same story through asyncio and through the kernel gives the same journal, byte for byte."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.base.rand import Rand
from penstock.core.effects import Effect
from penstock.core.events import Event, Reconfigured
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, RateSpec
from penstock.core.spec import ExplainSpec, GateSpec
from penstock.drive.journal import FileSink, Journal, Turn, header, read
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.drive.virtual_loop import VirtualLoop, run_virtual
from tests.helpers.world import World

CALLS, OVER_S, END_S = 120, 12.0, 60.0
START_S = 1_700_000_000.0
"""An epoch time: the axis of production, where seconds have few digits behind the point."""


def by_kernel(seed: int, grid_s: float = 0.0, limits: LimitsSpec | None = None) -> World:
    kernel = Kernel(START_S)
    world = World(seed, kernel.clock, kernel.call_at, kernel.at, grid_s, limits)
    world.begin(CALLS, OVER_S)
    kernel.run(START_S + END_S)
    return world


def by_asyncio(seed: int, grid_s: float = 0.0, limits: LimitsSpec | None = None) -> World:
    async def main() -> World:
        loop = asyncio.get_running_loop()
        world = World(seed, loop.time, loop.call_at, loop.call_at, grid_s, limits)
        world.begin(CALLS, OVER_S)
        await asyncio.sleep(END_S)
        world.pump.close()
        return world

    return run_virtual(main(), START_S)


def by_tasks(seed: int) -> World:
    """Every attempt, look and client is a task that sleeps, as a body written with coroutines would do it."""

    async def main() -> World:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        async def later(when: float, action: Callable[[Any], object], argument: Any) -> None:
            reached = asyncio.Event()
            loop.call_at(when, reached.set)
            await reached.wait()
            action(argument)

        def at(when: float, action: Callable[[Any], object], argument: Any, /) -> None:
            task = loop.create_task(later(when, action, argument))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        world = World(seed, loop.time, loop.call_at, at)
        world.begin(CALLS, OVER_S)
        await asyncio.sleep(END_S)
        world.pump.close()
        for task in list(tasks):
            task.cancel()
        return world

    return run_virtual(main(), START_S)


@pytest.mark.parametrize("seed", range(6))
def test_the_gate_decides_the_same_on_both_pumps(seed: int) -> None:
    """A story of failures, departures and reconfiguration has one journal, whichever pump turns the Gate."""
    assert by_asyncio(seed).journal.lines() == by_kernel(seed).journal.lines()


@pytest.mark.parametrize("seed", range(6, 10))
def test_they_agree_when_much_happens_at_once(seed: int) -> None:
    """With all times on a grid, what happens at the same instant happens in the same order."""
    grid_s = 0.0625  # a binary fraction: sums stay on the grid
    world = by_kernel(seed, grid_s)
    times = [now for now, _, _ in world.journal.turns()]
    assert len(set(times)) < 0.8 * len(times)
    assert by_asyncio(seed, grid_s).journal.lines() == world.journal.lines()


@pytest.mark.parametrize("seed", range(10, 13))
def test_they_agree_when_the_body_is_made_of_tasks(seed: int) -> None:
    """A body of coroutines, whose facts arrive some callbacks later within an instant, changes nothing."""
    assert by_tasks(seed).journal.lines() == by_kernel(seed).journal.lines()


LIMITED = LimitsSpec(
    tenants={
        "x": AllowanceSpec(requests_per_second=2, concurrency=5, budget_per_day=0.0003, over_limit="queue", wait_s=0.7),
        "y": AllowanceSpec(tokens_per_minute=100, requests_per_minute=30, models={"m1": RateSpec(concurrency=2)}),
        "z": AllowanceSpec(concurrency=1),
    },
    everybody=AllowanceSpec(requests_per_minute=90),
    prices={"m1": PriceSpec(prompt=1.0, completion=2.0)}, unknown_price="free", default_max_tokens=60,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(70, 76))
@pytest.mark.parametrize("grid_s", [0.0, 0.0625])
def test_they_agree_on_limits(seed: int, grid_s: float) -> None:
    """With calls that wait for windows and for what others hold, that are let in, refused, and charged, both pumps have
    one journal; every call ends once, and nothing is held at the end."""
    world = by_kernel(seed, grid_s, LIMITED)
    assert by_asyncio(seed, grid_s, LIMITED).journal.lines() == world.journal.lines()
    assert sorted(order.row.id for order in world.rows) == sorted(f"c{number}" for number in range(CALLS))
    assert set(world.gate.counts().values()) == {0}
    assert {type(step).__name__ for trail in world.gate.trails() for step in trail.steps()} >= {"Barred"}


def test_some_stories_have_limits_of_every_kind() -> None:
    """In half a dozen of them calls are refused over each kind of limit, and let in after a wait."""
    worlds = [by_kernel(seed, 0.0, LIMITED) for seed in range(70, 76)]
    outcomes = {order.row.outcome for world in worlds for order in world.rows}
    assert outcomes >= {"request_limit", "token_limit", "concurrency_limit", "budget_spent"}
    steps = {type(step).__name__ for world in worlds for trail in world.gate.trails() for step in trail.steps()}
    assert "LetIn" in steps


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_they_agree_on_many_seeds(block: int) -> None:
    """The agreement holds for hundreds of stories, not for a lucky one."""
    for seed in range(100 + block * 20, 120 + block * 20):
        grid_s = 0.0625 if seed % 2 else 0.0
        assert by_asyncio(seed, grid_s).journal.lines() == by_kernel(seed, grid_s).journal.lines(), seed


@pytest.mark.parametrize("seed", range(20, 26))
def test_the_story_is_worth_telling(seed: int) -> None:
    """Each story ends all its calls, once each, holds nothing afterwards, and is full of trouble."""
    world = by_kernel(seed)
    assert sorted(order.row.id for order in world.rows) == sorted(f"c{number}" for number in range(CALLS))
    assert set(world.gate.counts().values()) == {0}
    assert len({order.row.outcome for order in world.rows}) >= 4
    assert any(order.row.attempts > 1 for order in world.rows)


def test_some_stories_have_hedges_of_every_kind() -> None:
    """In a dozen of them hedges win, lose, fail with their call, and are not made for want of budget or room."""
    kinds = {order.row.hedge for seed in range(20, 32) for order in by_kernel(seed).rows}
    assert kinds == {"", "won", "lost", "neither", "no_budget", "no_room"}


def test_different_seeds_are_different_stories() -> None:
    """The seed matters: otherwise agreement would prove nothing."""
    assert len({by_kernel(seed).journal.lines() for seed in range(30, 34)}) == 4


def test_a_journal_file_replays(tmp_path: Path) -> None:
    """A Gate of the same spec and seed that is told a journal's facts again gives the journal's orders again."""
    world = by_kernel(40)
    path = tmp_path / "journal"
    sink = FileSink(path, header("1", 40, world.spec))
    for turn in world.journal.turns():
        sink.observe(*turn)
    sink.close()
    gate, turns = Gate(world.spec, Rand(40)), 0
    for line in read(path, Event, Effect):
        if isinstance(line, Turn):
            assert gate.on(line.event, line.now) == line.effects
            turns += 1
    assert turns == len(world.journal.turns()) > 500


# ===== any machine =====


class Sleeper:
    """A machine that is told "name", or how long to sleep, orders what it was told, and reports when it wakes."""

    def __init__(self) -> None:
        self.wakes: list[float] = []

    def on(self, event: int, now: float) -> list[int]:
        if event < 0:
            due = [wake for wake in self.wakes if wake <= now]
            self.wakes = [wake for wake in self.wakes if wake > now]
            return [-len(due)]
        if event % 3 == 0:
            self.wakes.append(now + event % 7)
        return [event // 2] * (event % 4)

    def next_wake(self) -> float | None:
        return min(self.wakes, default=None)


def sleepers_story(facts: list[tuple[int, int]], clock: Any, call_at: Any, at: Any) -> Journal[int, int]:
    journal: Journal[int, int] = Journal(100_000)
    left = 200

    def perform(order: int) -> None:
        nonlocal left
        left -= 1
        if order > 0 and left > 0:
            if order % 2:
                pump.tell(order)
            else:
                at(clock() + order % 5, pump.tell, order)

    pump: Pump[int, int] = Pump(Sleeper(), perform, clock, call_at, journal.observe, -1, raise_bug)
    for when, fact in facts:
        at(float(when), pump.tell, fact)
    return journal


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 100)), max_size=15))
def test_any_machine_and_any_facts(facts: list[tuple[int, int]]) -> None:
    """Facts at equal times, facts told while performing, wakes that move: the journals are the same."""
    kernel = Kernel()
    one = sleepers_story(facts, kernel.clock, kernel.call_at, kernel.at)
    kernel.run(1000.0)

    async def main() -> Journal[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        journal = sleepers_story(facts, loop.time, loop.call_at, loop.call_at)
        await asyncio.sleep(1000.0)
        return journal

    assert one.lines() == run_virtual(main()).lines()


# ===== explanations =====


def without_explanations(
    turns: list[tuple[float, Event, list[Effect]]], spec: GateSpec, seed: int
) -> list[list[Effect]]:
    """What a Gate that remembers nothing orders when it is told the same facts."""
    plain = Gate(replace(spec, explain=ExplainSpec(calls=0)), Rand(seed))
    off = [
        replace(event, spec=replace(event.spec, explain=ExplainSpec(calls=0))) if type(event) is Reconfigured else event
        for _, event, _ in turns
    ]
    return [plain.on(event, now) for event, (now, _, _) in zip(off, turns, strict=True)]


@pytest.mark.parametrize("seed", range(50, 56))
def test_remembering_why_changes_no_decision(seed: int) -> None:
    """A Gate that keeps trails orders what one that keeps none orders, turn by turn."""
    world = by_kernel(seed)
    turns = world.journal.turns()
    assert without_explanations(turns, world.spec, seed) == [effects for _, _, effects in turns]


@pytest.mark.parametrize("seed", range(60, 63))
def test_a_replayed_journal_explains_as_well(seed: int) -> None:
    """Both pumps leave the same trails, and a Gate that is told a journal's facts has them too: none need be kept."""
    world = by_kernel(seed)
    trails = list(world.gate.trails())
    assert len(trails) == CALLS
    assert {type(step).__name__ for trail in trails for step in trail.steps()} >= {"Queued", "Chosen", "Lost"}
    assert list(by_asyncio(seed).gate.trails()) == trails
    gate = Gate(world.spec, Rand(seed))
    for now, event, _ in world.journal.turns():
        gate.on(event, now)
    assert list(gate.trails()) == trails
