"""What a pool's replicas cost, by how they are paid for: now, and since the Governor looks after them."""

from collections.abc import Iterable

from penstock.base.nouns import Purchase
from penstock.core.scale.life import Life
from penstock.core.scale.mix import price_of
from penstock.core.scale.spot import SpotSpec


class Bill:
    """One pool's. Between two looks everybody costs what was there at the first."""

    __slots__ = ("_at", "hourly", "spent")

    def __init__(self) -> None:
        self.hourly: dict[Purchase, float] = {}
        """Kind -> money an hour of those that were there at the last look."""
        self.spent: dict[Purchase, float] = {}
        self._at: float | None = None

    def look(self, lives: Iterable[Life], spot: SpotSpec | None, hourly_cost: float, now: float) -> None:
        """These are there now, those that come, drain or stop included."""
        passed_s = 0.0 if self._at is None else max(0.0, now - self._at)
        for kind, cost in self.hourly.items():
            self.spent[kind] = self.spent.get(kind, 0.0) + cost * passed_s / 3600.0
        self._at, self.hourly = now, {}
        for life in lives:
            price = price_of(life.purchase, spot, hourly_cost)
            self.hourly[life.purchase] = self.hourly.get(life.purchase, 0.0) + price
