"""The replicas' side: one pool of connections per replica, and small requests of our own (probes, scrapes)."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from penstock.adapters.wire.bodies import FramingError, Reader, UntilClose
from penstock.adapters.wire.request import HEAD_END
from penstock.adapters.wire.response import MAX_HEAD_BYTES, parse_response_head
from penstock.base.nouns import Replica
from penstock.config.schema import Access, UpstreamSpec
from penstock.gateway.fleet.pool import Pool
from penstock.gateway.fleet.supply import Supply, Taker
from penstock.gateway.plane import Plane

_NO_ACCESS: Final = Access()
_CLOSE_S: Final = 1.0
SPARE_S: Final = 1.0
"""For so long after its last use an idle connection is kept beyond the bounds."""


class Outbound(Supply):
    """All pools."""

    def __init__(self, plane: Plane, spec: UpstreamSpec) -> None:
        super().__init__(plane, spec)
        self.pools: dict[str, Pool] = {}

    def apply(self, replicas: tuple[Replica, ...], access: Mapping[str, Access], spec: UpstreamSpec) -> None:
        """Take a new fleet. Who is not in it stays until it is forgotten; who has moved gets fresh connections."""
        self.bind(spec)
        for replica in replicas:
            shown = access.get(replica.id, _NO_ACCESS)
            pool = self.pools.get(replica.id)
            if pool is not None and pool.replica.url == replica.url and pool.access == shown:
                pool.replica = replica
                continue
            if pool is not None:
                pool.retire()
            self.pools[replica.id] = Pool(self, replica, shown)

    def forget(self, replica: str) -> None:
        """The replica is gone: drop its connections and secrets."""
        pool = self.pools.pop(replica, None)
        if pool is not None:
            pool.retire()

    def sweep(self, now: float) -> None:
        """Close connections that have been idle for too long, and those beyond the bounds that were not just used."""
        before = now - self.spec.keep_alive_s
        unused = now - SPARE_S
        for pool in self.pools.values():
            if pool.idle:
                pool.close_idle(before)
                pool.close_idle(unused, self.spec.idle_per_replica)
        if self.idle > self.spec.idle:
            share = self.spec.idle // len(self.pools)
            for pool in self.pools.values():
                pool.close_idle(unused, share)

    async def close(self) -> None:
        """Close everything that is idle and stop what runs beside."""
        for pool in self.pools.values():
            pool.retire()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.open:
            self.closed = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self.closed.wait()

    @property
    def connecting(self) -> int:
        """Attempts that wait for a connection to open."""
        return sum(pool.connecting for pool in self.pools.values())

    async def fetch(
        self, replica: str, path: str, port: int | None, timeout_s: float, max_bytes: int
    ) -> tuple[int, bytes]:
        """GET a page of a replica, over a connection of its own.

        Raises OSError, TimeoutError, ValueError (what came is no HTTP, or larger than `max_bytes`) or KeyError (the
        replica is not known).
        """
        pool = self.pools[replica]
        async with asyncio.timeout(timeout_s):
            return await Page(max_bytes).asked(pool, port or pool.port, pool.fetch_head(path))


class Page(Taker):
    """Takes one small answer."""

    def __init__(self, max_bytes: int) -> None:
        self.done: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._max_bytes = max_bytes
        self._head = b""
        self._status = 0
        self._reader: Reader | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    async def asked(self, pool: Pool, port: int, request: bytes) -> tuple[int, bytes]:
        """Send a request of our own over a connection of its own; status and body. Raises OSError, or ValueError (what
        came is no HTTP, or too large)."""
        conn = await pool.open(port)
        conn.attempt = self
        try:
            self.sent()
            conn.transport.write(request)
            return await self.done
        finally:
            conn.attempt = None
            conn.transport.abort()

    def sent(self) -> None:
        """The connection is open, and now the request is written."""

    def received(self, data: bytes) -> None:
        """Bytes of the replica."""
        if self.done.done():
            return
        try:
            self._take(data)
        except ValueError as error:
            self.done.set_exception(error)

    def _take(self, data: bytes) -> None:
        at = 0
        while self._reader is None:
            self._head += data
            end = self._head.find(HEAD_END)
            if end < 0:
                if len(self._head) > MAX_HEAD_BYTES:
                    raise FramingError("no head")
                return
            head = parse_response_head(self._head[: end + 4])
            data, self._head = self._head[end + 4 :], b""
            if head.status >= 200:
                self._status = head.status
                self._reader = head.reader()
        before = len(self._pieces)
        end = self._reader.feed(data, at, self._pieces)
        self._size += sum(map(len, self._pieces[before:]))
        if self._size > self._max_bytes:
            raise ValueError("the page is too large")
        if end >= 0:
            self._finish()

    def lost(self, clean: bool) -> None:
        """The replica closed."""
        if self.done.done():
            return
        if clean and isinstance(self._reader, UntilClose):
            self._finish()
        else:
            self.done.set_exception(ConnectionError("closed before its answer was complete"))

    def _finish(self) -> None:
        self.done.set_result((self._status, b"".join(self._pieces)))
