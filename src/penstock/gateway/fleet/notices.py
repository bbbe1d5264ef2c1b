"""Looks for notices of spot replicas that are taken back, where the configuration says, and tells scaling [A6].

A source is read again and again and remembers nothing: a notice that is told twice holds its earlier end. One that
fails is logged once, until it works again. Nothing of this comes from clients."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from penstock.adapters.notices.notice import EVERYBODY, Notice
from penstock.adapters.notices.read import in_file, in_metadata
from penstock.base.nouns import Unit
from penstock.config.schema import NoticesConf, ScaledPool

log = logging.getLogger("penstock.scaling")

ASK_S = 4.0
"""For one source."""
ROUND_S = 1.0
"""Between two looks at whose time has come."""


class Told(Protocol):
    """Who hears of notices."""

    def noticed(self, pool: str, unit: str, within_s: float | None) -> int:
        """A replica, or EVERYBODY, is taken back in so many seconds (None: as the pool's settings say); how many that
        are."""
        ...


class NoticeWatch:
    """All pools' sources, in turns."""

    def __init__(
        self, told: Told, clock: Callable[[], float], wall: Callable[[], float] = time.time, round_s: float = ROUND_S
    ) -> None:
        """`clock` is the loop's; `wall` seconds since 1970, as notices have them."""
        self._asked: dict[str, NoticesConf] = {}
        self._task: asyncio.Task[None] | None = None
        self._told = told
        self._clock = clock
        self._wall = wall
        self._round_s = round_s
        self._due: dict[str, float] = {}
        self._failing: set[str] = set()

    def follow(self, pools: Iterable[ScaledPool]) -> None:
        """These pools' sources from now on. Where there are none, nothing runs."""
        self._asked = {
            pool.pool: conf
            for pool in pools
            if pool.spec.spot is not None and (conf := pool.spec.spot.notices) is not None
        }
        self._due = {name: at for name, at in self._due.items() if name in self._asked}
        self._failing &= {f"{name}/{what}" for name in self._asked for what in ("file", "metadata")}
        if not self._asked:
            self.close()
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as bug:  # the next round may do better
                log.error("looking for notices failed: a bug", exc_info=bug)
            await asyncio.sleep(self._round_s)  # noqa: TID251 - a provider says nothing by itself: a real poll

    async def look(self) -> None:
        """Read those whose time has come."""
        now, asked = self._clock(), dict(self._asked)
        due = [name for name in asked if self._due.get(name, now) <= now]
        for name in due:
            self._due[name] = now + max(self._round_s, asked[name].every_s)
        await asyncio.gather(*(self._read(name, asked[name]) for name in due))

    async def _read(self, pool: str, conf: NoticesConf) -> None:
        sources: list[tuple[str, Callable[[], Awaitable[list[Notice]]]]] = []
        file, url = conf.file, conf.metadata
        if file is not None:
            sources.append(("file", lambda: asyncio.to_thread(in_file, file)))
        if url is not None:
            sources.append(("metadata", lambda: in_metadata(url, conf.token, ASK_S)))
        for what, ask in sources:
            name = f"{pool}/{what}"
            try:
                found = await ask()
            except (OSError, ValueError) as wrong:
                if name not in self._failing:
                    self._failing.add(name)
                    why = str(wrong)[:300] or type(wrong).__name__
                    log.warning("pool %s: notices cannot be read (%s): %s", pool, what, why)
                continue
            self._failing.discard(name)
            for notice in found:
                within_s = None if notice.at is None else max(0.0, notice.at - self._wall())
                self._told.noticed(pool, notice.unit, within_s)


def about(unit: str, units: Iterable[Unit]) -> list[str]:
    """Whom a notice is about, of those that an actuator shows."""
    there = [one for one in units if one.state in ("starting", "running")]
    if unit == EVERYBODY:
        return [one.id for one in there if one.purchase == "spot"]
    return [one.id for one in there if one.id == unit]
