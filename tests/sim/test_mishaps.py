"""When what goes wrong: each fault begins and ends at its time, with the replicas that it names."""

from collections.abc import Callable

import pytest

from penstock.config.scenarios import Die, Fault, Flap, Freeze, Group, MetricsOutage, Network, Slow
from penstock.drive.kernel import Kernel
from penstock.sim.cloud import Cloud, Engine
from penstock.sim.mishaps import Mishaps


def states(fault: Fault, read: Callable[[Engine], object], *seconds: float) -> list[list[object]]:
    """What is read of each of two engines at these times."""
    kernel = Kernel()
    cloud = Cloud((Group(count=2, cost="fast"),), Network(), kernel, lambda event: None)
    Mishaps(cloud, kernel).plan((fault,))
    found = []
    for second in seconds:
        kernel.run(second)
        found.append([read(engine) for engine in cloud.engines.values()])
    return found


@pytest.mark.parametrize(
    ("fault", "read", "well", "ill"),
    [
        (Die(at_s=1.0, for_s=2.0, replicas=(1,)), lambda engine: engine.dead, False, True),
        (Slow(at_s=1.0, for_s=2.0, replicas=(1,), factor=3.0), lambda engine: engine.slowed, 1.0, 3.0),
        (Freeze(at_s=1.0, for_s=2.0, replicas=(1,)), lambda engine: engine.frozen, False, True),
        (MetricsOutage(at_s=1.0, for_s=2.0, replicas=(1,)), lambda engine: engine.mute, False, True),
    ],
    ids=["die", "slow", "freeze", "metrics_outage"],
)
def test_it_comes_and_goes(fault: Fault, read: Callable[[Engine], object], well: object, ill: object) -> None:
    """Well before, ill meanwhile, well after; the other one throughout."""
    assert states(fault, read, 0.5, 1.5, 3.5) == [[well, well], [well, ill], [well, well]]


def test_without_names_it_befalls_all() -> None:
    """And without an end it stays."""
    assert states(Die(at_s=1.0), lambda engine: engine.dead, 0.5, 99.0) == [[False, False], [True, True]]


def test_an_unnoticed_death() -> None:
    """Who runs it does not see it, until it is started anew."""
    fault = Die(at_s=1.0, for_s=1.0, replicas=(0,), noticed=False)
    assert states(fault, lambda engine: engine.noticed, 0.5, 1.5, 2.5) == [[True, True], [False, True], [True, True]]


def test_flapping() -> None:
    """Dead and alive by turns of half a period, and alive in the end."""
    fault = Flap(at_s=1.0, for_s=3.5, period_s=2.0, replicas=(0,))
    alive = states(fault, lambda engine: not engine.dead, 0.5, 1.5, 2.5, 3.5, 4.2, 9.0)
    assert [first for first, _ in alive] == [True, False, True, False, True, True]
