"""Answers that several gateways share, in Redis.

Values are under the Gate's keys, which are digests: they carry no tenant and no prompt. What is put out of use is not
looked for: a mark is set that is newer than every value from before, and a value is no good where a mark of its own is
newer. How new, a counter in Redis says, which is read when somebody looks for the answer, before it is made: so an
answer that was under way while it was put out of use is no good either, whatever the clocks of gateways say.
"""

import hashlib
import time
from collections.abc import AsyncIterator
from itertools import product
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

PREFIX: Final = "penstock:cache:"
EPOCH: Final = PREFIX + "epoch"
CHANNEL: Final = PREFIX + "events"
LONGEST_S: Final = 30 * 86400.0
"""No value lives longer, and every mark outlives it."""
_MARK_S: Final = int(LONGEST_S) + 86400


class What(NamedTuple):
    """What is put out of use: all that is named must match; with nothing named, everything."""

    tag: str | None = None
    model: str | None = None
    tenant: str | None = None


class Event(Struct, frozen=True, array_like=True):
    """Something was put out of use."""

    what: What
    epoch: int
    origin: str
    """The gateway that did."""


class Shared(Struct, frozen=True, array_like=True):
    """A value."""

    epoch: int
    tags: tuple[str, ...]
    model: str
    tenant: str
    """A digest of its name."""
    ttl_s: float
    payload: bytes


class Seen(NamedTuple):
    """What a look found."""

    epoch: int
    """How new an answer is that is made from now on."""
    payload: bytes = b""
    """Empty: there is none."""
    age_s: float = 0.0
    left_s: float = 0.0
    tags: tuple[str, ...] = ()


CUT: Final = """
local before = tonumber(redis.call('GET', KEYS[1]) or '0')
if before < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
"""
"""Sets a mark and tells of it. A mark never becomes older: of two that come at once the later may have been first."""

_encode = msgspec.msgpack.Encoder().encode
_value = msgspec.msgpack.Decoder(Shared).decode
_event = msgspec.msgpack.Decoder(Event).decode


def digest(name: str) -> str:
    """What stands for a tenant's name."""
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def mark(what: What) -> str:
    """The mark of what is put out of use."""
    tenant = None if what.tenant is None else digest(what.tenant)
    return _mark(what.tag, what.model, tenant)


def _mark(tag: str | None, model: str | None, tenant: str | None) -> str:
    return PREFIX + "mark:" + digest(repr((tag, model, tenant)))


def marks(value: Shared) -> list[str]:
    """All marks that put this value out of use."""
    return [_mark(*named) for named in product((None, *value.tags), (None, value.model), (None, value.tenant))]


class SharedCache:
    """Asks a Redis server. Made inside a running event loop. Everything raises OSError where it cannot be had."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Raises ValueError for a URL that is none."""
        self._redis: Redis = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        alive: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
        self._cut = self._redis.register_script(CUT)
        self._ears: Redis = Redis.from_url(url, socket_timeout=None, socket_connect_timeout=timeout_s, **alive)

    async def look(self, key: str) -> Seen:
        """What is kept under a key."""
        try:
            return await self._look(PREFIX + key)
        except RedisError as error:
            raise _away(error) from None

    async def _look(self, name: str) -> Seen:
        pipe = self._redis.pipeline(transaction=False)
        pipe.mget(name, EPOCH)
        pipe.pttl(name)
        (raw, counted), left_ms = await pipe.execute()
        epoch = int(counted or 0)
        if raw is None or left_ms <= 0:
            return Seen(epoch)
        try:
            value = _value(raw)
        except msgspec.MsgspecError:  # of another version
            return Seen(epoch)
        cuts = await self._redis.mget(marks(value))
        if any(cut is not None and int(cut) > value.epoch for cut in cuts):
            return Seen(epoch)
        left_s = left_ms / 1000
        return Seen(epoch, value.payload, max(0.0, value.ttl_s - left_s), left_s, value.tags)

    async def keep(self, key: str, value: Shared) -> None:
        """Keep it, for its time."""
        ttl_s = min(value.ttl_s, LONGEST_S)
        try:
            await self._redis.set(PREFIX + key, _encode(value), px=max(1, int(ttl_s * 1000)))
        except RedisError as error:
            raise _away(error) from None

    async def drop(self, key: str) -> None:
        """Keep nothing under this key."""
        try:
            await self._redis.unlink(PREFIX + key)
        except RedisError as error:
            raise _away(error) from None

    async def invalidate(self, what: What, origin: str) -> int:
        """Put answers out of use, and tell all that listen; how new answers are from now on."""
        try:
            begins = self._redis.pipeline(transaction=True)
            begins.set(EPOCH, int(time.time() * 1000), nx=True)  # were it ever lost, the next is newer all the same
            begins.incr(EPOCH)
            epoch = int((await begins.execute())[1])
            await self._cut(keys=[mark(what)], args=[epoch, _MARK_S, CHANNEL, _encode(Event(what, epoch, origin))])
            return epoch
        except RedisError as error:
            raise _away(error) from None

    async def listen(self) -> AsyncIterator[Event | int]:
        """First how new answers are now, once it listens; then whatever is put out of use."""
        ears = self._ears.pubsub(ignore_subscribe_messages=True)
        try:
            await ears.subscribe(CHANNEL)
            yield int(await self._redis.get(EPOCH) or 0)
            async for message in ears.listen():
                yield _event(message["data"])
        except (RedisError, msgspec.MsgspecError) as error:
            raise _away(error) from None
        finally:
            await ears.aclose()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Let its connections go."""
        await self._redis.aclose()
        await self._ears.aclose()


def _away(error: Any) -> OSError:
    return OSError(f"Redis: {type(error).__name__}: {error}")
