"""The HTTP server in front of an engine: one thread, which has work with every request before the engine sees it."""

from penstock.config.scenarios import Http


class Door:
    """One engine's. What has come goes through in its order; who hangs up meanwhile has cost the work all the same."""

    __slots__ = ("_free_at", "_spec")

    def __init__(self, spec: Http) -> None:
        self._spec = spec
        self._free_at = 0.0

    def through(self, inputs: int, now: float) -> float:
        """When a request that has come now, with so many inputs, is through."""
        begins_at = max(now, self._free_at)
        self._free_at = begins_at + self._spec.request_s + inputs * self._spec.input_s
        return self._free_at
