"""Which kind of replica is next, which goes first, and what a mix of kinds costs. Pure arithmetic, and one memory:
since when spot could not be had."""

from collections.abc import Iterable
from math import ceil, fsum

from penstock.base.nouns import Purchase
from penstock.core.scale.life import LIVING, Life
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.spot import SpotSpec

MOST_DOUBLINGS = 20
_SLIP = 1e-9
"""What floating point may add to a whole number, or to a sum of money."""


def base_of(spot: SpotSpec, wanted: int) -> int:
    """How many of so many replicas are not spot."""
    return ceil(spot.base * wanted - _SLIP)


def price_of(purchase: Purchase, spot: SpotSpec | None, hourly_cost: float) -> float:
    """Of one replica, an hour; `hourly_cost` is that of one on demand."""
    if spot is None or purchase != "spot" or spot.hourly_cost is None:
        return hourly_cost
    return spot.hourly_cost


def affordable(spot: SpotSpec, most: int, budget: float, hourly_cost: float) -> int:
    """How many replicas of this mix so much money an hour pays for, at most `most`."""
    price = price_of("spot", spot, hourly_cost)
    for count in range(most, 0, -1):
        base = base_of(spot, count)
        if base * hourly_cost + (count - base) * price <= budget + _SLIP:
            return count
    return 0


class Mix:
    """One pool's."""

    __slots__ = ("dry_until", "refusals")

    def __init__(self) -> None:
        self.dry_until = 0.0
        """Spot is not asked for before."""
        self.refusals = 0
        """Orders for spot in a row that came to nothing."""

    # ===== whether spot can be had =====

    def refused(self, spot: SpotSpec, now: float) -> None:
        """An order for spot came to nothing. Those that were under way together count once."""
        if now < self.dry_until:
            return
        pause_s = spot.retry_s * 2.0 ** min(MOST_DOUBLINGS, self.refusals)
        self.refusals += 1
        self.dry_until = now + min(pause_s, max(spot.retry_s, spot.retry_max_s))

    def had(self) -> None:
        """A spot replica serves."""
        self.refusals = 0

    # ===== which kind =====

    def next(self, spot: SpotSpec | None, lives: Iterable[Life], wanted: int, now: float) -> tuple[Purchase, str]:
        """What to order next, and why."""
        if spot is None:
            return "on_demand", ""
        if _on_demand(lives) < base_of(spot, wanted):
            return "on_demand", "on demand: the base"
        if now < self.dry_until:
            return "on_demand", f"on demand: spot cannot be had, asked again in {self.dry_until - now:.0f} s"
        return "spot", "spot"

    def goes(self, spot: SpotSpec | None, lives: Iterable[Life], wanted: int) -> Purchase | None:
        """Whose kind goes first when there are more than `wanted`; None: all are alike."""
        if spot is None:
            return None
        return "on_demand" if _on_demand(lives) > base_of(spot, wanted) else "spot"

    def exchanges(self, spot: SpotSpec | None, lives: Iterable[Life], wanted: int, now: float) -> bool:
        """Whether one spot replica should be ordered beside those that there are, so that one of those that stood in
        can go: one at a time, while all is calm, and only where spot may be had."""
        if spot is None or not wanted or now < self.dry_until:
            return False
        living = [life for life in lives if life.state in LIVING]
        calm = len(living) == wanted and all(life.state == "ready" and life.ill_since is None for life in living)
        return calm and _on_demand(living) > base_of(spot, wanted)


def _on_demand(lives: Iterable[Life]) -> int:
    return sum(life.state in LIVING and life.purchase != "spot" for life in lives)


def pays(spec: ScaleSpec, lives: Iterable[Life], purchase: Purchase, hourly_cost: float) -> bool:
    """Whether one more of this kind stays within the bound by cost: everything that is there counts."""
    if spec.spot is None or spec.max_hourly_cost is None:
        return True
    spent = fsum(price_of(life.purchase, spec.spot, hourly_cost) for life in lives)
    return spent + price_of(purchase, spec.spot, hourly_cost) <= spec.max_hourly_cost + _SLIP
