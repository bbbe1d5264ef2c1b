"""What flows through a pool, beside what stands in it: calls that come in a second, and how long they take in all.

A reader of the Gate's turns, like the journal's; who has no target that needs it does not let it read. Calls are
counted when they are over. How many have come follows from that: those that are over, and those that are here.
"""

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from penstock.base.errors import REFUSALS
from penstock.base.nouns import CallRow
from penstock.core.effects import Effect, Record
from penstock.core.recent import BUCKETS, bound_of, bucket_of
from penstock.core.scale.targets import Targets
from penstock.core.scale.window import Window

SLOT_S = 10.0
SLOTS = 6
"""The last minute, in steps."""
SPAN_S = SLOT_S * SLOTS
MOST_LOOKS = 1024
SHARE = 0.95
SLO = {label: row.counts_for_slo for label, row in REFUSALS.items()}
"""Label -> whether it is no mistake of the client's, and no limit of its own."""


def needs_flow(targets: Targets) -> bool:
    """Whether any of these looks at it."""
    return targets.rps is not None or targets.p95 is not None


class _Lane:
    """One pool's."""

    __slots__ = ("_looks", "_slots", "over")

    def __init__(self) -> None:
        self.over = 0
        """Calls, in all."""
        self._slots: deque[tuple[int, list[int]]] = deque(maxlen=SLOTS + 1)
        """Number of the slot, and calls by bucket of their time."""
        self._looks: deque[tuple[float, int]] = deque(maxlen=MOST_LOOKS)
        """When, and how many had come."""

    def took(self, latency_s: float, now: float) -> None:
        """A call was here for so long."""
        slot = int(now / SLOT_S)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, [0] * BUCKETS))
        self._slots[-1][1][bucket_of(latency_s)] += 1

    def p95(self, now: float) -> tuple[float | None, int]:
        """The quantile of the last minute, and of how many calls."""
        oldest = int(now / SLOT_S) - SLOTS
        counted = [counts for slot, counts in self._slots if oldest < slot <= oldest + SLOTS]
        total = sum(map(sum, counted))
        above, seen = (1.0 - SHARE) * total, 0
        for at in range(BUCKETS - 1, -1, -1):
            seen += sum(counts[at] for counts in counted)
            if seen > above:
                return bound_of(at), total
        return None, 0

    def rates(self, here: int, now: float) -> tuple[float | None, float | None]:
        """Calls that came in a second, over the last minute and since the last look; None: nobody has looked yet."""
        looks, came = self._looks, self.over + here
        while looks and ((len(looks) > 1 and looks[1][0] <= now - SPAN_S) or looks[0][0] < now - 2 * SPAN_S):
            looks.popleft()
        spans = [(now - at, came - before) for at, before in (looks[0], looks[-1])] if looks else []
        looks.append((now, came))
        if not spans or spans[-1][0] <= 0:
            return None, None
        # who left with a replica that left is missing until it is over: never fewer than none
        lately, last = (max(0, more) / span_s for span_s, more in spans)
        return lately, last


class Flow:
    """Of the pools that are watched."""

    __slots__ = ("_lanes",)

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def watch(self, pools: Iterable[str]) -> None:
        """These from now on. What is known of them stays."""
        self._lanes = {pool: self._lanes.get(pool) or _Lane() for pool in pools}

    @property
    def watching(self) -> bool:
        """Whether it wants to read."""
        return bool(self._lanes)

    def observe(self, now: float, event: object, effects: list[Effect]) -> None:
        """A turn of the Gate's."""
        for effect in effects:
            if type(effect) is Record and (lane := self._lanes.get(effect.row.pool)) is not None:
                self._over(lane, effect.row, now)

    @staticmethod
    def _over(lane: _Lane, row: CallRow, now: float) -> None:
        ours = SLO.get(row.outcome, True)
        was_here = row.attempts > 0 or row.queue_s > 0
        if ours or was_here:
            lane.over += 1
        if ours and was_here:  # who is sent away at once would make the pool look quick
            lane.took(row.latency_s, now)

    def fill(self, pool: str, window: Window, now: float) -> Window:
        """A look, with what flowed since the last one. One that is not watched is left as it is."""
        lane = self._lanes.get(pool)
        if lane is None:
            return window
        rps, rps_now = lane.rates(window.queued + sum(one.in_flight for one in window.replicas), now)
        p95_s, answers = lane.p95(now)
        return replace(window, rps=rps, rps_now=rps_now, p95_s=p95_s, answers=answers)
