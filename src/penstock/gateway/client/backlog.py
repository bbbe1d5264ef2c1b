"""What waits for a client that reads slowly: one that moves is waited for, and nobody holds a replica for as long as he
likes.
"""

from penstock.gateway.client.upload import SLOWEST_BYTES_PER_S


class Backlog:
    """Bytes that wait for a client, from look to look."""

    __slots__ = ("_read", "_since", "_waiting")

    def __init__(self, now: float, waiting: int) -> None:
        self._since = now
        self._waiting = waiting
        """At the last look."""
        self._read = 0
        """Bytes that it has read since the first."""

    def stuck(self, now: float, waiting: int, send_s: float) -> bool:
        """Look again. Whether it has read none since the last look, or reads slower than bodies may come: a few bytes a
        look would hold its replica for ever. Where more was written since, nobody can tell what was read: it gets
        another look."""
        before, self._waiting = self._waiting, waiting
        if not before:  # it had read it all: this is another wait
            self._since, self._read = now, 0
            return False
        self._read += max(0, before - waiting)
        return waiting == before or now > self._since + 2 * send_s + self._read / SLOWEST_BYTES_PER_S
