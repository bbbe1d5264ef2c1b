"""What was asked of a pool outlives the gateway, and a disk that fails costs a forecast and no more."""

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.adapters.actuators.demand import file_of, keep, kept
from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.history import Past
from penstock.core.scale.words import Remember
from penstock.gateway import memory
from penstock.gateway.memory import Memory
from tests.gateway.test_scaling import CONF, Rig, over, pool
from tests.helpers.wire import run, until

PAST = Past(first=100, calls=(5.0,) * 15, rates=(1.0,) * 15, startup_s=9.0)
FORECASTS = pool(conf=replace(CONF, forecast=ForecastSpec()))


def test_it_is_told_once(tmp_path: Path) -> None:
    """What was written by an earlier gateway is told at the start, and not again at a reload."""
    path = file_of(str(tmp_path), "p")
    keep(path, PAST)
    mine = Memory(path, "p")
    assert mine.recall() == PAST
    assert mine.recall() is None
    assert Memory(file_of(str(tmp_path), "q"), "q").recall() is None


def test_what_cannot_be_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken file is no reason not to start."""
    path = file_of(str(tmp_path), "p")
    keep(path, PAST)
    path.write_text("nonsense")
    assert Memory(path, "p").recall() is None
    assert "pool p: its forecasts begin anew" in caplog.text


def test_a_disk_that_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    """What cannot be written is logged; the next one is tried again."""
    wrote: list[Past] = []

    def full(path: Path, past: Past) -> None:
        wrote.append(past)
        raise OSError("no space left")

    monkeypatch.setattr(memory, "keep", full)
    mine = Memory(tmp_path / "x", "p")
    run(lambda: mine.keep(PAST))
    run(lambda: mine.keep(PAST))
    assert len(wrote) == 2
    assert "cannot be kept over a restart: no space left" in caplog.text


@pytest.mark.slow
def test_a_gateway_remembers_its_pools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pool that forecasts begins with what stands beside its state, and what is new is written there."""
    monkeypatch.chdir(tmp_path)
    path = file_of(".penstock", "p")
    keep(path, replace(PAST, first=int(time.time() // 300) - 20))

    async def test(rig: Rig) -> None:
        rig.begin(FORECASTS)
        await until(lambda: len(rig.place.fleet) == 1)
        (view,) = rig.scaling.views()
        assert view.forecast is not None
        assert (view.forecast.windows, view.forecast.startup_s is not None) == (15, True)
        path.unlink()
        rig.scaling._perform(Remember("p", PAST))
        rig.scaling._perform(Remember("p", PAST))
        await until(path.exists)

    over(monkeypatch, test)
    assert kept(path) == PAST
