"""What every actuator keeps to: one that runs processes, one that scales a cluster, one that only says what it
would do, and a fake of ours."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from penstock.base.nouns import Unit
from penstock.base.ports import Actuator
from tests.contracts.rigs import KINDS, Rig
from tests.helpers.wire import run

pytestmark = pytest.mark.slow


every = pytest.mark.parametrize("kind", KINDS)
Kind = Callable[[Path, str], Rig]


@contextlib.asynccontextmanager
async def world(rig: Rig) -> AsyncIterator[Rig]:
    """It begins and ends, and what runs in it with it."""
    await rig.open()
    try:
        yield rig
    finally:
        await rig.close()


def acted(kind: Kind, folder: Path, main: Callable[[Rig, Actuator], Awaitable[None]], pool: str = "p") -> None:
    """Do this with an actuator."""

    async def bounded() -> None:
        async with world(kind(folder, pool)) as rig:
            actuator = rig.make()
            try:
                await main(rig, actuator)
            finally:
                actuator.close()

    run(bounded, 50.0)


async def shows(actuator: Actuator, *names: str, state: str = "running") -> dict[str, Unit]:
    """Wait until exactly these are there, in this state."""
    end = time.monotonic() + 30.0
    while True:
        units = await actuator.look(20.0)
        if sorted(unit.id for unit in units) == sorted(names) and all(unit.state == state for unit in units):
            return {unit.id: unit for unit in units}
        assert time.monotonic() < end, units
        await asyncio.sleep(0.005)


@every
def test_what_is_started_is_shown_until_it_is_stopped(kind: Kind, tmp_path: Path) -> None:
    """A look is a whole snapshot: who was started and not stopped, each with a state and an address of its own."""

    async def main(rig: Rig, actuator: Actuator) -> None:
        assert await actuator.look(20.0) == ()
        await actuator.start("p-1")
        await actuator.start("p-2")
        units = await shows(actuator, "p-1", "p-2")
        assert len({unit.url for unit in units.values()}) == (2 if rig.serves else 1)
        assert all(unit.url.startswith("http://") == rig.serves for unit in units.values())
        await actuator.stop("p-1")
        assert await shows(actuator, "p-2") == {"p-2": units["p-2"]}

    acted(kind, tmp_path, main)


@every
def test_how_a_replica_is_had_is_shown(kind: Kind, tmp_path: Path) -> None:
    """As it was ordered, on demand where nothing is said."""

    async def main(rig: Rig, actuator: Actuator) -> None:
        await actuator.start("p-1")
        await actuator.start("p-2", "spot")
        units = await shows(actuator, "p-1", "p-2")
        assert {name: unit.purchase for name, unit in units.items()} == {"p-1": "on_demand", "p-2": "spot"}

    acted(kind, tmp_path, main)


@every
def test_orders_may_come_twice(kind: Kind, tmp_path: Path) -> None:
    """The second time an order changes nothing, and one about somebody unknown is no mistake."""

    async def main(rig: Rig, actuator: Actuator) -> None:
        await actuator.start("p-1")
        before = await shows(actuator, "p-1")
        await actuator.start("p-1")
        assert await shows(actuator, "p-1") == before
        for drain in (True, True, False, True):
            await actuator.drain("p-1", drain)
        await actuator.drain("p-9", True)
        assert await shows(actuator, "p-1") == before
        await actuator.stop("p-9")
        await actuator.stop("p-1")
        await actuator.stop("p-1")
        await shows(actuator)
        await actuator.stop("p-1")
        assert await rig.count() == 0

    acted(kind, tmp_path, main)


@every
def test_orders_at_once(kind: Kind, tmp_path: Path) -> None:
    """Orders that are given at once are all done."""

    async def main(rig: Rig, actuator: Actuator) -> None:
        names = [f"p-{number}" for number in range(5)]
        await asyncio.gather(*(actuator.start(name) for name in names))
        await shows(actuator, *names)
        await asyncio.gather(*(actuator.stop(name) for name in names))
        await shows(actuator)
        assert await rig.count() == 0

    acted(kind, tmp_path, main)


@every
def test_the_chosen_one_goes(kind: Kind, tmp_path: Path) -> None:
    """Neither the oldest nor the youngest, but the one that was drained and told to end."""

    async def main(_: Rig, actuator: Actuator) -> None:
        for number in range(4):
            await actuator.start(f"p-{number}")
        before = await shows(actuator, *(f"p-{number}" for number in range(4)))
        await actuator.drain("p-2", True)
        await actuator.stop("p-2")
        after = await shows(actuator, "p-0", "p-1", "p-3")
        assert all(before[name] == unit for name, unit in after.items())

    acted(kind, tmp_path, main)


@every
def test_any_name_will_do(kind: Kind, tmp_path: Path) -> None:
    """Names of pools are whatever users write."""

    async def main(_: Rig, actuator: Actuator) -> None:
        await actuator.start("a b/ü..-1")
        await shows(actuator, "a b/ü..-1")
        await actuator.stop("a b/ü..-1")
        await shows(actuator)

    acted(kind, tmp_path, main, "a b/ü..")


@every
def test_the_next_one_finds_them(kind: Kind, tmp_path: Path) -> None:
    """What runs goes on without its gateway; the next finds it by the same name at the same address, had in the same
    way, starts none twice, and can stop it."""

    async def bounded() -> None:
        async with world(kind(tmp_path, "p")) as rig:
            if not rig.remembers:
                pytest.skip("it forgets with its gateway")
            first = rig.make()
            await first.start("p-1")
            await first.start("p-2", "spot")
            before = await shows(first, "p-1", "p-2")
            first.close()
            second = rig.make()
            try:
                assert await shows(second, "p-1", "p-2") == before
                await second.start("p-1")
                assert await rig.count() == 2
                assert await shows(second, "p-1", "p-2") == before
                await second.stop("p-1")
                await shows(second, "p-2")
                await second.stop("p-2")
                await shows(second)
                assert await rig.count() == 0
            finally:
                second.close()

    run(bounded, 50.0)


@every
def test_one_that_goes_by_itself_is_noticed(kind: Kind, tmp_path: Path) -> None:
    """It is shown as ended, with the reason, until it is told to be forgotten; the others are as they were."""

    async def main(rig: Rig, actuator: Actuator) -> None:
        await actuator.start("p-1")
        await actuator.start("p-2")
        await shows(actuator, "p-1", "p-2")
        rig.kill("p-1")
        end = time.monotonic() + 30.0
        while True:
            units = {unit.id: unit for unit in await actuator.look(20.0)}
            if units["p-1"].state == "ended":
                break
            assert time.monotonic() < end
        assert units["p-1"].detail
        assert units["p-2"].state == "running"
        await actuator.stop("p-1")
        assert "p-1" not in {unit.id for unit in await actuator.look(20.0)}

    acted(kind, tmp_path, main)


@every
def test_one_that_nobody_asked_for_is_shown(kind: Kind, tmp_path: Path) -> None:
    """It has a name, keeps it, and can be stopped by it, while those that were asked for stay."""

    async def main(rig: Rig, actuator: Actuator) -> None:
        await actuator.start("p-1")
        before = await shows(actuator, "p-1")
        await rig.add()
        (other,) = {unit.id for unit in await actuator.look(20.0)} - {"p-1"}
        await actuator.start("p-2")
        await shows(actuator, "p-1", "p-2", other)
        await actuator.stop(other)
        after = await shows(actuator, "p-1", "p-2")
        assert after["p-1"] == before["p-1"]

    acted(kind, tmp_path, main)


@every
def test_what_fails_is_told(kind: Kind, tmp_path: Path) -> None:
    """An order that cannot be obeyed raises OSError with words for people, and never anything else; it started none."""

    async def main(rig: Rig, actuator: Actuator) -> None:
        await actuator.look(20.0)
        rig.break_it()
        with pytest.raises(OSError, match=r"\w+"):
            await actuator.start("p-1")
        assert await rig.count() == 0

    acted(kind, tmp_path, main)


@every
def test_it_keeps_to_its_time(kind: Kind, tmp_path: Path) -> None:
    """With no time at all a look answers at once or raises OSError: it never hangs, nor says less than the whole."""

    async def main(_: Rig, actuator: Actuator) -> None:
        await actuator.start("p-1")
        await shows(actuator, "p-1")
        try:
            units = await actuator.look(0.0)
        except OSError:
            return
        assert [unit.id for unit in units] == ["p-1"]

    acted(kind, tmp_path, main)
