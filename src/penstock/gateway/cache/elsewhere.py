"""Where gateways share answers, seen from the loop that serves: questions with a short time, and a breaker.

A store that is away costs nothing but its answers: calls go to engines. What was put out of use meanwhile is owed, and
until it is told nothing is taken from the store.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from penstock.adapters.stores.shared_cache import Shared, SharedCache, What, digest
from penstock.core.effects import Keep
from penstock.core.events import Event, Found, Invalidated, LookedUp
from penstock.gateway.cache.shelf import Kept

log = logging.getLogger("penstock.cache")

LOOK_S: Final = 0.05
"""Longest wait for an answer of the store, by the calls that wait for it."""
TELL_S: Final = 1.0
"""The same for what nobody waits for."""
FAILURES: Final = 3
"""In a row, after which it is left alone for a while."""
ALONE_S: Final = 5.0
MOST_BYTES: Final = 16 << 20
"""Of answers that are on their way there; more are kept here only."""
MOST_OWED: Final = 256
"""More that was put out of use becomes: everything."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class Elsewhere:
    """The store, and how it is. Made inside a running event loop."""

    def __init__(
        self, store: SharedCache, tell: Callable[[Event], None], found: dict[str, Kept], most_bytes: Callable[[], int]
    ) -> None:
        self._store = store
        self._tell = tell
        self._found = found
        """By call, what was looked up for it and is not decided about."""
        self._most_bytes = most_bytes
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._origin = secrets.token_hex(8)
        self._failures = 0
        self._alone_until = 0.0
        self._sending = 0
        self._owed: list[What] = []
        self._epoch: int | None = None
        """As it was last told; None: it was never heard of."""
        self._cuts = 0
        """How often something was put out of use."""
        self.away = ""
        """Why it is not asked; empty: it is."""
        self.hits = self.misses = self.errors = 0
        self._ear = self._loop.create_task(self._listen())

    # ===== for calls =====

    def look_up(self, call: str, key: str, told: Callable[[int], None]) -> None:
        """Ask for an answer; `told` hears how new one is that is made now. The Gate is told within a bounded time."""
        if self._owed or self._loop.time() < self._alone_until:
            self._tell(LookedUp(call))
        else:
            self._spawn(self._look_up(call, key, told))

    async def _look_up(self, call: str, key: str, told: Callable[[int], None]) -> None:
        found, cuts = None, self._cuts
        try:
            async with asyncio.timeout(LOOK_S):
                seen = await self._store.look(key)
            self._went_well()
            told(seen.epoch)
            same = self._cuts == cuts  # else the store may have answered before what was heard meanwhile
            if 0 < len(seen.payload) <= 2 * self._most_bytes() and not self._owed and same:
                kept = _decode(seen.payload)
                self._found[call] = kept
                found = Found(kept.size, seen.age_s, seen.left_s, seen.tags)
        except (OSError, TimeoutError) as error:
            self._went_wrong(error)
        except msgspec.MsgspecError:
            log.debug("an answer of another version")
        self.hits += found is not None
        self.misses += found is None
        self._tell(LookedUp(call, found))
        self._found.pop(call, None)  # where nobody wanted it any more

    def keep(self, order: Keep, kept: Kept, epoch: int | None) -> None:
        """Keep it there as well. Without an epoch nobody knows whether it is too old: then there is none."""
        if self._owed or self._loop.time() < self._alone_until:
            return
        if epoch is None:
            self._spawn(self._quietly(self._store.drop(order.key)))
            return
        payload = _encode(kept)
        if self._sending + len(payload) <= MOST_BYTES:
            self._sending += len(payload)
            value = Shared(epoch, order.tags, order.model, digest(order.tenant), order.ttl_s, payload)
            self._spawn(self._send(order.key, value))

    async def _send(self, key: str, value: Shared) -> None:
        try:
            await self._quietly(self._store.keep(key, value))
        finally:
            self._sending -= len(value.payload)

    async def _quietly(self, doing: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(TELL_S):
                await doing
            self._went_well()
        except (OSError, TimeoutError) as error:
            self._went_wrong(error)

    # ===== what is put out of use =====

    async def invalidate(self, what: What) -> bool:
        """Put answers out of use for all gateways; False: the store is away, and will be told when it is back."""
        self._cuts += 1
        self._owed.append(what)
        if len(self._owed) > MOST_OWED:
            self._owed[:] = [What()]
        return await self._pay()

    async def _pay(self) -> bool:
        try:
            while self._owed:
                what = self._owed[0]
                async with asyncio.timeout(TELL_S):
                    self._epoch = await self._store.invalidate(what, self._origin)
                if what in self._owed:  # once: who owes it a second time may mean answers that came in between
                    self._owed.remove(what)
        except (OSError, TimeoutError) as error:
            self._went_wrong(error)
            return False
        return True

    async def _listen(self) -> None:
        """Hear what others put out of use; after a time without a connection, whether there was anything."""
        while True:
            try:
                async for heard in self._store.listen():
                    self._cuts += 1
                    if isinstance(heard, int):
                        if self._epoch is not None and heard != self._epoch:
                            self._tell(Invalidated())
                        self._epoch = heard
                        await self._pay()
                    else:
                        self._epoch = max(self._epoch or 0, heard.epoch)
                        if heard.origin != self._origin:
                            self._tell(Invalidated(*heard.what))
            except OSError as error:
                self._went_wrong(error)
            await asyncio.sleep(TELL_S)  # noqa: TID251 - between two tries to be connected

    # ===== how it is =====

    def _went_well(self) -> None:
        if self.away:
            log.info("the shared cache answers again")
        self._failures, self.away = 0, ""

    def _went_wrong(self, error: Exception) -> None:
        self.errors += 1
        self._failures += 1
        if self._failures >= FAILURES:
            self._alone_until = self._loop.time() + ALONE_S
            why = str(error) or type(error).__name__
            if not self.away:
                log.warning("the shared cache is away, answers are kept here only: %s", why)
            self.away = why

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let go; what is on its way there is not waited for."""
        self._ear.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(self._ear, *self._tasks, return_exceptions=True)
        await self._store.close()


def open_elsewhere(
    url: str, tell: Callable[[Event], None], found: dict[str, Kept], most_bytes: Callable[[], int]
) -> Elsewhere:
    """The store that this URL names. Raises OSError where it is none."""
    try:
        store = SharedCache(url, TELL_S)
    except ValueError as wrong:
        raise OSError(f"cache.redis: {wrong}") from None
    return Elsewhere(store, tell, found, most_bytes)
