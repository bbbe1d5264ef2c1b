"""The store of shared limits that a parent has for its workers: a book in its memory, behind a socket of its user's."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from msgspec.structs import replace

from penstock.adapters.stores.lease_socket import LeaseServer
from penstock.adapters.stores.lessors import SOCKET
from penstock.config.schema import Settings
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.spec import SharedSpec
from penstock.core.split import limited

_PREFIX = "penstock-"


class Lessor:
    """Its server, in a folder that is made for it and goes with it."""

    def __init__(self) -> None:
        """Raises OSError where there can be no folder."""
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._server = LeaseServer(LeaseBook(), str(self._folder / "leases"))

    @property
    def url(self) -> str:
        """By which workers find it."""
        return f"{SOCKET}{self._folder / 'leases'}"

    async def start(self) -> None:
        """Answer from now on. Raises OSError."""
        await self._server.start()

    async def close(self) -> None:
        """Answer no more."""
        await self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def shown(self, settings: Settings) -> Settings:
        """The settings by which a worker asks it."""
        server, limits = replace(settings.server, lease_store=self.url), settings.gate.limits
        if limits is None or not limited(limits):
            return replace(settings, server=server)
        return replace(
            settings, server=server, gate=replace(settings.gate, limits=replace(limits, shared=SharedSpec()))
        )


def tidy_up(url: str | None) -> None:
    """Remove the socket at this URL and its folder, where the parent cannot any more."""
    if url is not None and url.startswith(SOCKET):
        path = Path(url.removeprefix(SOCKET))
        if path.parent.name.startswith(_PREFIX):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()
