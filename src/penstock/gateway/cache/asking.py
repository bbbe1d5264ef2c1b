"""Embeddings from a model that this gateway serves: each is a call like any other, by the Gate to a replica of its
pool, with a row of its own, for the tenant `penstock`. Its client is no connection: it stands here.

Nobody waits long: after the time that the file gives there is none. When several in a row failed, nobody is asked for a
while.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from math import inf
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from penstock.adapters.wire.request import parse_request_head
from penstock.base.nouns import Call
from penstock.core.events import Arrived
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.client.head import Head
from penstock.gateway.client.paths import find
from penstock.gateway.plane import Plane

log = logging.getLogger("penstock.cache")

TENANT: Final = "penstock"
PATH: Final = "/v1/embeddings"
MOST_AT_ONCE: Final = 64
MOST_BYTES: Final = 1 << 20
FAILURES: Final = 3
"""In a row, after which it is left alone for a while."""
ALONE_S: Final = 5.0
_HEAD: Final = b"POST %b HTTP/1.0\r\ncontent-type: application/json\r\n\r\n" % PATH.encode()


class Floor(Plane, Protocol):
    """The data plane, as seen from here."""

    exchanges: dict[str, Exchange]

    def new_id(self) -> str:
        """For one more call."""
        ...


class _Item(Struct):
    embedding: list[float]


class _Answer(Struct):
    data: list[_Item]


_decode = msgspec.json.Decoder(_Answer).decode


class _Reader:
    """Stands where an exchange expects a client's connection."""

    __slots__ = ("_end", "_pieces", "_size", "deadline", "paused", "write")

    def __init__(self, end: Callable[[bytes], None]) -> None:
        self.deadline = inf
        self.paused = False
        self.write: Callable[[bytes], None] = self._put
        self._pieces: list[bytes] = []
        self._size = 0
        self._end = end
        """Told the whole answer, or an empty one."""

    def _put(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MOST_BYTES:
            self._pieces.append(data)

    def answered(self, keep: bool) -> None:
        """All of it is here."""
        self._end(b"".join(self._pieces) if self._size <= MOST_BYTES else b"")

    def cut(self, *, reset: bool) -> None:
        """It will never be whole."""
        self._end(b"")

    def unread_deadline(self, now: float) -> float:
        """It reads at once."""
        return inf


class Asking:
    """Asks a model."""

    def __init__(self, floor: Floor, model: str, timeout_s: float) -> None:
        self._floor = floor
        self._model = model
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, tuple[asyncio.TimerHandle, Callable[[Collection[float] | None], None]]] = {}
        self._failures = 0
        self._alone_until = 0.0

    def embed(self, text: str, told: Callable[[Collection[float] | None], None]) -> None:
        """See `base.ports.Embedder`."""
        floor = self._floor
        if len(self._waiting) >= MOST_AT_ONCE or floor.pulse.draining or self._loop.time() < self._alone_until:
            told(None)
            return
        own = floor.new_id()
        self._waiting[own] = (self._loop.call_later(self._timeout_s, self._late, own), told)
        body = msgspec.json.encode({"model": self._model, "input": text, "encoding_format": "float"})
        reader = _Reader(lambda answer: self._answered(own, answer))
        exchange = Exchange(floor, reader, own, _head(), body, self._model, wants_usage=False)
        floor.exchanges[own] = exchange
        call = Call(
            own, self._model, PATH, tenant=TENANT, repeatable=True, prompt_tokens=len(text) // 4 + 1,
            body_bytes=len(body), latency_s=self._timeout_s,
        )  # fmt: skip
        floor.tell(Arrived(call))

    def _late(self, id: str) -> None:
        """It takes too long: what is under way is given up."""
        exchange = self._floor.exchanges.get(id)
        if exchange is not None:
            exchange.client_gone()
        self._end(id, None)

    def _answered(self, id: str, answer: bytes) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        vector: Any = None
        if head.partition(b" ")[2].startswith(b"200"):
            try:
                found = _decode(body).data
                vector = found[0].embedding if len(found) == 1 else None
            except msgspec.MsgspecError:
                pass
        self._end(id, vector)

    def _end(self, id: str, vector: list[float] | None) -> None:
        waits = self._waiting.pop(id, None)
        if waits is None:
            return
        timer, told = waits
        timer.cancel()
        if vector is not None:
            self._failures = 0
        else:
            self._failures += 1
            if self._failures == FAILURES:
                log.warning("%s gives no embeddings: questions in other words are misses", self._model)
            if self._failures >= FAILURES:
                self._alone_until = self._loop.time() + ALONE_S
        told(vector)

    def close(self) -> None:
        """See `base.ports.Embedder`."""
        for call in list(self._waiting):
            self._late(call)


def _head() -> Head:
    head = Head(parse_request_head(_HEAD, 8))
    route = find(PATH.encode())
    assert route is not None
    head.route, head.tenant = route, TENANT
    head.forward = b"content-type: application/json\r\n"
    head.keep_alive = False
    return head
