"""Gateways that are killed at random moments under load, one after the other on one ledger."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

from tests.helpers.forks import Nursery, nursery
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import ask, at_rest, chat, pool, ready, unique
from tests.helpers.wire import run

USERS = 8
LIFE_S = 60.0


class Lives:
    """Who was answered by them."""

    def __init__(self, folder: Path, seed: int, workers: int = 1, **more: Any) -> None:
        """`workers` of each gateway; `more`: further settings of the ledger."""
        self.folder = folder
        self.answered: list[str] = []
        """Ids of the requests whose client has got its whole answer."""
        self._rng = Random(seed)
        self._workers = workers
        self._more = more

    def run(self, kills: int) -> None:
        """So many lives that end by SIGKILL, and one that ends as it should."""
        with ending(engines := Emulators(self.folder, 1.0, 1.0, name="engines")):
            ledger = {"folder": str(self.folder / "ledger"), **self._more}
            tree = {"pools": [pool(*engines.urls)], "ledger": ledger, "workers": self._workers}
            with nursery() as forks:
                self._lives(forks, tree, kills)

    def _lives(self, forks: Nursery, tree: dict[str, Any], kills: int) -> None:
        for life in range(kills + 1):
            with ending(gateway := Gateway(self.folder, tree, name=f"life{life}", spawn=forks.spawn)):
                run(lambda gateway=gateway, kill=life < kills: self._live(gateway, kill), LIFE_S)  # type: ignore[misc]
                assert "bug" not in gateway.log(), gateway.log()

    async def _live(self, gateway: Gateway, kill: bool) -> None:
        await ready(gateway, 2)
        stop = asyncio.Event()
        enough = len(self.answered) + self._rng.randrange(3, 30)
        async with asyncio.TaskGroup() as users:
            for _ in range(USERS):
                users.create_task(self._use(gateway, stop))
            while len(self.answered) < enough:  # noqa: ASYNC110 - the moment is to be any
                await asyncio.sleep(0.001)
            if kill:
                gateway.kill()
            stop.set()
        if not kill:
            await at_rest(gateway)
            assert gateway.stop() == 0, gateway.log()

    async def _use(self, gateway: Gateway, stop: asyncio.Event) -> None:
        while not stop.is_set():
            id, number = unique(), self._rng.randrange(20)
            try:
                answer = await ask(gateway.port, chat(1 + number, stream=number % 2 > 0), id=id)
            except (OSError, EOFError, ValueError, AssertionError):
                return  # killed
            if answer.status == 200 and answer.complete:
                self.answered.append(id)
