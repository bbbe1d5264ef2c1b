"""The spot market of a simulation: how many replicas can be had, who is taken back, and who is told of it beforehand.

It knows names and times. What a notice means for calls, and what is ordered instead, is the Governor's business.
"""

from collections.abc import Callable
from math import inf

from penstock.base.rand import Rand
from penstock.config.markets import Market
from penstock.config.scenarios import Fault, Storm
from penstock.drive.kernel import Kernel

Notice = Callable[[str, float], None]
"""A replica, and in how many seconds it is gone."""


class Spot:
    """One run's. Times of `begin` are the kernel's."""

    def __init__(self, market: Market, kernel: Kernel, notice: Notice, take: Callable[[str], None], rand: Rand) -> None:
        self._market = market
        self._kernel = kernel
        self._notice = notice
        self._take = take
        self._luck = rand.stream("spot")
        self.held: dict[str, bool] = {}
        """Replicas that were had and are not gone -> whether they were given notice."""
        self.offered = inf
        self._stormy = 0
        """Storms that go on."""

    def begin(self, start: float, faults: tuple[Fault, ...]) -> None:
        """What becomes of the market from the workload's `start` on; faults by the kernel's time."""
        for offer in self._market.offers:
            self._kernel.at(start + offer.at_s, self._offer, offer.replicas)
        for fault in faults:
            if isinstance(fault, Storm):
                self._kernel.at(fault.at_s, self._storm, fault)
                if fault.for_s is not None:
                    self._kernel.at(fault.at_s + fault.for_s, self._calm, None)

    # ===== the fleet's side =====

    def ask(self, name: str) -> str:
        """Whether this one can be had: why not; empty: it can, and is."""
        if self._stormy:
            return "no spot capacity: a storm"
        if len(self.held) >= self.offered:
            return f"no spot capacity: {self.offered:g} can be had"
        self.held[name] = False
        return ""

    def gone(self, name: str) -> None:
        """It was ended, by whomever."""
        self.held.pop(name, None)

    # ===== the provider's side =====

    def _offer(self, replicas: int) -> None:
        self.offered = replicas
        staying = [name for name, noticed in self.held.items() if not noticed]
        for name in self._drawn(staying, len(staying) - replicas):
            self._give_notice((name, self._market.notice_s))

    def _storm(self, storm: Storm) -> None:
        self._stormy += 1
        staying = [name for name, noticed in self.held.items() if not noticed]
        drawn = self._drawn(staying, round(storm.share * len(staying)))
        now = self._kernel.clock()
        for number, name in enumerate(drawn):
            self._kernel.at(now + storm.over_s * number / len(drawn), self._give_notice, (name, storm.notice_s))

    def _calm(self, _: None) -> None:
        self._stormy -= 1

    def _drawn(self, names: list[str], count: int) -> list[str]:
        """So many of them, by lot."""
        left = list(names)
        return [left.pop(int(self._luck.random() * len(left))) for _ in range(min(max(0, count), len(names)))]

    def _give_notice(self, what: tuple[str, float]) -> None:
        name, notice_s = what
        if self.held.get(name) is False:
            self.held[name] = True
            self._kernel.at(self._kernel.clock() + notice_s, self._end, name)
            self._notice(name, notice_s)

    def _end(self, name: str) -> None:
        if self.held.pop(name, None) is not None:
            self._take(name)
