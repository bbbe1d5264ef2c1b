"""Who leads: the register that the workers of one gateway keep of the calls that others may join, each worker for the
keys that hash to it.

Pure: who asks in, who leads out. It is a hint and no lock: where it is lost, or wrong, two calls are sent instead of
one. What it holds is bounded.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST_LEADS: Final = 65_536
"""Beyond them who asks leads, and nobody hears of it."""
MOST_KEPT: Final = 65_536
"""Keys of which it is known who keeps the answer; beyond, the oldest is forgotten."""


class Leader(NamedTuple):
    """Who has what is asked for."""

    worker: int
    """From 1 on; 0: nobody, and who asks leads."""
    call: str = ""
    """The one that leads; empty: none, the answer is kept there."""


NOBODY: Final = Leader(0)


class Register:
    """The keys of one worker."""

    __slots__ = ("_kept", "_leads")

    def __init__(self) -> None:
        self._leads: dict[str, Leader] = {}
        self._kept: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leads)

    def ask(self, key: str, asker: Leader, wrong: Leader = NOBODY) -> Leader:
        """A call wants to be sent: another leads, or keeps what it wants; else it leads from now on. `wrong`: who it
        was told last, and does not have it."""
        leader = self._leads.get(key)
        if leader is not None and leader.worker != asker.worker and leader != wrong:
            return leader
        if leader is None:
            keeper = self._kept.get(key, 0)
            if keeper and keeper not in (asker.worker, wrong.worker):
                self._kept.move_to_end(key)
                return Leader(keeper)
        self._kept.pop(key, None)
        if leader is not None or len(self._leads) < MOST_LEADS:
            self._leads[key] = asker
        return NOBODY

    def release(self, key: str, asker: Leader, kept: bool) -> None:
        """A call that had asked is over; whether its worker keeps the answer now."""
        if self._leads.get(key) == asker:
            del self._leads[key]
        if kept:
            self._kept[key] = asker.worker
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def gone(self, worker: int) -> None:
        """A worker has ended: nothing is to be had from it."""
        for key in [key for key, leader in self._leads.items() if leader.worker == worker]:
            del self._leads[key]
        for key in [key for key, keeper in self._kept.items() if keeper == worker]:
            del self._kept[key]


def keepers_of(key: str, count: int) -> Iterator[int]:
    """Whose register has this key: the first of so many workers that can be reached."""
    first = int(key[:8], 16)
    return ((first + step) % count + 1 for step in range(count))
