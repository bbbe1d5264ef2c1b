"""What an attempt knows of whom it is made for: one call, or a group of calls whose requests go as one.

A class to inherit from, not a shape to be matched: see `fleet.supply`.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from penstock.adapters.wire.response import ResponseHead
from penstock.base.errors import Label
from penstock.core.effects import Send
from penstock.core.events import Ended
from penstock.gateway.client.head import Head
from penstock.gateway.plane import Client, Plane
from penstock.gateway.pulse import Pulse

Tried = TypeVar("Tried")
"""An attempt."""


class Owner(ABC, Generic[Tried]):
    """The call that an attempt is made for."""

    __slots__ = ("client", "head", "id", "plane", "pulse", "wants_usage", "winner")

    client: Client | None
    """The client's connection; None: it has left."""
    head: Head
    id: str
    plane: Plane
    pulse: Pulse
    wants_usage: bool
    winner: Tried | None

    @property
    @abstractmethod
    def slow(self) -> bool:
        """The client has yet to read what was written before."""

    @property
    @abstractmethod
    def gzip(self) -> bool | None:
        """Whoever gets it takes it compressed; None: several get it, each as he likes."""

    @property
    @abstractmethod
    def http10(self) -> bool:
        """Whoever gets it knows no chunks."""

    @abstractmethod
    def request(self, order: Send) -> bytes:
        """The body to send."""

    @abstractmethod
    def release_body(self) -> None:
        """No other attempt will be made."""

    @abstractmethod
    def answer_head(self, response: ResponseHead, framing: bytes) -> bytes:
        """The answer's head, as the client gets it."""

    @abstractmethod
    def answer_instead(self, status: int, payload: bytes) -> None:
        """A plain answer in place of a stream."""

    @abstractmethod
    def answered(self, ended: Ended) -> None:
        """The answer was relayed to its end."""

    @abstractmethod
    def failed(self, attempt: Tried, label: Label, status: int, retry_after_s: float | None) -> None:
        """The attempt ended otherwise."""
