"""A plain rate of every client, whoever it is [L2]: so many calls at once, and then so many a second.

One number a client is enough: when it would have sent its last call had it kept to the rate (the generic cell rate
algorithm, ITU-T I.371). Clients are many and made up as easily as addresses are, so those that were silent for longest
are forgotten; whoever is forgotten has its burst again, and no more.
"""

from collections import OrderedDict
from typing import Final

MOST_CLIENTS: Final = 100_000
"""So many are remembered: some 20 MB."""
_ROUNDING_S: Final = 1e-6
"""So much too early is in time: sums of floats are not exact."""


class Clients:
    """When each client's next call would be due by the rate."""

    __slots__ = ("_due", "_most", "per_s")

    def __init__(self, per_s: int, most: int = MOST_CLIENTS) -> None:
        self.per_s = per_s
        """Calls a second, and as many at once."""
        self._most = most
        self._due: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def wait_s(self, client: str, now: float) -> float:
        """Count a call of this client; 0: it may pass. Else it is not counted, and might pass after so long."""
        due = self._due
        at = due.get(client, now)
        if at - now > 1.0 - 1.0 / self.per_s + _ROUNDING_S:
            due.move_to_end(client)
            return at - now - 1.0 + 1.0 / self.per_s
        due[client] = (max(now, at)) + 1.0 / self.per_s
        due.move_to_end(client)
        if len(due) > self._most:
            due.popitem(last=False)
        return 0.0
