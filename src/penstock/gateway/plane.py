"""What the parts of the data plane may know of the whole: time, bounds, and where facts go."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from penstock.base.errors import Label
from penstock.config.schema import GatewayTimeouts, ServerSpec
from penstock.core.cache.spec import CacheSpec
from penstock.core.events import Event
from penstock.gateway.client.head import Head, Peer
from penstock.gateway.outbox import Outbox
from penstock.gateway.pulse import Pulse

Guest = TypeVar("Guest", contravariant=True)
"""A client's connection."""


class Plane(Protocol):
    """The data plane, as its parts see it."""

    pulse: Pulse
    server: ServerSpec
    timeouts: GatewayTimeouts
    cache: CacheSpec
    """Where there is no cache, as it is by default: an answer that others have joined goes on."""
    buffered_bytes: int
    """Request bodies held, all together."""
    outbox: Outbox
    """What this turn of the loop writes."""
    tell: Callable[[Event], None]


class Client(Protocol):
    """The client's connection, as an attempt sees it."""

    deadline: float

    def write(self, data: bytes, /) -> None:
        """Bytes of the answer."""
        ...


class Connection(Client, Protocol):
    """The same, as a call in progress sees it: who asked, on a connection or from within."""

    paused: bool
    """It reads slowly: nothing more is to be written now."""

    def answered(self, keep: bool) -> None:
        """The answer has been written to its end; `keep`: another request may follow on the connection."""
        ...

    def cut(self, *, reset: bool) -> None:
        """The answer that has begun will never be whole."""
        ...

    def unread_deadline(self, now: float) -> float:
        """Until when it may take to read what was written."""
        ...


class Conversation(Protocol):
    """A call in progress, as its client's connection sees it."""

    def client_gone(self) -> None:
        """The client closed."""
        ...

    def pause(self) -> None:
        """The client reads slowly."""
        ...

    def resume(self) -> None:
        """The client has caught up."""
        ...

    def expire(self, now: float) -> float:
        """Check what may have taken too long; when to check again."""
        ...


class House(Plane, Protocol[Guest]):
    """The data plane, as a client's connection sees it."""

    ready: Callable[[], bool]

    def peer(self, transport: asyncio.Transport) -> Peer:
        """Who is at the other end."""
        ...

    def admit(self, inbound: Guest) -> Label | None:
        """Count a new connection; why it is sent away, otherwise None."""
        ...

    def lost(self, inbound: Guest) -> None:
        """A connection has closed."""
        ...

    def models(self) -> list[str]:
        """The served models."""
        ...

    def arrived(self, inbound: Guest, head: Head, body: bytes) -> None:
        """A whole request for a replica. Raises Malformed."""
        ...

    def count_refusal(self, label: str) -> None:
        """A request was answered here."""
        ...
