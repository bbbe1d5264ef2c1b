"""A channel between two processes: whole messages, both ways, over a socket that the one inherits from the other.

A message is four bytes of length and msgpack. Who does not read is given up once so many bytes wait for it: what one
side holds for the other is bounded.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from struct import Struct as Layout
from typing import Any, Generic, TypeVar

import msgspec

log = logging.getLogger("penstock.gateway")

MOST_BYTES = 64 << 20
"""Of one message: the settings of a fleet of ten thousand replicas are some five million."""
MOST_WAITING_BYTES = 64 << 20
"""That the other side has not read."""
_LENGTH = Layout("<I")

In = TypeVar("In")


class Channel(asyncio.Protocol, Generic[In]):
    """One end."""

    def __init__(self, kind: Any, heard: Callable[[In], object], closed: Callable[[], object]) -> None:
        """`kind`: the union of messages that come. `closed` is called once, when the other end is gone."""
        self._decode: Callable[[bytes], In] = msgspec.msgpack.Decoder(kind).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._heard = heard
        self._closed = closed
        self._rest = bytearray()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def over(
        cls, sock: socket.socket, kind: Any, heard: Callable[[In], object], closed: Callable[[], object]
    ) -> "Channel[In]":
        """An end on this connected socket, inside a running event loop."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        channel = cls(kind, heard, closed)
        await loop.create_unix_connection(lambda: channel, sock=sock)
        return channel

    def tell(self, message: object) -> None:
        """Send a message; to nobody, where the other end is gone."""
        self.send(self.framed(message))

    def framed(self, message: object) -> bytes:
        """A message as it is sent, for who sends it to several."""
        body = self._encode(message)
        return _LENGTH.pack(len(body)) + body

    def send(self, frame: bytes) -> None:
        """Send a message that is framed."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() + len(frame) > MOST_WAITING_BYTES:
            log.error("the other process does not read what it is told, and is given up")
            transport.abort()
            return
        transport.write(frame)

    def close(self) -> None:
        """Close this end, once what was told is written."""
        if self._transport is not None:
            self._transport.close()

    # ===== asyncio's side =====

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        """Bytes of the other side."""
        rest = self._rest
        rest += data
        at = 0
        while len(rest) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(rest, at)
            if length > MOST_BYTES:
                self._give_up("a message that is too long")
                return
            end = at + _LENGTH.size + length
            if len(rest) < end:
                break
            body = bytes(rest[at + _LENGTH.size : end])
            at = end
            self._take(body)
        del rest[:at]

    def _take(self, body: bytes) -> None:
        try:
            message = self._decode(body)
        except msgspec.DecodeError as wrong:
            self._give_up(str(wrong))
            return
        try:
            self._heard(message)
        except Exception as bug:  # one message's bug must not cost the channel
            log.error("a bug while %s was heard", type(message).__name__, exc_info=bug)

    def _give_up(self, why: str) -> None:
        log.error("the other process tells what cannot be understood (%s), and is given up", why)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._closed()
