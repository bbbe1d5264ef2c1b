"""Kinds of replicas: which is next, which goes first, what a budget pays for, and how long spot is not asked for."""

import pytest

from penstock.base.nouns import Purchase
from penstock.core.scale.life import Life
from penstock.core.scale.mix import Mix, affordable, base_of, pays, price_of
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.spot import SpotSpec

SPOT = SpotSpec(base=0.3, hourly_cost=1.0, retry_s=300.0, retry_max_s=1000.0)


def lives(on_demand: int, spot: int) -> list[Life]:
    """So many of each, all ready."""
    kinds: list[Purchase] = [*["on_demand"] * on_demand, *["spot"] * spot]  # type: ignore[list-item]
    return [Life(f"p-{number}", "ready", 0.0, kind) for number, kind in enumerate(kinds)]


@pytest.mark.parametrize(("wanted", "base"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (10, 3), (20, 6)])
def test_three_tenths_are_the_base(wanted: int, base: int) -> None:
    """Rounded up: of a pool of one nothing is spot."""
    assert base_of(SPOT, wanted) == base


def test_the_base_comes_first_and_then_spot() -> None:
    """On demand until there are three tenths of what is wanted; without settings for spot always."""
    mix = Mix()
    assert mix.next(SPOT, lives(2, 0), 10, 0.0)[0] == "on_demand"
    assert mix.next(SPOT, lives(3, 0), 10, 0.0) == ("spot", "spot")
    assert mix.next(None, lives(3, 0), 10, 0.0) == ("on_demand", "")


def test_on_demand_stands_in_while_spot_is_dry() -> None:
    """For five minutes after an order that came to nothing, then ten; at most as long as is set. What fails together
    counts once, and one that serves ends the row."""
    mix = Mix()
    mix.refused(SPOT, 0.0)
    mix.refused(SPOT, 1.0)
    assert mix.dry_until == 300.0
    kind, why = mix.next(SPOT, lives(3, 0), 10, 100.0)
    assert (kind, why) == ("on_demand", "on demand: spot cannot be had, asked again in 200 s")
    assert mix.next(SPOT, lives(3, 0), 10, 300.0)[0] == "spot"
    mix.refused(SPOT, 300.0)
    assert mix.dry_until == 900.0
    mix.refused(SPOT, 1000.0)
    assert mix.dry_until == 2000.0
    mix.had()
    mix.refused(SPOT, 3000.0)
    assert mix.dry_until == 3300.0


def test_who_goes_first_keeps_the_mix() -> None:
    """Those that stood in go before spot; at the base it is spot's turn."""
    mix = Mix()
    assert mix.goes(SPOT, lives(5, 5), 10) == "on_demand"
    assert mix.goes(SPOT, lives(3, 7), 9) == "spot"
    assert mix.goes(None, lives(5, 5), 3) is None


def test_those_that_stood_in_are_exchanged_while_all_is_calm() -> None:
    """One spot replica is ordered beside those wanted; not where spot is dry, somebody comes or is ill, or the base is
    all there is."""
    mix = Mix()
    assert mix.exchanges(SPOT, lives(5, 5), 10, 0.0)
    assert not mix.exchanges(SPOT, lives(3, 7), 10, 0.0)
    assert not mix.exchanges(None, lives(5, 5), 10, 0.0)
    assert not mix.exchanges(SPOT, lives(5, 4), 10, 0.0)
    coming, ill = lives(5, 5), lives(5, 5)
    coming[0].state = "loading"
    ill[0].ill_since = 0.0
    assert not mix.exchanges(SPOT, coming, 10, 0.0)
    assert not mix.exchanges(SPOT, ill, 10, 0.0)
    mix.refused(SPOT, 0.0)
    assert not mix.exchanges(SPOT, lives(5, 5), 10, 299.0)
    assert mix.exchanges(SPOT, lives(5, 5), 10, 300.0)


def test_a_budget_pays_for_more_of_a_cheaper_mix() -> None:
    """Of ten an hour at three on demand and one spot: two and four (two is the base of six); all on demand it pays for
    three."""
    assert affordable(SPOT, 20, 10.0, 3.0) == 6
    assert affordable(SpotSpec(), 20, 10.0, 3.0) == 3
    assert affordable(SPOT, 4, 1000.0, 3.0) == 4
    assert affordable(SPOT, 20, 0.5, 3.0) == 0


def test_a_stand_in_is_not_ordered_beyond_the_budget() -> None:
    """Spot that is paid for may be ordered where one on demand may not."""
    spec = ScaleSpec(spot=SPOT, max_hourly_cost=10.0)
    assert pays(spec, lives(2, 3), "spot", 3.0)
    assert not pays(spec, lives(2, 3), "on_demand", 3.0)
    assert pays(ScaleSpec(spot=SPOT), lives(20, 0), "on_demand", 3.0)
    assert pays(ScaleSpec(max_hourly_cost=1.0), lives(20, 0), "on_demand", 3.0)  # there the number is bounded


def test_prices() -> None:
    """A spot replica without a price of its own costs what one on demand does."""
    assert price_of("spot", SPOT, 3.0) == 1.0
    assert price_of("on_demand", SPOT, 3.0) == 3.0
    assert price_of("spot", SpotSpec(), 3.0) == price_of("spot", None, 3.0) == 3.0
