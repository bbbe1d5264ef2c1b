"""The store of shared limits that a parent has for its workers, behind a socket of its user's: a book in its memory, or
the way to a store that several gateways share.

It hears what workers say, and can read their sheets: for one that is killed it says the last word, so that all comes
free of what that one had and had not spent.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from penstock.adapters.stores.lease_sheet import remove_sheet, spent_on
from penstock.adapters.stores.lease_socket import LeaseServer
from penstock.adapters.stores.lessors import SOCKET
from penstock.base.entries import Used
from penstock.base.leases import AccountKey, Ask, Question, Reply, Want
from penstock.base.ports import LeaseStore
from penstock.config.schema import Settings
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.recall import accounts_of
from penstock.core.limits.spans import span_of
from penstock.core.limits.spec import SharedSpec
from penstock.core.limits.wills import Will
from penstock.core.split import limited
from penstock.gateway.processes.lessee import new_peer

log = logging.getLogger("penstock.gateway")

AGAIN_S = 0.5
"""How often a last word is tried that the store does not hear."""
TRIES = 1200
"""Ten minutes."""
CLOSE_S = 2.0
"""So long a gateway that ends waits for a store to hear them; else what they would free comes free with time."""
_PREFIX = "penstock-"
_SHEET = "sheet-"
_BESIDE = "worker-"


class _Heir:
    """What is remembered of a worker for its last word."""

    def __init__(self) -> None:
        self.will = Will()
        self.speaks = asyncio.Lock()
        """One message of it is under way."""
        self.dead = False


class Relay:
    """Passes on what workers say, and remembers it."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store
        self._heirs: dict[str, _Heir] = {}

    def expect(self, peer: str) -> None:
        """A worker will ask by this name."""
        self._heirs[peer] = _Heir()

    async def exchange(self, question: Question) -> Reply:
        """See `LeaseStore`."""
        heir = self._heirs.get(question.peer)
        if heir is None:
            return await self._store.exchange(question)
        async with heir.speaks:
            if heir.dead:
                raise OSError("a message of a worker that has died")
            heir.will.hear(question)
            return await self._store.exchange(question)

    async def last_word(self, peer: str, sheet: str) -> None:
        """It is dead: say what it had spent, and that it needs nothing. Raises OSError as `exchange` does; then once
        more."""
        heir = self._heirs[peer]
        async with heir.speaks:
            heir.dead = True
            spent = spent_on(sheet)
            for question in heir.will.last_words(peer, lambda account, what: spent.get((account, what))):
                await self._store.exchange(question)
        del self._heirs[peer]

    def forget(self, peer: str) -> None:
        """It has ended with a last word of its own, or nothing can be said."""
        self._heirs.pop(peer, None)

    async def close(self) -> None:
        """See `LeaseStore`."""
        await self._store.close()


class Lessor:
    """Its server, in a folder that is made for it and goes with it."""

    def __init__(self, store: LeaseStore) -> None:
        """Raises OSError where there can be no folder."""
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._relay = Relay(store)
        self._server = LeaseServer(self._relay, str(self._folder / "leases"))
        self._peers: dict[int, str] = {}
        """By worker."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """By which workers find it."""
        return f"{SOCKET}{self._folder / 'leases'}"

    async def start(self) -> None:
        """Answer from now on. Raises OSError."""
        await self._server.start()

    async def close(self) -> None:
        """Answer no more; last words that are being said have a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await self._server.close()
        await self._relay.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def shown(self, settings: Settings) -> Settings:
        """The settings by which a worker asks it. What a gateway may serve without the store is divided among them."""
        server, limits = replace(settings.server, lease_store=self.url), settings.gate.limits
        if limits is None or not (limits.shared is not None or limited(limits)):
            return replace(settings, server=server)
        shared = SharedSpec()
        if limits.shared is not None:
            shared = replace(limits.shared, share=limits.shared.share / server.workers)
        return replace(settings, server=server, gate=replace(settings.gate, limits=replace(limits, shared=shared)))

    def begin(self, worker: int) -> str:
        """A worker begins a life: the name by which it asks."""
        self._relay.forget(self._peers.get(worker, ""))
        peer = self._peers[worker] = new_peer()
        self._relay.expect(peer)
        return peer

    def ended(self, worker: int, killed: bool) -> None:
        """It has ended, and its connections are closed."""
        peer = self._peers.pop(worker, "")
        if killed and peer:
            task = asyncio.get_running_loop().create_task(self._last_word(worker, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._relay.forget(peer)
            remove_sheet(sheet_of(self.url, peer))

    async def _last_word(self, worker: int, peer: str) -> None:
        sheet = sheet_of(self.url, peer)
        try:
            for _ in range(TRIES):
                try:
                    return await self._relay.last_word(peer, sheet)
                except (OSError, ValueError):
                    await asyncio.sleep(AGAIN_S)  # noqa: TID251 - the store is away
            log.error("what worker %d had of shared limits counts as used: the store could not be reached", worker)
        finally:
            self._relay.forget(peer)
            remove_sheet(sheet)


def sheet_of(url: str, peer: str) -> str:
    """Where a worker has its sheet that asks at this URL by this name."""
    return str(Path(url.removeprefix(SOCKET)).with_name(f"{_SHEET}{peer}"))


def beside_of(url: str, worker: int) -> str:
    """Where a worker whose leases come from this URL listens for the other workers."""
    return str(Path(url.removeprefix(SOCKET)).with_name(f"{_BESIDE}{worker}"))


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
            shutil.rmtree(path.parent, ignore_errors=True)
