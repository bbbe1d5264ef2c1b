"""The cache as one part of a gateway: its numbers for people, what they put out of use, and the store that gateways
share.
"""

from collections.abc import Callable

from penstock.base.contents import CacheView
from penstock.core.events import Event, Invalidated


class Caching:
    """What is asked of the cache by others than calls."""

    def __init__(self, view: Callable[[], CacheView | None], tell: Callable[[Event], None]) -> None:
        self.view = view
        """None: there is no cache."""
        self._tell = tell

    def invalidate(self, what: Invalidated) -> int:
        """Let go of answers; how many were kept here."""
        before = self.view()
        self._tell(what)
        after = self.view()
        return 0 if before is None or after is None else before.entries - after.entries
