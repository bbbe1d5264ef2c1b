"""The cache as one part of a gateway: its numbers for people, what they put out of use, other workers, and the store
that gateways share. What of that needs the extra `redis` is imported when somebody has one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from penstock.base.contents import CacheView
from penstock.core.cache.spec import CacheSpec
from penstock.core.events import Event, Invalidated
from penstock.gateway.cache.beside import Beside
from penstock.gateway.cache.comparing import Comparer, missing
from penstock.gateway.cache.keeper import Keeper
from penstock.gateway.cache.shelf import Shelf

if TYPE_CHECKING:
    from penstock.gateway.cache.elsewhere import Elsewhere


class Room(Protocol):
    """The data plane, as seen from here."""

    keeper: Keeper
    shelf: Shelf
    cache: CacheSpec
    similar: Comparer | None


class Caching:
    """What is asked of the cache by others than calls."""

    def __init__(
        self, view: Callable[[], CacheView | None], tell: Callable[[Event], None], room: Room,
        fresh: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        """`fresh`: until what `view` shows is as of now."""
        self.view = view
        """None: there is no cache."""
        self.fresh = fresh
        self._tell = tell
        self._room = room
        self.elsewhere: Elsewhere | None = None
        self.beside: Beside | None = None
        """The other workers; None: there are none."""

    def open(self, url: str | None) -> None:
        """Share answers by the store of this URL; None: there is none. Raises OSError where it or a package cannot be
        had; a store that is away is no error."""
        if why := missing(self._room.cache.semantic):
            raise OSError(why)
        if url is None:
            return
        try:
            from penstock.gateway.cache.elsewhere import open_elsewhere
        except ImportError as error:
            raise OSError(f"cache.redis: {error.name} is missing: pip install 'penstock[redis]'") from None
        room = self._room
        self.elsewhere = open_elsewhere(url, self._tell, room.shelf.found, lambda: room.cache.largest_bytes)
        room.keeper.elsewhere = self.elsewhere

    async def invalidate(self, what: Invalidated) -> tuple[int, bool | None]:
        """Let go of answers: how many were kept here; and whether the store and the other gateways have heard of it
        (None: there are none)."""
        await self.fresh()
        before = self.view()
        self._tell(what)
        await asyncio.sleep(0)  # noqa: TID251 - workers are told when this turn of the loop is over
        await self.fresh()
        after = self.view()
        count = 0 if before is None or after is None else before.entries - after.entries
        if self.elsewhere is None:
            return count, None
        from penstock.adapters.stores.shared_cache import What

        return count, await self.elsewhere.invalidate(What(what.tag, what.model, what.tenant))

    def metrics(self) -> dict[str, float]:
        """Family -> value, of the store and of other workers."""
        away, similar = self.elsewhere, self._room.similar
        told: dict[str, float] = {} if similar is None else {"cache_embeddings_missed": similar.away}
        if self.beside is not None:
            told |= self.beside.metrics()
        if away is None:
            return told
        return told | {
            "cache_store_up": int(not away.away), "cache_store_hits": away.hits, "cache_store_misses": away.misses,
            "cache_store_errors": away.errors,
        }  # fmt: skip

    async def close(self) -> None:
        """Let the store go, and who compares questions."""
        if self._room.similar is not None:
            self._room.similar.close()
        if self.beside is not None:
            await self.beside.close()
        if self.elsewhere is not None:
            await self.elsewhere.close()
