"""Shared limits in Redis: for gateways on several machines.

An account is one key: the book's own data, as MessagePack. It is read, the book's own arithmetic is done here, and it
is written where nobody else has written meanwhile; whoever was second reads again. So one truth has one arithmetic,
whichever store keeps it. The clock is Redis'. A key expires when nothing that it says means anything any more. Keys and
values hold the names of tenants and of keys, never a key itself.

What cannot be read under a key counts as forgotten, as if Redis had lost it: that account begins anew, and processes
tell again what they hold of it. Waiting until somebody puts it right would stop its calls, and those of others too.
"""

import hashlib
import logging
from math import ceil
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock.base.leases import AccountKey, Answer, Ask, Question, Reply
from penstock.core.limits.book import Account
from penstock.core.limits.spans import span_of

log = logging.getLogger("penstock.leases")
PREFIX: Final = "penstock:limits:"
"""A form of accounts that older gateways cannot read needs another one, or they would each begin it anew for ever."""
SPARE_MS: Final = 60_000
"""Keys outlive their meaning by so much."""
MOST_TOLD: Final = 100
"""Of so many accounts it is told that they could not be read, of each once."""
SWAP: Final = """
local done = {}
for at, key in ipairs(KEYS) do
  local before, after, ms = ARGV[3 * at - 2], ARGV[3 * at - 1], ARGV[3 * at]
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then
    found = ''
  end
  if (found or '') == before then
    redis.call('SET', key, after, 'PX', ms)
    done[at] = 1
  else
    done[at] = 0
  end
end
return done
"""
"""Writes each key that is still as it was read; says which. What is no string is read as nothing, by MGET too."""

_encode = msgspec.msgpack.Encoder().encode
_accounts = msgspec.msgpack.Decoder(Account)


def name_of(account: AccountKey) -> str:
    """An account's key: short whatever its names are."""
    kind, name, model = account
    mark = hashlib.blake2b("\0".join(account).encode(), digest_size=8).hexdigest()
    return f"{PREFIX}{kind}:{name[:64]}:{model[:64]}:{mark}"


class LeaseRedis:
    """Asks a Redis server. Made inside a running event loop."""

    def __init__(self, url: str, timeout_s: float = 1.0) -> None:
        """Raises ValueError for a URL that is none."""
        self._redis: Redis = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._swap = self._redis.register_script(SWAP)
        self._told: set[AccountKey] = set()

    async def exchange(self, question: Question) -> Reply:
        """See `LeaseStore`."""
        for ask in question.asks:
            for want in ask.wants:
                span_of(want.what)
        try:
            return await self._exchange(question)
        except RedisError as error:
            raise OSError(f"Redis: {type(error).__name__}: {error}") from None

    async def _exchange(self, question: Question) -> Reply:
        answers: list[Answer] = []
        now, asks = 0.0, list(question.asks)
        if not asks:  # whether it is there
            seconds, micros = await self._redis.time()
            now = seconds + micros / 1e6
        while asks:
            now, found = await self._read(asks)
            tried = [self._turn(question, ask, before, now) for ask, before in zip(asks, found)]
            written = await self._write(asks, found, [account for account, _ in tried], now)
            answers += [answer for (_, answer), done in zip(tried, written) if done and answer is not None]
            asks = [ask for ask, done in zip(asks, written) if not done]
        return Reply(now, tuple(answers))

    async def _read(self, asks: list[Ask]) -> tuple[float, list[bytes]]:
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.mget([name_of(ask.account) for ask in asks])
        (seconds, micros), found = await pipe.execute()
        return seconds + micros / 1e6, [before or b"" for before in found]

    def _turn(self, question: Question, ask: Ask, before: bytes, now: float) -> tuple[Account, Answer | None]:
        if before:
            try:
                account = _accounts.decode(before)
                return account, account.exchange(question, ask, now)
            except (msgspec.MsgspecError, ValueError, LookupError) as wrong:  # it may be well formed and mean nothing
                self._tell(ask.account, wrong)
        account = Account(now, now)
        return account, account.exchange(question, ask, now)

    def _tell(self, account: AccountKey, wrong: Exception) -> None:
        if account not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(account)
            log.error("shared limits: %s in Redis cannot be read, and begins anew: %s", name_of(account), wrong)

    async def _write(self, asks: list[Ask], before: list[bytes], after: list[Account], now: float) -> list[Any]:
        words: list[Any] = []
        for was, account in zip(before, after):
            words += [was, _encode(account), ceil((account.lasts_until() - now) * 1000) + SPARE_MS]
        written: list[Any] = await self._swap(keys=[name_of(ask.account) for ask in asks], args=words)
        return written

    async def close(self) -> None:
        """See `LeaseStore`."""
        await self._redis.aclose()
