"""Asks engines who they are: `engine: auto`, and for all but generic ones version and limits for the fleet's view.

What is learnt goes to the roster, which writes it into the replicas that it announces; so the Gate hears of it by
FleetSeen and needs no fact of its own. Every replica is asked anew every half minute, and sooner while it does not
answer, so that an engine that comes back as another one is known for what it is. A look that fails forgets nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from penstock.adapters.dialects.about import MODELS_PATH, PAGES, UNSIGNED, about, joined, owner
from penstock.base.nouns import Engine, EngineAbout, Replica
from penstock.config.schema import Access

log = logging.getLogger("penstock.gateway")

ROUND_S = 1.0
AGAIN_S = 30.0
"""Between two looks at a replica that answers."""
ASK_S = 5.0
"""For one page."""
AT_ONCE = 16
"""Replicas that are asked at the same time."""
MAX_PAGE_BYTES = 4 << 20

Fetch = Callable[[str, str, int | None, float, int], Awaitable[tuple[int, bytes]]]
"""`gateway.outbound.Outbound.fetch`."""


class Target(Protocol):
    """What is known of a replica's address."""

    replica: Replica
    access: Access


class _Known:
    """What has been learnt of one replica."""

    __slots__ = ("about", "due_at", "failures", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.about: EngineAbout | None = None
        self.due_at = 0.0
        self.failures = 0


class Identifier:
    """Looks at all replicas in turns."""

    def __init__(
        self, targets: Mapping[str, Target], fetch: Fetch, tell: Callable[[Mapping[str, EngineAbout]], object],
        clock: Callable[[], float], round_s: float = ROUND_S,
    ) -> None:  # fmt: skip
        """`targets` is the live map of replicas; `tell` hears all that is known, by replica, whenever that changes."""
        self._targets = targets
        self._fetch = fetch
        self._tell = tell
        self._clock = clock
        self._round_s = round_s
        self._known: dict[str, _Known] = {}
        self._told: dict[str, EngineAbout] = {}

    async def watch(self) -> None:
        """Look for ever; ends by being cancelled."""
        while True:
            try:
                await self.look()
            except Exception as bug:  # the next round may do better
                log.error("asking engines who they are failed: a bug", exc_info=bug)
            await asyncio.sleep(self._round_s)  # noqa: TID251 - an engine says nothing by itself: a real poll

    async def look(self) -> None:
        """One round: ask those whose time has come, and tell what is new."""
        self._follow()
        now = self._clock()
        due = [name for name, known in self._known.items() if known.due_at <= now]
        room = asyncio.Semaphore(AT_ONCE)

        async def ask(name: str) -> None:
            async with room:
                await self._ask(name)

        await asyncio.gather(*map(ask, due))
        found = {name: known.about for name, known in self._known.items() if known.about is not None}
        if found != self._told:
            self._tell(found)
            self._told = found

    def _follow(self) -> None:
        """Forget who has left or moved, and take in who is new."""
        asked = {
            name: target.replica.url
            for name, target in self._targets.items()
            if target.access.asks_engine or target.replica.engine in PAGES
        }
        self._known = {name: known for name, known in self._known.items() if asked.get(name) == known.url}
        for name, url in asked.items():
            self._known.setdefault(name, _Known(url))

    async def _ask(self, name: str) -> None:
        known, target = self._known[name], self._targets.get(name)
        if target is None:  # it has left meanwhile
            return
        asks, engine = target.access.asks_engine, target.replica.engine
        found = await (self._whoever(name) if asks else self._more(name, EngineAbout(engine=engine)))
        if found is None or self._doubts(known, found):
            known.due_at = self._clock() + min(AGAIN_S, self._round_s * 2.0 ** min(10, known.failures))
            known.failures += 1
            return
        known.failures, known.due_at = 0, self._clock() + AGAIN_S
        if known.about is not None and known.about.engine == found.engine and not found.version:
            found = joined(known.about, found)  # its own page did not answer this time
        if found != known.about:
            known.about = found
            seats = "" if found.seats is None else f", {found.seats} calls at once"
            log.info("replica %s is %s %s%s", name, found.engine, found.version or "of unknown version", seats)

    @staticmethod
    def _doubts(known: _Known, found: EngineAbout) -> bool:
        """An engine that was known and is nobody now may only have missed one question: it is asked twice more."""
        was_known = known.about is not None and known.about.engine != "generic"
        return was_known and found.engine == "generic" and known.failures < 2

    async def _whoever(self, name: str) -> EngineAbout | None:
        """Who it is; None: it cannot be said now."""
        page = await self._page(name, MODELS_PATH)
        try:
            signed = None if page is None else owner(page)
        except ValueError:
            signed = None
        if signed is not None and signed.engine != "generic":
            return await self._more(name, signed) or signed
        for engine in UNSIGNED:
            found = await self._told_by(name, engine)
            if found is not None:
                return found if signed is None else joined(signed, found)
        return signed

    async def _more(self, name: str, first: EngineAbout) -> EngineAbout | None:
        """What is known of this engine with what its own page adds; None: it has none, or does not answer."""
        found = await self._told_by(name, first.engine)
        return None if found is None else joined(first, found)

    async def _told_by(self, name: str, engine: Engine) -> EngineAbout | None:
        for path in PAGES.get(engine, ()):
            page = await self._page(name, path)
            if page is not None:
                try:
                    return about(engine, page)
                except ValueError:
                    continue
        return None

    async def _page(self, name: str, path: str) -> bytes | None:
        try:
            status, body = await self._fetch(name, path, None, ASK_S, MAX_PAGE_BYTES)
        except (OSError, ValueError, KeyError):  # a TimeoutError is an OSError
            return None
        return body if status == 200 else None
