"""The clairvoyant's plan: nobody has fewer replica-hours for the same need, and it is played as it was made."""

from itertools import pairwise, product

import pytest

from bench.scaling_plan import GRAIN_S, Stay, plan, service_s, stays, work
from penstock.config.scenarios import Group
from penstock.workload.request import Request

GROUP = Group(count=2, cost="demo", seats=4, startup_s=2 * GRAIN_S)


def cost(planned: list[Stay], startup_s: float) -> float:
    """Seconds of replicas, their starts included."""
    return sum(stay.end_s - stay.start_s + startup_s for stay in planned)


def cheapest(need: list[int], startup: int) -> float:
    """Of all ways to keep replicas over pauses, by trying each of them for each layer."""
    best = 0.0
    for layer in range(1, max(need) + 1):
        at = [place for place, count in enumerate(need) if count >= layer]
        pauses = [later - sooner - 1 for sooner, later in pairwise(at)]
        real = [pause for pause in pauses if pause]
        ways = [
            sum(pause if keep else startup for pause, keep in zip(real, kept))
            for kept in product((0, 1), repeat=len(real))
        ]
        best += (len(at) + startup + min(ways)) * GRAIN_S
    return best


@pytest.mark.parametrize("need", [[1, 3, 1, 1, 1, 2, 0, 2], [2, 0, 2], [0, 0, 1], [3, 1, 0, 0, 0, 1, 3, 3, 0, 1]])
def test_no_plan_is_cheaper(need: list[int]) -> None:
    """Against all other ways to have what is needed, for small needs."""
    planned = stays(need, GROUP.startup_s)
    for at, count in enumerate(need):
        serving = sum(stay.start_s <= at * GRAIN_S < stay.end_s for stay in planned)
        assert serving >= count
    assert cost(planned, GROUP.startup_s) == cheapest(need, 2)


def test_work_is_counted_where_it_is_done() -> None:
    """A call of a grain and a half has one seat in the first and half a seat in the second."""
    assert work([0.0], [1.5 * GRAIN_S]) == [1.0, 0.5]
    assert work([0.0, 0.0], [GRAIN_S / 2, GRAIN_S / 4])[0] == 0.75


def test_a_plan_has_two_at_least_and_fills_what_it_is_told() -> None:
    """Eight calls at once are two replicas of four seats, or three where nine tenths of the seats may be filled."""
    at, takes = [0.0] * 8, [GRAIN_S] * 8
    assert len(plan(at, takes, GROUP, 1.0)) == 2
    assert len(plan(at, takes, GROUP, 0.9)) == 3
    assert len(plan([0.0], [1.0], GROUP, 1.0)) == 2


def test_a_call_takes_longer_on_a_slower_replica() -> None:
    """Half the speed, twice the time; a longer answer more than that."""
    slow = Group(cost="demo", seats=4, speed=0.5)
    assert service_s(slow, Request(0, 100, 50)) == pytest.approx(2 * service_s(GROUP, Request(0, 100, 50)))
    assert service_s(GROUP, Request(0, 100, 100)) > 1.5 * service_s(GROUP, Request(0, 100, 50))
