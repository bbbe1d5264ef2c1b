"""What workers of one gateway say to each other about answers: two closed vocabularies, and the lines they go over.

Of each worker there is one line to each other one, on which it asks who leads; and one for every answer that it gets
from there, so that a slow one holds up no other, and who dies is noticed at once.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from penstock.base.errors import Label
from penstock.base.nouns import Usage
from penstock.gateway.cache.shelf import Kept
from penstock.gateway.processes.channel import Channel, In

# ===== of who asks =====


class Hello(Struct, frozen=True, tag=True):
    """The first word on a line for questions: who asks."""

    worker: int


class Question(Struct, frozen=True, tag=True, gc=False):
    """A call wants to be sent: who leads with its key? Answered by Told."""

    number: int
    key: str
    call: str
    wrong_worker: int = 0
    wrong_call: str = ""
    """Who was told last, and does not have it."""


class Over(Struct, frozen=True, tag=True, gc=False):
    """A call that had asked is over."""

    key: str
    call: str
    kept: bool


class Want(Struct, frozen=True, tag=True, gc=False):
    """The first and only word on a line for an answer: which one. Closing it means: no more."""

    key: str
    priority: int


Asking = Hello | Question | Over | Want

# ===== of who answers =====


class Told(Struct, frozen=True, tag=True, gc=False):
    """Who leads; worker 0: who asks does."""

    number: int
    worker: int
    call: str = ""


class Joined(Struct, frozen=True, tag=True, gc=False):
    """What this call gets will come on this line."""

    call: str
    mark: int


class Have(Struct, frozen=True, tag=True, gc=False):
    """The answer that is kept."""

    kept: Kept
    age_s: float
    left_s: float
    tags: tuple[str, ...]
    mark: int


class Nothing(Struct, frozen=True, tag=True, gc=False):
    """It is not to be had here, or not any more."""


class Head(Struct, frozen=True, tag=True, gc=False):
    """The answer has begun: its head, as `ResponseHead` has it, and where it comes from."""

    status: int
    status_line: bytes
    block: bytes
    content_type: bytes
    encoded: bool
    fixed: bool
    framing: bytes
    replica: bytes
    attempts: int
    queue_ms: int


class Piece(Struct, frozen=True, tag=True, gc=False):
    """More of it."""

    data: bytes
    tokens: int
    """So far, about."""


class Done(Struct, frozen=True, tag=True, gc=False):
    """That was all of it, with the last of it: a client that has all of an answer may be gone before a word that says
    so, and would count as one that left."""

    status: int
    usage: Usage | None
    tokens: int
    data: bytes = b""


class Lost(Struct, frozen=True, tag=True, gc=False):
    """There will be no more of it, and nobody will get it."""

    label: Label
    status: int


class Beat(Struct, frozen=True, tag=True, gc=False):
    """It is still being made."""


Answering = Told | Joined | Have | Nothing | Head | Piece | Done | Lost | Beat

# ===== lines =====

SILENCE_S: Final = 3.0
"""A worker that brings an answer and is silent for so long is given up."""
HIGH_BYTES: Final = 256 << 10
"""So much may wait for the other side before it counts as slow."""


class Line(Channel[In]):
    """One end of a line: a channel whose two ends wait for each other."""

    def __init__(
        self, kind: Any, heard: Callable[[In], object], closed: Callable[[], object],
        slow: Callable[[bool], object] | None = None,
    ) -> None:  # fmt: skip
        """`slow` hears when the other side reads slowly, and when it has caught up."""
        super().__init__(kind, heard, closed)
        self._slow = slow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Channel."""
        super().connection_made(transport)
        assert self._transport is not None
        self._transport.set_write_buffer_limits(HIGH_BYTES)

    def pause_writing(self) -> None:
        """See asyncio."""
        if self._slow is not None:
            self._slow(True)

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._slow is not None:
            self._slow(False)

    def hold(self, still: bool) -> None:
        """Let the other side wait, or go on."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if still:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def abort(self) -> None:
        """Close this end at once."""
        if self._transport is not None:
            self._transport.abort()
