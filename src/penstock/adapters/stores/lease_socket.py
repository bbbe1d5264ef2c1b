"""Shared limits over a Unix socket: a parent process has the book, its workers are the clients.

A message is four bytes of length and MessagePack, in both directions; of a connection one is under way at a time.
"""

import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from penstock.base.leases import Question, Reply
from penstock.base.ports import LeaseStore

log = logging.getLogger("penstock.leases")

MOST_BYTES: Final = 8 << 20
"""A longer message is refused."""
_LENGTH: Final = 4

_encode = msgspec.msgpack.Encoder().encode
_questions = msgspec.msgpack.Decoder(Question)
_replies = msgspec.msgpack.Decoder(Reply)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """One message. Raises OSError: the other side has gone, or sends nonsense."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        if length > MOST_BYTES:
            raise OSError(f"a message of {length:,} bytes")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise OSError("the other side has closed the connection") from None


def _frame(message: Question | Reply) -> bytes:
    data = _encode(message)
    return len(data).to_bytes(_LENGTH, "big") + data


def _gone(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def bound(path: str) -> socket.socket:
    """A socket that only this user can connect to, from its first moment on."""
    _gone(path)
    made = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        made.bind(path)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


class LeaseServer:
    """Answers from a store. Whoever can open the socket may ask: it is made for this user alone."""

    def __init__(self, store: LeaseStore, path: str) -> None:
        self._store = store
        self._path = path
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._serve, sock=bound(self._path))

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            _gone(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = None
        try:
            while True:
                writer.write(await self._answer(await _read(reader)))
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or the store has, or we go
        except ValueError as error:
            log.warning("a message about leases could not be read: %s", error)
        finally:
            del self._open[writer]
            writer.close()

    async def _answer(self, data: bytes) -> bytes:
        return _frame(await self._store.exchange(_questions.decode(data)))


class LeaseClient:
    """Asks a LeaseServer. It connects when it asks, and anew after every failure."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, question: Question) -> Reply:
        """See `LeaseStore`."""
        async with self._lock:
            whole = False
            try:
                if self._streams is None:
                    self._streams = await asyncio.open_unix_connection(self._path)
                reader, writer = self._streams
                writer.write(_frame(question))
                reply = _replies.decode(await _read(reader))
                whole = True
                return reply
            finally:
                if not whole:  # an answer that comes late must not be taken for that of the next question
                    self._drop()

    async def close(self) -> None:
        """See `LeaseStore`."""
        self._drop()

    def _drop(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
