"""The layer that makes faults happen, between the HTTP server and the app.

Some are plain HTTP; for the others it reaches through to the transport, which the protocol class here puts into the
scope. Whatever it does, the app inside sees an ordinary client, so its engine is freed as it would be.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.emulator.faults import Fault, Faults
from penstock.emulator.metrics import LIES, NONSENSE
from penstock.emulator.wire import Wrong, error, event

TRANSPORT = "penstock.transport"
_OWN_PATHS = "/emulator/"
"""Faults never hit the way to end them."""
_DONE = b"data: [DONE]\n\n"
_RESET = struct.pack("ii", 1, 0)
_GARBAGE = b"\x16\x03\x01SSH-2.0-none\r\n\x00\xfe\xff HTTP/9.9 maybe\r\n\r\n"


def protocol_for(faults: Faults) -> type[asyncio.Protocol]:
    """The HTTP protocol of one emulator: puts its transport into the scope, and refuses connections when told to."""

    class Protocol(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if faults.for_connection():
                reset(transport)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]

    return Protocol


def reset(transport: asyncio.Transport) -> None:
    """Close with an RST instead of a FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class Sabotage:
    """Draws a fault for each request and carries it out."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app, self._faults = app, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, well or badly."""
        fault = None
        if scope["type"] == "http" and not scope["path"].startswith(_OWN_PATHS):
            fault = self._faults.for_request(scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        attack = _Attack(self._app, fault, scope, receive, send)
        await attack.run()


class _Attack:
    """One request that goes wrong."""

    def __init__(self, app: ASGIApp, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        self._app, self._fault, self._scope, self._receive, self._send = app, fault, scope, receive, send
        self._transport: asyncio.Transport = scope["extensions"][TRANSPORT]
        self._streams = False
        self._events = 0
        self._over = False

    async def run(self) -> None:
        """Do it."""
        early = _BEFORE_HEAD.get(self._fault.kind)
        if early is None:
            await self._app(self._scope, self._receive, _SENDERS[self._fault.kind](self))
            return
        while (await self._receive()).get("more_body"):
            pass
        await early(self)

    async def hang(self) -> None:
        """Nothing more, until the client has left. (The server lets the app listen for that at the same time.)"""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reset(self) -> None:
        """RST."""
        reset(self._transport)
        await self.hang()

    async def close(self) -> None:
        """FIN, after what was written. Waits for it, so that the server sees no unfinished answer to complain of."""
        self._transport.close()
        await self.hang()

    # ===== before the head =====

    async def close_after_head(self) -> None:
        """A head that promises a body, and no body."""
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 512\r\n\r\n")
        await self.close()

    async def garbage(self) -> None:
        """Bytes that are not HTTP."""
        self._transport.write(_GARBAGE)
        await self.close()

    async def status(self) -> None:
        """An error in the usual shape."""
        status, retry_after_s = self._fault.status, self._fault.retry_after_s
        response = error(Wrong("This replica was told to fail.", None, status, "InjectedError"))
        if retry_after_s is not None:
            response.headers["retry-after"] = str(retry_after_s)
        await response(self._scope, self._receive, self._send)

    async def wrong_metrics(self) -> None:
        """A page that is no metrics."""
        await Response(NONSENSE.encode("latin-1"), media_type="text/plain")(self._scope, self._receive, self._send)

    async def lying_metrics(self) -> None:
        """A page in good order with numbers that are not so."""
        await Response(LIES[self._fault.claim], media_type="text/plain")(self._scope, self._receive, self._send)

    # ===== in the body =====

    async def drip(self, message: Message) -> None:
        """Byte by byte."""
        body = message.get("body", b"")
        if not body:
            await self._send(message)
            return
        for at in range(len(body)):
            more = message.get("more_body", False) or at + 1 < len(body)
            await self._send({"type": "http.response.body", "body": body[at : at + 1], "more_body": more})
            try:
                async with asyncio.timeout(self._fault.delay_s):
                    await self.hang()
                return
            except TimeoutError:
                pass

    async def truncate(self, message: Message) -> None:
        """Half of the body, then the end of the connection."""
        if message["type"] == "http.response.start":
            await self._send(message)
        elif not self._over:
            self._over = True
            await self._send_half(message)
            await self.close()

    async def mid_stream(self, message: Message) -> None:
        """So many events as they should be, then the fault; of an answer that is no stream, half of it."""
        if message["type"] == "http.response.start":
            self._streams = b"text/event-stream" in dict(message["headers"])[b"content-type"]
            if self._fault.kind == "bad_chunk":
                kept = [header for header in message["headers"] if header[0] != b"content-length"]
                message = {**message, "headers": kept}
            await self._send(message)
        elif not self._streams and self._fault.kind == "error_event":
            await self._send(message)
        elif not self._streams:
            await self._send_half(message)
            await _MID_STREAM[self._fault.kind](self)
        elif not self._over:
            await self._next_events(message)

    async def _next_events(self, message: Message) -> None:
        body, last = message.get("body", b""), not message.get("more_body")
        good = _first_events(body.removesuffix(_DONE) if last else body, self._fault.after - self._events)
        self._events += good.count(b"\n\n")
        if good:
            await self._send({"type": "http.response.body", "body": good, "more_body": True})
        if last or self._events >= self._fault.after:
            self._over = True
            await _MID_STREAM[self._fault.kind](self)

    async def _send_half(self, message: Message) -> None:
        body = message.get("body", b"")
        await self._send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})

    async def bad_chunk(self) -> None:
        """A chunk size that is none."""
        self._transport.write(b"zz;\xff\r\nnonsense\r\n")
        await self.close()

    async def error_event(self) -> None:
        """What a vLLM sends when its engine fails in the middle of a stream."""
        what = {"message": "Injected error", "type": "InternalServerError", "param": None, "code": 500}
        await self._send({"type": "http.response.body", "body": event({"error": what}) + _DONE, "more_body": False})


def _first_events(body: bytes, events: int) -> bytes:
    at = 0
    for _ in range(max(0, events)):
        end = body.find(b"\n\n", at)
        if end < 0:
            return body
        at = end + 2
    return body[:at]


_BEFORE_HEAD: dict[str, Callable[[_Attack], Awaitable[None]]] = {
    "reset_before_head": _Attack.reset,
    "close_before_head": _Attack.close,
    "close_after_head": _Attack.close_after_head,
    "garbage": _Attack.garbage,
    "hang_before_head": _Attack.hang,
    "status": _Attack.status,
    "wrong_metrics": _Attack.wrong_metrics,
    "lying_metrics": _Attack.lying_metrics,
    "flap": _Attack.reset,
}
_MID_STREAM: dict[str, Callable[[_Attack], Awaitable[None]]] = {
    "hang_mid_stream": _Attack.hang,
    "reset_mid_stream": _Attack.reset,
    "close_mid_stream": _Attack.close,
    "bad_chunk": _Attack.bad_chunk,
    "error_event": _Attack.error_event,
}
_SENDERS: dict[str, Callable[[_Attack], Send]] = {
    "slow_drip": lambda attack: attack.drip,
    "truncated": lambda attack: attack.truncate,
    **dict.fromkeys(_MID_STREAM, lambda attack: attack.mid_stream),
}
