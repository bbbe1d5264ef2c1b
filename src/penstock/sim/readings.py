"""What can be read of one simulated engine: its own numbers when somebody asks, and its GPUs in rounds. Either may come
late, or not at all.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from penstock.base.nouns import EngineStats, GpuReading
from penstock.core.events import Event, Metered, Observed
from penstock.drive.kernel import Kernel
from penstock.engine.devices import Card, Devices

KEPT_STATS = 64
"""Old numbers of an engine that are kept for a network whose metrics lag."""
ROUND_S = 5.0
"""Between two looks at GPUs, as the gateway has it."""
KEPT_READINGS = 720
"""Old readings that are kept, for who gets them late: of an hour."""


class Readable(Protocol):
    """An engine, as far as its reader needs it."""

    dead: bool
    dark_since: float | None
    way_s: float

    def stats(self) -> EngineStats:
        """What it says of itself."""
        ...


class Readings:
    """Of one engine."""

    __slots__ = (
        "_engine", "_kernel", "_lag_s", "_late", "_looks", "_mutes", "_name", "_past", "_tell", "devices",
    )  # fmt: skip

    def __init__(
        self, name: str, engine: Readable, lag_s: float, card: Card | None, kernel: Kernel,
        tell: Callable[[Event], None],
    ) -> None:  # fmt: skip
        """`card`: what is read in rounds from now on; None: nothing is."""
        self._name = name
        self._engine = engine
        self._lag_s = lag_s
        self._kernel = kernel
        self._tell = tell
        self._mutes: dict[object, None] = {}
        """What keeps its numbers from being read; below from when on which faults hold for its GPUs, and how late."""
        self._late: dict[object, float | None] = {}
        self._past: deque[tuple[float, EngineStats]] = deque(maxlen=KEPT_STATS)
        self._looks: deque[tuple[float, tuple[GpuReading, ...]]] = deque(maxlen=KEPT_READINGS)
        self.devices = None if card is None else Devices(name, card, kernel.now)
        if card is not None:
            kernel.at(kernel.now + ROUND_S, self._round, None)

    # ===== its own numbers =====

    @property
    def mute(self) -> bool:
        """Its metrics cannot be read."""
        return bool(self._mutes)

    def mutes(self, mute: bool, cause: object) -> None:
        """Its metrics cannot be read, or can again by this cause."""
        self._mutes[cause] = None
        if not mute:
            del self._mutes[cause]

    def scrape(self, tell: Callable[[Event], None] | None = None) -> None:
        """Somebody reads its numbers, and hears of them; None: everybody does."""
        engine = self._engine
        silent = engine.dead or self.mute or engine.dark_since is not None
        told = Observed(self._name, None if silent else self._told())
        self._kernel.at(self._kernel.now + engine.way_s, tell or self._tell, told)

    def _told(self) -> EngineStats:
        lag_s, now = self._lag_s, self._kernel.now
        stats = self._engine.stats()
        if not lag_s:
            return stats
        self._past.append((now, stats))
        return next((old for at, old in reversed(self._past) if at <= now - lag_s), self._past[0][1])

    # ===== its GPUs =====

    def blinds(self, cause: object, lag_s: float | None, over: bool) -> None:
        """By this cause its GPUs are read so late, or not at all; or it is over."""
        self._late[cause] = lag_s
        if over:
            del self._late[cause]

    def _round(self, _: None) -> None:
        kernel, engine, devices = self._kernel, self._engine, self.devices
        assert devices is not None
        kernel.at(kernel.now + ROUND_S, self._round, None)
        kv_usage = None if engine.dead else engine.stats().kv_usage
        self._looks.append((kernel.now, devices.look(kv_usage, kernel.now)))
        late = list(self._late.values())
        if engine.dark_since is not None or None in late:
            return
        until = kernel.now - max([lag_s for lag_s in late if lag_s is not None], default=0.0)
        found = next((looked for at, looked in reversed(self._looks) if at <= until), None)
        if found is not None:
            kernel.at(kernel.now + engine.way_s, self._tell, Metered(self._name, found))
