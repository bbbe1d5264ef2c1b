"""Ports: what the edges must offer. A port is asked by the bodies (gateway, emulator), never by a machine."""

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from msgspec import Struct

from penstock.base.leases import AccountKey, Question, Reply
from penstock.base.nouns import EngineStats, Found, Purchase, Unit


class Dialect(Protocol):
    """How one engine speaks beside the OpenAI API. Pure: bytes in, facts out. Parsing raises ValueError on nonsense."""

    name: str
    health_path: str
    stats_path: str | None
    """Where its metrics are; None: it has none."""
    models_path: str

    def alive(self, status: int) -> bool:
        """Whether this status of the health path means that it can serve."""
        ...

    def stats(self, body: bytes) -> EngineStats:
        """Its metrics page."""
        ...

    def models(self, body: bytes) -> tuple[str, ...]:
        """The names on its models page."""
        ...


class Sighting(Struct, frozen=True):
    """What a source of replicas answered: a whole snapshot, never a delta."""

    found: tuple[Found, ...]
    """Each address once."""
    lasts_s: float | None = None
    """For how long the answer may be kept; None: the source does not say."""


class Source(Protocol):
    """Where replicas come from [F4]. It is asked again and again, and remembers nothing: what of its answers is
    believed is judged elsewhere."""

    def look(self, timeout_s: float) -> Awaitable[Sighting]:
        """Ask once. Raises OSError (time-outs too) or ValueError; none at all is an answer, not an error."""
        ...


class Actuator(Protocol):
    """Who starts and stops a pool's replicas [A7]. Every order may come twice, and then changes nothing the second
    time; what comes of it is seen by looking. What runs outlives the actuator, and is found again by the next one."""

    def look(self, timeout_s: float) -> Awaitable[tuple[Unit, ...]]:
        """All that it runs, and what has ended and was not told to be forgotten: a whole snapshot. Raises OSError."""
        ...

    def start(self, unit: str, purchase: Purchase = "on_demand") -> Awaitable[None]:
        """Start a replica under this name, to be had so; a look shows it with its purchase. Raises OSError, and then it
        is not started."""
        ...

    def stop(self, unit: str) -> Awaitable[None]:
        """End a replica, gracefully at first, and forget it once it has ended. Raises OSError."""
        ...

    def drain(self, unit: str, drain: bool) -> Awaitable[None]:
        """A hint: a replica takes nothing new and finishes what it has, or is taken back. Where others may end replicas
        as well, they are to take this one first. Raises OSError."""
        ...

    def close(self, end: bool = False) -> None:
        """Look and order no more. What runs goes on; with `end` it is told to end, and nobody waits for it."""
        ...


class Sheet(Protocol):
    """Where a process notes what it has spent of shared limits, so that it can be read once the process is dead."""

    def open(self, account: AccountKey, what: str) -> int:
        """The row of an account's limit, and always the same; -1: there is room for no more."""
        ...

    def add(self, row: int, amount: int) -> None:
        """So much more was spent; less than none: it was less. It stands there when this returns."""
        ...


class LeaseStore(Protocol):
    """The one truth about limits that several processes share [D6]."""

    def exchange(self, question: Question) -> Awaitable[Reply]:
        """Tell and ask. Raises OSError (time-outs too) or ValueError: then nobody knows whether it was heard."""
        ...

    def close(self) -> Awaitable[None]:
        """Ask no more."""
        ...


class Embedder(Protocol):
    """Where a question gets the vector by which it is compared with others [C4]."""

    def embed(self, text: str, told: Callable[[Collection[float] | None], None]) -> None:
        """`told` is called once: at once, or within a bounded time; with None where there is no vector to be had."""
        ...

    def close(self) -> None:
        """Ask no more; who waits is told that there is none."""
        ...
