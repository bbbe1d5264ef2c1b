"""Ports: what the edges must offer. A port is asked by the bodies (gateway, emulator), never by a machine."""

from typing import Protocol

from penstock.base.nouns import EngineStats


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
