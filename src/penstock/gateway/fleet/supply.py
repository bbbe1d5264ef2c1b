"""What the pools of connections have in common, and who reads what comes over a connection.

Plain classes to inherit from, not shapes to be matched: they are asked for every request, and where the package is
compiled a call through a class costs a tenth of one by name.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Final

from penstock.config.schema import UpstreamSpec
from penstock.gateway.fleet.lines import options
from penstock.gateway.plane import Plane

log = logging.getLogger("penstock.gateway")

_WARN_EVERY_S: Final = 10.0


class Taker(ABC):
    """Whoever reads a connection's answer."""

    __slots__ = ()

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes of the replica."""

    @abstractmethod
    def lost(self, clean: bool) -> None:
        """The replica closed."""


class Supply:
    """What all pools share."""

    def __init__(self, plane: Plane, spec: UpstreamSpec) -> None:
        self.plane = plane
        self.pulse = plane.pulse
        self.bind(spec)
        self.open = 0
        """Connections, idle ones included."""
        self.idle = 0
        self.closed: asyncio.Event | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self._warn_at = 0.0

    def bind(self, spec: UpstreamSpec) -> None:
        """New bounds."""
        self.spec = spec
        self.watching = options(spec.lost_after_s)
        """How the system watches a new connection."""
        self.most_answers = spec.requests_per_connection
        """That one connection brings; None: any number."""

    def lost(self) -> None:
        """A connection has closed."""
        self.open -= 1
        if not self.open and self.closed is not None:
            self.closed.set()

    def warn_exhausted(self) -> None:
        """No more connections can be opened: say so, but not for every call."""
        if self.pulse.now >= self._warn_at:
            self._warn_at = self.pulse.now + _WARN_EVERY_S
            log.warning("out of file descriptors with %d connections to replicas open: raise the limit", self.open)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something beside; it is cancelled when everything closes."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
