"""The store of shared limits that a parent has for its workers: a book in its memory, behind a socket of its user's."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from penstock.adapters.stores.lease_socket import LeaseServer
from penstock.adapters.stores.lessors import SOCKET
from penstock.base.entries import Used
from penstock.base.leases import AccountKey, Ask, Question, Want
from penstock.config.schema import Settings
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.recall import accounts_of
from penstock.core.limits.spans import span_of
from penstock.core.limits.spec import SharedSpec
from penstock.core.split import limited

_PREFIX = "penstock-"


class Lessor:
    """Its server, in a folder that is made for it and goes with it."""

    def __init__(self, book: LeaseBook, clock: Callable[[], float]) -> None:
        """Raises OSError where there can be no folder."""
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._server = LeaseServer(book, str(self._folder / "leases"), clock)

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


class Recall:
    """Tells a book what was used before it was opened: as a process would that has used it and asks for nothing."""

    def __init__(self, book: LeaseBook) -> None:
        self._book = book
        self._number = 0

    def tell(self, lines: Iterable[Used], served: Callable[[str], str], now: float) -> None:
        """Count these. `served`: the name by which limits know the model that a client named."""
        used: dict[AccountKey, dict[str, dict[int, int]]] = {}
        for line in lines:
            for account in accounts_of(line, served(line.model)):
                meters = used.setdefault(account, {})
                for what, amount in _amounts(line):
                    stretches = meters.setdefault(what, {})
                    index = span_of(what).index(line.at)
                    stretches[index] = stretches.get(index, 0) + amount
        self._number += 1
        asks = tuple(
            Ask(account, self._number, tuple(Want(what, 0, tuple(sorted(at.items()))) for what, at in meters.items()))
            for account, meters in used.items()
        )
        self._book.exchange(Question("ledger", self._number, 1.0, asks), now)


def _amounts(line: Used) -> Iterator[tuple[str, int]]:
    """By limit. It is told by quarters of an hour, so windows of a minute or a second cannot be filled."""
    for what, amount in (
        ("requests per hour", line.requests), ("requests per day", line.requests),
        ("tokens per hour", line.tokens), ("tokens per day", line.tokens),
        ("budget per day", line.day), ("budget per month", line.month),
    ):  # fmt: skip
        if amount > 0:
            yield what, amount


def tidy_up(url: str | None) -> None:
    """Remove the socket at this URL and its folder, where the parent cannot any more."""
    if url is not None and url.startswith(SOCKET):
        path = Path(url.removeprefix(SOCKET))
        if path.parent.name.startswith(_PREFIX):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()
