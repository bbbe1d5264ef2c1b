"""Hedging's arithmetic for one pool: when a call has waited long enough for a second attempt, and who pays for it [H5].

Where the second attempt goes is routing's business; what becomes of the two is `rivals`'.
"""

from typing import Final

from penstock.core.recent import Recent
from penstock.core.spec import HedgeSpec

SHARE: Final = 0.95
"""Who is slower than this share of the recent calls is slow."""
MOST_SAVED: Final = 10.0
"""Hedges that a quiet time can save up: a burst of slow calls does not get a burst of hedges."""


class Hedging:
    """A pool's delays and its budget.

    The budget is a bucket of tokens: every call puts in its share, every hedge takes out one. Unlike a count of the
    last seconds this holds exactly for slow pools too: with 5 % it is one hedge in twenty calls, however long they take
    to come. It begins empty.
    """

    __slots__ = ("_at", "_saved", "spec", "ttft", "whole")

    def __init__(self, spec: HedgeSpec) -> None:
        self.spec = spec
        self._saved = 0.0
        self._at: float | None = None
        self.ttft = Recent(SHARE)
        """Times to the first content byte of streamed calls, in seconds."""
        self.whole = Recent(SHARE)
        """Times to the whole answer of calls that are not streamed: another scale."""

    # ===== when =====

    def delay_s(self, stream: bool) -> float | None:
        """How long to wait for the first attempt; None: too little is known of this pool's calls to call one slow."""
        spec = self.spec
        if spec.delay_s is not None:
            return spec.delay_s
        usual_s = (self.ttft if stream else self.whole).value()
        return None if usual_s is None else max(usual_s, spec.min_delay_s)

    def took(self, stream: bool, took_s: float) -> None:
        """An attempt that was no hedge has begun, or was beaten after so long. A time that ended in being beaten is too
        short, but it is above the delay, so the share of calls above the delay stays right. Hedges' own times would not
        do: only those that won would be seen, and the delay would creep down."""
        (self.ttft if stream else self.whole).add(took_s)

    # ===== within which budget =====

    def deposit(self, now: float) -> None:
        """A call was sent for the first time."""
        self._accrue(now)
        self._saved = min(MOST_SAVED, self._saved + self.spec.budget)

    def affords(self, now: float) -> bool:
        """Whether a hedge could be paid for."""
        self._accrue(now)
        return self._saved > 1.0 - 1e-9  # twenty times 0.05 are a little less than one

    def pay(self) -> None:
        """A hedge is made."""
        self._saved -= 1.0

    def _accrue(self, now: float) -> None:
        least_per_s = self.spec.budget_min_per_s
        if least_per_s:
            if self._at is not None:
                self._saved = min(MOST_SAVED, self._saved + least_per_s * (now - self._at))
            self._at = now
