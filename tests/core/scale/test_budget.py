"""A month's money: what was spent, what is left enough for, and a pool that comes down in time."""

import pytest
from msgspec.structs import replace

from penstock.core.scale.budget import HOUR_S, Budget, Purse
from tests.core.scale.pools import MONDAY_S, QUICK, World

MONTH_H = 744.0
"""Hours of the month that begins at MONDAY_S."""
JANUARY, FEBRUARY = str(int(MONDAY_S)), str(int(MONDAY_S + MONTH_H * HOUR_S))


def charged(budget: Budget, *steps: tuple[float, float]) -> Budget:
    """It was charged at these hours of the month, for so much an hour since the one before."""
    for hours, hourly_cost in steps:
        budget.charge(hourly_cost, MONDAY_S + hours * HOUR_S, 500.0 + hours * HOUR_S)
    return budget


# ===== what was spent =====


def test_what_was_spent() -> None:
    """Time since the last look, at what those cost that are there; the first look knows of no time before."""
    assert charged(Budget(100.0), (10.0, 8.0), (12.0, 3.0), (13.0, 1.0)).spent() == 7.0
    assert Budget(100.0).spent() == 0.0


def test_a_new_month_begins_with_nothing() -> None:
    """What was spent before its first second belongs to the month before, and is kept for a clock that goes back."""
    budget = charged(Budget(100.0), (MONTH_H - 2, 0.0), (MONTH_H - 1, 5.0), (MONTH_H + 1, 5.0))
    assert budget.spent() == 5.0
    charged(budget, (MONTH_H - 0.5, 5.0))
    assert budget.spent() == 5.0
    for month in range(1, 9):
        charged(budget, (month * MONTH_H + 1, 1.0))
    assert len(budget.purse().spent) <= 3


def test_clocks_that_jump_spend_nothing() -> None:
    """The shorter of the two times counts: of the one on the wall, and of the one that cannot be set."""
    budget = charged(Budget(100.0), (0.0, 0.0))
    budget.charge(1.0, MONDAY_S + 500 * HOUR_S, 500.0 + HOUR_S)
    assert budget.spent() == 1.0
    budget.charge(1.0, MONDAY_S + 501 * HOUR_S, 500.0 + 900 * HOUR_S)
    assert budget.spent() == 2.0
    budget.charge(1.0, MONDAY_S, 500.0 + 901 * HOUR_S)
    assert budget.spent() == 2.0
    for wall_s in (-5.0, 1e300):
        budget.charge(1.0, wall_s, 500.0 + 902 * HOUR_S)


def test_another_life() -> None:
    """What was spent comes back, and who was found running has cost money meanwhile."""
    purse = charged(Budget(100.0), (0.0, 0.0), (10.0, 2.0)).purse()
    assert purse == Purse({JANUARY: 20.0}, MONDAY_S + 10 * HOUR_S)
    budget = Budget(100.0)
    budget.restore(purse)
    assert budget.spent() == 20.0
    assert charged(budget, (15.0, 4.0)).spent() == 40.0
    assert set(charged(budget, (MONTH_H + 1, 1.0)).purse().spent) == {JANUARY, FEBRUARY}


def test_when_it_is_written_down() -> None:
    """At once, and then each minute; not where there is no budget."""
    budget = Budget(100.0)
    assert [budget.due(now) for now in (5.0, 6.0, 64.9, 65.0, 66.0, 1.0)] == [True, False, False, True, False, True]
    assert not Budget(None).due(0.0)


# ===== what is left enough for =====


def test_the_least_is_paid_for_first() -> None:
    """Beside the least until the end of the month, the rest may be spent an hour ahead."""
    budget = charged(Budget(2 * MONTH_H + 100.0), (0.0, 0.0))
    assert budget.most(2, 1.0, 0.0) == 102
    assert budget.most(0, 1.0, 0.0) == 102  # less was wanted before: it rises once an hour
    assert budget.most(0, 1.0, HOUR_S) == 2 * MONTH_H + 100
    assert charged(Budget(2 * MONTH_H + 100.0), (0.0, 0.0), (50.0, 3.5)).most(2, 1.0, 0.0) == 2 + 25
    assert charged(Budget(2 * MONTH_H + 100.0), (0.0, 0.0), (50.0, 4.0)).most(2, 1.0, 0.0) == 2


def test_where_even_the_least_is_too_dear() -> None:
    """What is left is spread over the rest of the month; nothing is left of nothing."""
    assert charged(Budget(1000.0), (0.0, 0.0), (10.0, 25.0)).most(2, 1.0, 0.0) == 1  # 750 for 734 hours
    assert charged(Budget(1000.0), (0.0, 0.0), (10.0, 90.0)).most(2, 1.0, 0.0) == 0
    assert charged(Budget(100.0), (0.0, 0.0), (10.0, 90.0)).most(2, 1.0, 0.0) == 0


def test_no_bound() -> None:
    """Without a budget, a price or a clock there is none."""
    assert charged(Budget(None), (0.0, 0.0)).most(1, 1.0, 0.0) is None
    assert charged(Budget(9.0), (0.0, 0.0)).most(1, 0.0, 0.0) is None
    assert Budget(9.0).most(1, 1.0, 0.0) is None


# ===== in a pool =====

SPEC = replace(QUICK, min=1, max=6, max_monthly_cost=760.0)


@pytest.mark.slow
def test_a_pool_comes_down_in_time() -> None:
    """With the load of six all month: six while the free money lasts, then fewer, then the least until the end; in all
    no more than the budget; and in the next month six again."""
    world = World(replace(SPEC, interval_s=600.0, look_s=600.0), hourly_cost=1.0)
    world.load = 600
    world.run(HOUR_S)
    assert world.wanted == 6
    world.run(12 * HOUR_S)
    assert world.wanted == 1
    world.run((MONTH_H - 15) * HOUR_S)
    view = world.governor.views(world.now)[0]
    assert (view.wanted, view.ration, view.max_monthly_cost) == (1, 1, 760.0)
    world.run(2 * HOUR_S - 1200.0)
    assert 750.0 < world.governor.views(world.now)[0].month_cost <= 760.0
    world.run(2 * HOUR_S)
    assert world.wanted == 6


def test_it_is_alarmed_and_explained() -> None:
    """When the money begins to hold it down there is one alarm, and the bound has the name of the setting."""
    world = World(replace(SPEC, interval_s=60.0, look_s=60.0), hourly_cost=1.0)
    world.load = 600
    world.run(6 * HOUR_S)
    held = [it for it in world.decisions if "max_monthly_cost 760" in it.bounds]
    assert held[0].wanted == 5
    alarms = [it.alarm for it in world.decisions if it.alarm]
    assert alarms == ["13.32 of this month's 760.00 are spent: 5 replicas at most"]
    assert world.governor.views(world.now)[0].alarms == 1


def test_a_restart_does_not_forget() -> None:
    """What is kept each minute comes back to the next Governor, with what the found ones have cost meanwhile."""
    world = World(replace(SPEC, interval_s=20.0, look_s=20.0), hourly_cost=1.0)
    world.load = 600
    world.run(2 * HOUR_S)
    assert world.purse is not None
    spent = world.governor.views(world.now)[0].month_cost
    assert 0 <= spent - world.purse.spent[JANUARY] <= 6 * 60 / HOUR_S
    assert world.governor.purse("p") is not None
    world.restart()
    world.now += HOUR_S
    world.run(20)
    assert abs(world.governor.views(world.now)[0].month_cost - spent - 6.0) < 0.1


def test_a_blind_hour_is_charged_when_it_is_over() -> None:
    """While the actuator cannot say what runs nothing is charged; afterwards all of that time is."""
    world = World(SPEC, hourly_cost=1.0).run(10)
    world.blind = True
    world.run(HOUR_S)
    assert world.governor.views(world.now)[0].month_cost < 0.01
    world.blind = False
    world.run(2)
    assert 1.0 <= world.governor.views(world.now)[0].month_cost < 1.01
