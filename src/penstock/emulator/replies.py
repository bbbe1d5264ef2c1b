"""Runs a request on the replica and sends what comes of it, whole or as server-sent events.

A client may leave in any phase: waiting, before the first token, mid-stream, or while it waits for a whole answer. A
watcher that costs one task a request sees it at once and takes the sequences from the engine.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.types import Receive, Scope, Send

from penstock.emulator.replica import Job, Replica, Ticket
from penstock.emulator.wire import Wrong, error
from penstock.engine.words import Finish

_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
_REJECTIONS = {
    "empty": Wrong("The prompt is empty.", "prompt"),
    "too_long": Wrong("The prompt and its answer do not fit into the KV cache.", "input_tokens"),
    "queue_full": Wrong("Too many requests are waiting.", status=503, kind="ServiceUnavailableError"),
}


class Frames(Protocol):
    """How one API spells a stream."""

    def head(self) -> bytes:
        """What comes before the first token, once there is one."""
        ...

    def tokens(self, index: int, start: int, stop: int, finish: Finish | None) -> bytes:
        """Tokens start..stop of one sequence; `finish` when that was the last of it."""
        ...

    def tail(self, finishes: list[Finish]) -> bytes:
        """The end of the stream."""
        ...


class Streamed:
    """An answer that is sent token by token."""

    def __init__(self, replica: Replica, request_id: str, jobs: list[Job], frames: Frames, user: str = "") -> None:
        self._replica, self._id, self._jobs, self._frames, self._user = replica, request_id, jobs, frames, user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        async with _attended(self._replica, self._id, self._jobs, self._user, scope, receive) as ticket:
            if ticket.rejected:
                await error(_REJECTIONS[ticket.rejected])(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
            sent = [0] * len(self._jobs)
            told = [False] * len(self._jobs)
            begun = over = False
            while not over:
                await ticket.changed()
                if ticket.gone:
                    return
                over = ticket.over
                body = b"" if begun else self._frames.head()
                begun = True
                body += self._new(ticket, sent, told)
                if over:
                    body += self._frames.tail([finish for finish in ticket.finished if finish is not None])
                if body:
                    await send({"type": "http.response.body", "body": body, "more_body": not over})

    def _new(self, ticket: Ticket, sent: list[int], told: list[bool]) -> bytes:
        parts = []
        for index, emitted in enumerate(ticket.emitted):
            finish = ticket.finished[index]
            if emitted > sent[index] or (finish is not None and not told[index]):
                parts.append(self._frames.tokens(index, sent[index], emitted, finish))
                sent[index] = emitted
                told[index] = finish is not None
        return b"".join(parts)


class Whole:
    """An answer that is sent when it is complete."""

    def __init__(
        self, replica: Replica, request_id: str, jobs: list[Job], build: Callable[[list[Finish]], bytes], user: str = ""
    ) -> None:
        self._replica, self._id, self._jobs, self._build, self._user = replica, request_id, jobs, build, user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        async with _attended(self._replica, self._id, self._jobs, self._user, scope, receive) as ticket:
            while not ticket.over:
                await ticket.changed()
            if ticket.gone:
                return
            if ticket.rejected:
                await error(_REJECTIONS[ticket.rejected])(scope, receive, send)
                return
            body = self._build([finish for finish in ticket.finished if finish is not None])
            headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def _attended(
    replica: Replica, request_id: str, jobs: list[Job], user: str, scope: Scope, receive: Receive
) -> AsyncIterator[Ticket]:
    ticket = replica.open(request_id, scope["path"], jobs, user)
    watcher = asyncio.get_running_loop().create_task(_watch(replica, ticket, receive))
    try:
        yield ticket
    finally:
        watcher.cancel()
        replica.close(ticket)


async def _watch(replica: Replica, ticket: Ticket, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not ticket.over:
        replica.leave(ticket)
