"""What a pool must not forget outlives the gateway; a disk that fails costs a forecast, but not what was spent."""

import asyncio
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.adapters.actuators.memory import MemoryFiles
from penstock.core.scale.budget import Purse
from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.history import Past
from penstock.core.scale.words import Part, Remember
from penstock.gateway.fleet.memory import Memory
from tests.gateway.test_scaling import CONF, Rig, over, pool
from tests.helpers.wire import run, until

PAST = Past(first=100, calls=(5.0,) * 15, rates=(1.0,) * 15, startup_s=9.0)
PURSE = Purse({"1000000": 12.5}, 3_700_000.0)
FORECASTS = pool(conf=replace(CONF, forecast=ForecastSpec()))


def test_it_is_told_once(tmp_path: Path) -> None:
    """What was written by an earlier gateway is told at the start, and not again at a reload; the past when the pool
    begins to forecast."""
    files = MemoryFiles(str(tmp_path), "p")
    files.write(PAST)
    files.write(PURSE)
    mine = Memory(files, "p")
    assert mine.recall(False) == [PURSE]
    assert mine.recall(True) == [PAST]
    assert mine.recall(True) == []
    assert Memory(MemoryFiles(str(tmp_path), "q"), "q").recall(True) == []


def test_money_that_cannot_be_read(tmp_path: Path) -> None:
    """Then the pool does not begin: it might spend the month's money twice. Where nothing costs money nobody looks."""
    files = MemoryFiles(str(tmp_path), "p")
    files.write(PURSE)
    files.path(Purse).write_text("nonsense")
    with pytest.raises(OSError, match=r"spent\.json cannot be read"):
        Memory(files, "p")
    assert Memory(files, "p", money=False).recall(True) == []


def test_a_past_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken file is no reason not to start."""
    files = MemoryFiles(str(tmp_path), "p")
    files.write(PAST)
    files.path(Past).write_text("nonsense")
    assert Memory(files, "p").recall(True) == []
    assert "pool p: its forecasts begin anew" in caplog.text


class Disk(MemoryFiles):
    """One that is full, or that takes its time."""

    full = False

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), "p")
        self.wrote: list[Part] = []
        self.free = threading.Event()
        self.free.set()

    def write(self, part: Part) -> None:
        """Note it, and wait or fail."""
        self.wrote.append(part)
        assert self.free.wait(30.0)
        if self.full:
            raise OSError("no space left")


def test_a_disk_that_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written is logged, money as an error; the next one is tried again."""
    disk = Disk(tmp_path)
    disk.full = True
    mine = Memory(disk, "p")
    for part in (PAST, PAST, PURSE):
        run(lambda part=part: mine.keep(part))  # type: ignore[misc]
    assert disk.wrote == [PAST, PAST, PURSE]
    told = [(one.levelname, one.getMessage()) for one in caplog.records]
    assert told[1:] == [
        ("WARNING", "pool p: what was asked of it cannot be kept over a restart: no space left"),
        ("ERROR", "pool p: what it has spent cannot be written down: no space left"),
    ]


def test_a_disk_that_is_slow(tmp_path: Path) -> None:
    """While it is at one, only the newest of those that come is written afterwards; the other kind does not wait."""
    disk = Disk(tmp_path)
    mine = Memory(disk, "p")
    newer = [replace(PURSE, at_s=float(number)) for number in range(3)]

    async def test() -> None:
        disk.free.clear()
        first = asyncio.ensure_future(mine.keep(PURSE))
        await until(lambda: disk.wrote == [PURSE])
        for one in newer:
            await mine.keep(one)
        other = asyncio.ensure_future(mine.keep(PAST))
        await until(lambda: PAST in disk.wrote)
        disk.free.set()
        await asyncio.gather(first, other)

    run(test)
    assert disk.wrote == [PURSE, PAST, newer[-1]]


@pytest.mark.slow
def test_a_gateway_remembers_its_pools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pool that forecasts begins with what stands beside its state, and what is new is written there."""
    monkeypatch.chdir(tmp_path)
    files = MemoryFiles(".penstock", "p")
    files.write(replace(PAST, first=int(time.time() // 300) - 20))

    async def test(rig: Rig) -> None:
        rig.begin(FORECASTS)
        await until(lambda: len(rig.place.fleet) == 1)
        (view,) = rig.scaling.views()
        assert view.forecast is not None
        assert (view.forecast.windows, view.forecast.startup_s is not None) == (15, True)
        files.path(Past).unlink()
        rig.scaling._perform(Remember("p", PAST))
        rig.scaling._perform(Remember("p", PAST))
        await until(files.path(Past).exists)

    over(monkeypatch, test)
    assert files.read(Past) == PAST
