"""Looking for notices: which sources are read when, whom a notice is about, and what a failing source costs."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.actuators.dry_run import DryRunSpec
from penstock.adapters.notices.notice import EVERYBODY
from penstock.base.nouns import Replica, Unit
from penstock.config.schema import Access, NoticesConf, ScaleConf, ScaledPool, SpotConf
from penstock.gateway.fleet.notices import NoticeWatch, about
from tests.helpers.wire import run, until

Heard = list[tuple[str, str, float | None]]


def pool(conf: NoticesConf | None, name: str = "p") -> ScaledPool:
    """One with spot, and notices looked for there."""
    spec = ScaleConf(actuator=DryRunSpec(), spot=SpotConf(notices=conf))
    return ScaledPool(pool=name, spec=spec, template=Replica(id="x", url="http://x", pool=name), access=Access())


class Ear:
    """Hears of notices."""

    def __init__(self) -> None:
        self.heard: Heard = []
        self.now = 0.0
        self.watch = NoticeWatch(self, lambda: self.now, lambda: 1000.0, round_s=0.01)

    def follow(self, pool: ScaledPool) -> None:
        """Look at this one's when the test says so."""
        self.watch.follow([pool])
        self.watch.close()

    def noticed(self, pool: str, unit: str, within_s: float | None) -> int:
        """One."""
        self.heard.append((pool, unit, within_s))
        return 1


def listening(test: Callable[[Ear], Coroutine[Any, Any, None]]) -> None:
    """Run a test with an ear."""

    async def main() -> None:
        ear = Ear()
        try:
            await test(ear)
        finally:
            ear.watch.close()
            await asyncio.sleep(0)

    run(main)


def test_a_file_is_read_in_its_time(tmp_path: Path) -> None:
    """At once, and then as often as the pool says; times become seconds from now, those that are past 0."""
    path = tmp_path / "notices"
    path.write_text("p-1 1970-01-01T00:17:10Z\np-2 1970-01-01T00:00:00Z\np-3\n")

    async def test(ear: Ear) -> None:
        ear.follow(pool(NoticesConf(file=os.fspath(path), every_s=5.0)))
        await ear.watch.look()
        assert ear.heard == [("p", "p-1", 30.0), ("p", "p-2", 0.0), ("p", "p-3", None)]
        ear.now = 4.9
        await ear.watch.look()
        assert len(ear.heard) == 3
        ear.now = 5.0
        await ear.watch.look()
        assert len(ear.heard) == 6

    listening(test)


def test_a_source_that_fails_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Until it works again; another source of the pool is read all the same."""
    path = tmp_path / "notices"
    path.write_text("p-1 25.11.\n")
    conf = NoticesConf(file=os.fspath(path), metadata="http://127.0.0.1:9/x", every_s=0.0)

    def warnings() -> int:
        return sum(record.levelno == logging.WARNING for record in caplog.records)

    async def test(ear: Ear) -> None:
        ear.follow(pool(conf))
        for number in range(3):
            ear.now = float(number)
            await ear.watch.look()
        assert warnings() == 2
        path.write_text("p-1\n")
        ear.now = 10.0
        await ear.watch.look()
        assert ear.heard == [("p", "p-1", None)]
        path.write_text("p-1 25.11.\n")
        ear.now = 20.0
        await ear.watch.look()
        assert warnings() == 3

    listening(test)


def test_it_runs_only_where_somebody_asks(tmp_path: Path) -> None:
    """No task without sources; one while there are some; none once they are gone."""
    path = tmp_path / "notices"
    path.write_text("p-1\n")

    async def test(ear: Ear) -> None:
        before = len(asyncio.all_tasks())
        ear.watch.follow([pool(None)])
        assert len(asyncio.all_tasks()) == before
        ear.watch.follow([pool(NoticesConf(file=os.fspath(path)))])
        ear.watch.follow([pool(NoticesConf(file=os.fspath(path)))])
        assert len(asyncio.all_tasks()) == before + 1
        await until(lambda: len(ear.heard) > 0)
        ear.watch.follow([])
        await until(lambda: len(asyncio.all_tasks()) == before)

    listening(test)


def test_whom_a_notice_is_about() -> None:
    """A name means that replica, * all that are spot; those that end already are no matter."""
    units = (
        Unit(id="p-1", state="running"), Unit(id="p-2", state="running", purchase="spot"),
        Unit(id="p-3", state="starting", purchase="spot"), Unit(id="p-4", state="stopping", purchase="spot"),
    )  # fmt: skip
    assert about(EVERYBODY, units) == ["p-2", "p-3"]
    assert about("p-1", units) == ["p-1"]
    assert about("p-4", units) == about("p-9", units) == []
