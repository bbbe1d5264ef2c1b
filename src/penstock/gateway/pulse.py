"""What every request and every chunk looks at: the time, whether the gateway drains, and a few bounds.

One object for all parts of the data plane, with plain numbers in it: where the package is compiled reading one costs
two instructions, and a field of the settings, which are shapes of msgspec, a hundred (bench/README.md).
"""

from penstock.config.schema import ServerSpec


class Pulse:
    """The same for everybody."""

    __slots__ = ("body_bytes", "draining", "head_bytes", "keep_alive_s", "now", "request_head_s", "send_s", "sweep_s")

    def __init__(self, now: float, sweep_s: float, server: ServerSpec) -> None:
        self.now = now
        """The time of the last sweep: good enough for deadlines, and free to read."""
        self.sweep_s = sweep_s
        """A time-out is noticed so much later at most."""
        self.draining = False
        self.apply(server)

    def apply(self, server: ServerSpec) -> None:
        """New settings."""
        limits, timeouts = server.limits, server.timeouts
        self.head_bytes = limits.head_bytes
        self.body_bytes = limits.body_bytes
        self.keep_alive_s = timeouts.keep_alive_s
        self.request_head_s = timeouts.request_head_s
        self.send_s = timeouts.send_s
