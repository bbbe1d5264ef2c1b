"""What was asked of a pool: a week and a day of it, in windows of five minutes, as the looks at the pool show it.

Windows are numbered from the epoch, so that yesterday's same time is a number too. One in which too little was seen is
a gap and stays one: nothing is made up. Days are those of UTC: where clocks are put forward, habits move by an hour.
"""

from msgspec import Struct

from penstock.core.scale.window import Window

WINDOW_S = 300.0
DAY = 288
WEEK = 7 * DAY
KEPT = WEEK + DAY
"""Windows kept: a week to learn from, and a day over which forecasts of a weekly pattern are checked."""
_LONGEST_S = 60.0
"""A look stands for the time since the one before, and for no more than this."""
_LEAST = 0.5
"""Share of a window that must have been seen."""


class Past(Struct, frozen=True, kw_only=True, tag="demand"):
    """A pool's demand as it is written down."""

    first: int
    """Number of the first window."""
    calls: tuple[float | None, ...]
    """Calls in flight and waiting, the mean of each window; None: a gap."""
    rates: tuple[float | None, ...]
    """Calls that came and were not refused, a second."""
    startup_s: float | None = None
    """How long its replicas take to start."""


class Demand:
    """One pool's. The window that goes on is not among those that are kept."""

    __slots__ = (
        "_answered",
        "_began_with",
        "_calls_s",
        "_last",
        "_seen_s",
        "_served",
        "_there",
        "calls",
        "first",
        "number",
        "rates",
    )

    def __init__(self) -> None:
        self.first = 0
        self.calls: list[float | None] = []
        self.rates: list[float | None] = []
        self.number: int | None = None
        """Of the window that goes on; None: nothing was seen yet."""
        self._last = 0.0
        self._seen_s = self._calls_s = 0.0
        self._there = self._began_with = 0
        """Calls that are there now, and were when the window began."""
        self._answered = 0
        self._served: dict[str, int] = {}

    def see(self, window: Window, now: float) -> bool:
        """A look. Whether a window is over, so that there is more to know; also where the clock was put back."""
        number, there = int(now // WINDOW_S), window.queued + sum(one.in_flight for one in window.replicas)
        over = self.number is not None and number != self.number
        if self.number is None:
            self._last, self._there = now, there
        if number != self.number:
            self._turn(number)
        since = max(self._last, number * WINDOW_S)
        passed_s = min(max(0.0, now - since), _LONGEST_S)
        self._last = now
        self._seen_s += passed_s
        self._there = there
        self._calls_s += passed_s * there
        known, self._served = self._served, {one.id: one.served for one in window.replicas}
        if known:
            self._answered += sum(max(0, count - known.get(name, 0)) for name, count in self._served.items())
        return over

    def _turn(self, number: int) -> None:
        """Another window begins."""
        if self.number is not None:
            if number > self.number:
                self._close(self.number)
            self._cut(number)
        if self.calls:
            gap = min(number - self.first - len(self.calls), KEPT)
            self.calls += [None] * gap
            self.rates += [None] * gap
        else:
            self.first = number
        self._trim(number)
        self.number, self._seen_s, self._calls_s = number, 0.0, 0.0
        self._answered, self._began_with = 0, self._there

    def _close(self, number: int) -> None:
        if not self.calls:
            self.first = number
        seen_s, enough = self._seen_s, self._seen_s >= _LEAST * WINDOW_S
        self.calls.append(self._calls_s / seen_s if enough else None)
        came = max(0, self._answered + self._there - self._began_with)
        self.rates.append(came / seen_s if enough else None)

    def _cut(self, number: int) -> None:
        """The clock was put back: what was seen later than now was seen at a wrong time."""
        keep = max(0, number - self.first)
        del self.calls[keep:], self.rates[keep:]

    def _trim(self, number: int) -> None:
        extra = len(self.calls) - KEPT
        if extra > 0:
            del self.calls[:extra], self.rates[:extra]
        self.first = number - len(self.calls)

    def past(self, startup_s: float | None) -> Past:
        """What is worth writing down."""
        return Past(first=self.first, calls=tuple(self.calls), rates=tuple(self.rates), startup_s=startup_s)

    def recall(self, past: Past, now: float) -> bool:
        """What was written down before a restart, if nothing was seen since and it is of the past. Whether it helps."""
        number = int(now // WINDOW_S)
        count = min(len(past.calls), len(past.rates), number - past.first)
        if self.calls or count <= 0:
            return False
        self.first = past.first
        self.calls, self.rates = list(past.calls[:count]), list(past.rates[:count])
        self.number = None
        self._turn(number)
        return any(value is not None for value in self.calls)
