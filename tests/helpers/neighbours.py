"""Several workers in one process: whole gateways with a cache over an engine each, that know each other."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from penstock.core.events import Reconfigured
from penstock.gateway.cache.beside import Beside
from tests.helpers.caching import House, caching
from tests.helpers.wire import until


class Neighbour:
    """One of them."""

    def __init__(self, house: House, beside: Beside) -> None:
        self.house = house
        self.beside = beside

    @property
    def asked(self) -> int:
        """How often its engine was."""
        return len(self.house.engine.got)

    def die(self) -> None:
        """Be gone for the others, as a process that is killed."""
        lending = self.beside.lending
        assert lending._server is not None
        lending._server.close()
        for line in list(lending._lines):
            line.abort()


@asynccontextmanager
async def neighbours(
    folder: Path, *scripts: Sequence[Any], count: int = 2, **more: Any
) -> AsyncIterator[list[Neighbour]]:
    """So many, once each can ask each other. At the end nobody holds anything."""
    async with AsyncExitStack() as stack:
        found: list[Neighbour] = []
        for number in range(1, count + 1):
            house = await stack.enter_async_context(caching(*scripts, **more))
            gateway = house.gateway
            beside = Beside(number, count, lambda worker: str(folder / f"w{worker}"), gateway.plane)
            gateway.caching.beside = gateway.plane.keeper.beside = beside
            gateway.pump.tell(Reconfigured(replace(gateway.gate.spec, beside=True)))
            await beside.start()
            found.append(Neighbour(house, beside))
        await until(lambda: all(one.beside.linked == count - 1 for one in found), "they know each other")
        yield found
