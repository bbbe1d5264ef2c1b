"""Results of async functions: kept, bounded, made once.

The work for a key runs in a task of its own, so that nobody's leaving ends it while others wait; with the last one it
is cancelled. What it raises, all get who wait, and it is not kept.
"""

import asyncio
import functools
import hashlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

import msgspec

from penstock.core.cache.index import Entry, Index
from penstock.core.cache.spec import CacheSpec

Result = TypeVar("Result")
Given = ParamSpec("Given")
_USUAL = CacheSpec()


class Numbers(NamedTuple):
    """What a cache did, and holds."""

    hits: int
    coalesced: int
    misses: int
    entries: int
    bytes: int
    evicted: int
    expired: int
    invalidated: int


class _Work(Generic[Result]):
    """A result that is being made."""

    __slots__ = ("keep", "tags", "task", "waiting")

    def __init__(self, task: asyncio.Task[Result], tags: tuple[str, ...]) -> None:
        self.task = task
        self.tags = tags
        self.waiting = 0
        self.keep = True
        """False: it was invalidated meanwhile."""


class Cache:
    """Results by key. For one event loop."""

    def __init__(
        self,
        *,
        ttl_s: float = _USUAL.ttl_s,
        entries: int = _USUAL.entries,
        memory_bytes: int = _USUAL.memory_bytes,
        largest_bytes: int = _USUAL.largest_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ttl_s`: how long a result may be given again. At most so many are kept, of so many bytes in all and each;
        the least recently used goes first."""
        self.ttl_s = ttl_s
        self._index = Index(CacheSpec(entries=entries, memory_bytes=memory_bytes, largest_bytes=largest_bytes))
        self._clock = clock
        self._results: dict[str, Any] = {}
        self._working: dict[str, _Work[Any]] = {}
        self._hits = self._coalesced = self._misses = 0

    async def get(
        self,
        key: str,
        make: Callable[[], Awaitable[Result]],
        *,
        ttl_s: float | None = None,
        tags: tuple[str, ...] = (),
        size: Callable[[Result], int] | None = None,
    ) -> Result:
        """The result for this key: one that is kept, or that is being made, or else what `make` gives. `size` tells its
        bytes; by default they are estimated."""
        now = self._clock()
        if self._index.lapsed(key, now):
            del self._results[key]
        if self._index.get(key, now) is not None:
            self._hits += 1
            return cast("Result", self._results[key])
        work = self._working.get(key)
        if work is None:
            self._misses += 1
            kept_s = self.ttl_s if ttl_s is None else ttl_s
            making = self._make(key, make, kept_s, tags, size or bytes_of)
            work = _Work(asyncio.get_running_loop().create_task(making), tags)
            self._working[key] = work
        else:
            self._coalesced += 1
        return await self._wait(key, work)

    async def _wait(self, key: str, work: _Work[Result]) -> Result:
        work.waiting += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiting -= 1
            if not work.waiting and not work.task.done():
                work.task.cancel()
                self._forget(key, work)

    async def _make(
        self, key: str, make: Callable[[], Awaitable[Result]], ttl_s: float, tags: tuple[str, ...],
        size: Callable[[Result], int],
    ) -> Result:  # fmt: skip
        work = None
        try:
            result = await make()
            work = self._working.get(key)
            if work is not None and work.task is asyncio.current_task() and work.keep:
                self._keep(key, result, max(1, size(result)), ttl_s, tags)
            return result
        finally:
            if work is None:
                work = self._working.get(key)
            if work is not None and work.task is asyncio.current_task():
                self._forget(key, work)

    def _keep(self, key: str, result: Any, size: int, ttl_s: float, tags: tuple[str, ...]) -> None:
        if not self._index.takes(size):
            return
        now = self._clock()
        for gone in self._index.add(key, Entry(size, now, now + ttl_s, "", "", tags)):
            del self._results[gone]
        self._results[key] = result

    def _forget(self, key: str, work: _Work[Any]) -> None:
        if self._working.get(key) is work:
            del self._working[key]

    def invalidate(self, tag: str | None = None) -> int:
        """Put results with this tag out of use, or all of them; how many were kept. What is being made goes to those
        who wait for it, and is not kept."""
        for key, work in list(self._working.items()):
            if tag is None or tag in work.tags:
                work.keep = False
                del self._working[key]
        gone = self._index.drop(tag, None, None)
        for key in gone:
            del self._results[key]
        return len(gone)

    def numbers(self) -> Numbers:
        """What it did, and holds."""
        index = self._index
        return Numbers(
            self._hits, self._coalesced, self._misses, len(index), index.bytes, index.evictions, index.expired,
            index.invalidated,
        )  # fmt: skip


def cached(
    *,
    cache: Cache | None = None,
    ttl_s: float | None = None,
    tags: tuple[str, ...] = (),
    key: Callable[..., str] | None = None,
    size: Callable[[Any], int] | None = None,
) -> Callable[[Callable[Given, Awaitable[Result]]], Callable[Given, Awaitable[Result]]]:
    """Keep the results of an async function. Calls are the same that have equal arguments; `key` makes a key of them
    where they are no plain data (else TypeError is raised). Several functions may share a `cache`; else it has its own,
    as the attribute `cache`."""
    kept = cache or Cache()

    def decorate(function: Callable[Given, Awaitable[Result]]) -> Callable[Given, Awaitable[Result]]:
        name = f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"

        @functools.wraps(function)
        async def ask(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            whose = f"{name}:{key(*args, **kwargs) if key is not None else key_of(args, kwargs)}"
            return await kept.get(whose, lambda: function(*args, **kwargs), ttl_s=ttl_s, tags=tags, size=size)

        ask.cache = kept  # type: ignore[attr-defined]
        return ask

    return decorate


def key_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """A digest of plain arguments. Raises TypeError where there is one that is none."""
    try:
        plain = msgspec.msgpack.encode((args, kwargs), order="deterministic")
    except TypeError as error:
        raise TypeError(f"cached: no key can be made of these arguments, give `key`: {error}") from None
    return hashlib.blake2b(plain, digest_size=16).hexdigest()


def bytes_of(result: Any) -> int:
    """About the bytes of a result."""
    if isinstance(result, bytes | bytearray | str):
        return len(result)
    try:
        return len(msgspec.msgpack.encode(result))
    except (TypeError, OverflowError, RecursionError):
        return sys.getsizeof(result)
