"""What replicas cost, by kind: literal prices and times."""

import pytest

from penstock.base.nouns import Purchase
from penstock.core.scale.bill import Bill
from penstock.core.scale.life import Life
from penstock.core.scale.spot import SpotSpec

SPOT = SpotSpec(hourly_cost=1.0)


def lives(*kinds: Purchase) -> list[Life]:
    """One of each."""
    return [Life(f"p-{number}", "ready", 0.0, kind) for number, kind in enumerate(kinds)]


def test_each_kind_has_its_own_sum() -> None:
    """Half an hour of one on demand and two spot, then half an hour of one spot."""
    bill = Bill()
    bill.look(lives("on_demand", "spot", "spot"), SPOT, 3.0, 1000.0)
    assert bill.hourly == {"on_demand": 3.0, "spot": 2.0}
    assert bill.spent == {}
    bill.look(lives("spot"), SPOT, 3.0, 2800.0)
    assert bill.hourly == {"spot": 1.0}
    bill.look([], SPOT, 3.0, 4600.0)
    assert bill.spent == pytest.approx({"on_demand": 1.5, "spot": 1.5})


def test_a_clock_that_goes_back_costs_nothing() -> None:
    """Nothing is ever given back."""
    bill = Bill()
    bill.look(lives("on_demand"), None, 3.0, 1000.0)
    bill.look(lives("on_demand"), None, 3.0, 500.0)
    assert bill.spent == {"on_demand": 0.0}
