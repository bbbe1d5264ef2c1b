"""What every actuator keeps to, whether it runs processes, only says what it would run, or is a fake of ours."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from penstock.adapters.actuators.dry_run import DryRunSpec
from penstock.adapters.actuators.process import ProcessActuator
from penstock.adapters.actuators.registry import actuator_of
from penstock.base.nouns import Unit
from penstock.base.ports import Actuator
from tests.adapters.actuators.programs import end_all, spec
from tests.helpers.actuators import Obedient
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

Make = Callable[[Path, str], Actuator]


def processes(folder: Path, pool: str) -> Actuator:
    """Real ones."""
    return actuator_of(spec(folder, stop_s=5.0), pool)


def dry_run(folder: Path, pool: str) -> Actuator:
    """None at all."""
    return actuator_of(DryRunSpec(), pool)


def fake(folder: Path, pool: str) -> Actuator:
    """What our tests take for one."""
    return Obedient()


@contextlib.asynccontextmanager
async def acting(actuator: Actuator) -> AsyncIterator[Actuator]:
    """An actuator; whatever it runs ends with the block."""
    try:
        yield actuator
    finally:
        if isinstance(actuator, ProcessActuator):
            end_all(actuator.processes)
        actuator.close()


async def shows(actuator: Actuator, *names: str) -> tuple[Unit, ...]:
    """Wait until exactly these are there."""
    end = time.monotonic() + 10.0
    while True:
        units = await actuator.look(5.0)
        if tuple(unit.id for unit in units) == names:
            return units
        assert time.monotonic() < end, units
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("make", [processes, dry_run, fake])
def test_what_is_started_is_shown_until_it_is_stopped(make: Make, tmp_path: Path) -> None:
    """A look is a whole snapshot: who was started and not stopped, each with a state and an address of its own."""

    async def main() -> None:
        async with acting(make(tmp_path, "p")) as actuator:
            assert await actuator.look(5.0) == ()
            await actuator.start("p-1")
            await actuator.start("p-2")
            units = await shows(actuator, "p-1", "p-2")
            assert [unit.state for unit in units] == ["running", "running"]
            assert units[0].url != units[1].url or not units[0].url
            await actuator.stop("p-1")
            await shows(actuator, "p-2")

    run(main)


@pytest.mark.parametrize("make", [processes, dry_run, fake])
def test_how_a_replica_is_had_is_shown(make: Make, tmp_path: Path) -> None:
    """As it was ordered: on demand where nothing is said."""

    async def main() -> None:
        async with acting(make(tmp_path, "p")) as actuator:
            await actuator.start("p-1")
            await actuator.start("p-2", "spot")
            units = await shows(actuator, "p-1", "p-2")
            assert [unit.purchase for unit in units] == ["on_demand", "spot"]

    run(main)


@pytest.mark.parametrize("make", [processes, dry_run, fake])
def test_orders_may_come_twice(make: Make, tmp_path: Path) -> None:
    """The second time an order changes nothing, and one about somebody unknown is no mistake."""

    async def main() -> None:
        async with acting(make(tmp_path, "p")) as actuator:
            await actuator.start("p-1")
            before = await shows(actuator, "p-1")
            await actuator.start("p-1")
            assert await actuator.look(5.0) == before
            await actuator.stop("p-9")
            await actuator.stop("p-1")
            await actuator.stop("p-1")
            await shows(actuator)
            await actuator.stop("p-1")

    run(main)


@pytest.mark.parametrize("make", [processes, dry_run, fake])
def test_orders_at_once(make: Make, tmp_path: Path) -> None:
    """Orders that are given at once are all done."""

    async def main() -> None:
        async with acting(make(tmp_path, "p")) as actuator:
            names = [f"p-{number}" for number in range(5)]
            await asyncio.gather(*(actuator.start(name) for name in names))
            assert sorted(unit.id for unit in await actuator.look(5.0)) == names
            await asyncio.gather(*(actuator.stop(name) for name in names))
            await shows(actuator)

    run(main)


@pytest.mark.parametrize("make", [processes, dry_run, fake])
def test_any_name_will_do(make: Make, tmp_path: Path) -> None:
    """Names of pools are whatever users write."""

    async def main() -> None:
        async with acting(make(tmp_path, "a b/ü..")) as actuator:
            await actuator.start("a b/ü..-1")
            await shows(actuator, "a b/ü..-1")

    run(main)
