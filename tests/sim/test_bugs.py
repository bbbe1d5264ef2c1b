"""What a simulated fleet is scaled by where that is wrong."""

import pytest

from penstock.config.scenarios import Die, Runaway, Scale
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.drive.kernel import Kernel
from penstock.sim.bugs import A_BILLION, BUSY_CPU, IDLE_CPU, Bugs

WINDOW = Window(queued=3, replicas=(ReplicaSeen(id="r0", well=True, loading=False, in_flight=2, seats=4),))


def test_without_bugs_all_is_told_as_it_is() -> None:
    """The window passes untouched."""
    assert Bugs(Scale(), Kernel()).told(WINDOW) is WINDOW


def test_a_runaway_comes_and_goes() -> None:
    """While it lasts a billion calls wait; the replicas are told as they are."""
    kernel = Kernel()
    bugs = Bugs(Scale(), kernel)
    bugs.begin((Runaway(at_s=5.0, for_s=10.0), Die(at_s=1.0)))
    queued = []
    for second in (4.0, 6.0, 16.0):
        kernel.run(second)
        queued.append(bugs.told(WINDOW).queued)
    assert queued == [3, A_BILLION, 3]
    assert bugs.told(WINDOW).replicas == WINDOW.replicas


def test_cpus_hardly_follow_the_load() -> None:
    """In place of the GPU's utilisation stands the host's: half of the seats in use is half of the way between idle and
    busy, and a flood is no more than busy."""
    bugs = Bugs(Scale(reads_cpu=True), Kernel())
    (half,) = bugs.told(WINDOW).replicas
    assert half.gpu == pytest.approx((IDLE_CPU + BUSY_CPU) / 2)
    flood = Window(queued=0, replicas=(ReplicaSeen(id="r", well=True, loading=False, in_flight=99, seats=4),))
    assert bugs.told(flood).replicas[0].gpu == pytest.approx(BUSY_CPU)
