"""What comes too late: answers, closings and losses that are on their way when nobody waits for them any more."""

from penstock.config.scenarios import Network, RegionDark
from penstock.core.effects import Cancel
from penstock.core.events import Began, Failed
from tests.sim.test_cloud import House

FAR = Network(round_trip_s=0.2)


def test_an_answer_on_its_way_to_who_has_hung_up_is_not_told() -> None:
    """The engine has ended it, the gateway cancels in the same tenth of a second."""
    house = House(FAR)
    house.send("c", 1)
    house.kernel.run(0.15)
    assert (house.engine.batcher.running, house.heard) == (0, [])
    house.engine.abort(Cancel("c", 1))
    house.kernel.run(1.0)
    assert house.heard == []


def test_a_loss_in_the_dark_is_not_told_to_who_has_hung_up() -> None:
    """One of two connections is closed by the gateway before it is known to be lost."""
    house = House()
    house.send("a", 1000)
    house.send("b", 1000)
    house.kernel.run(0.05)
    house.engine.darken()
    house.kernel.run(1.0)
    house.engine.abort(Cancel("a", 1))
    house.kernel.run(30.0)
    failed = [event for event in house.facts() if isinstance(event, Failed)]
    assert failed == [Failed("b", 1, "died_mid_answer")]


def test_what_a_region_that_is_cut_off_worked_on_is_given_up() -> None:
    """Nobody will fetch it: its seats are free, and when it can be reached again nothing of it comes."""
    house = House()
    house.send("c", 5000)
    house.kernel.run(0.05)
    house.engine.darken()
    assert house.engine.batcher.running == 0
    house.engine.lighten()
    house.kernel.run(60.0)
    assert house.facts() == [Began("c", 1), Failed("c", 1, "died_mid_answer")]


def test_a_request_on_its_way_into_the_dark_does_not_arrive() -> None:
    """Its engine never hears of it, and the gateway gives it up in its time."""
    house = House(FAR)
    house.send("c", 1)
    house.kernel.run(0.05)
    house.engine.darken()
    house.kernel.run(30.0)
    assert house.facts() == [Failed("c", 1, "first_byte_timeout")]
    assert house.engine.batcher.counters.prompt_tokens == 0


def test_what_a_thaw_has_closed_does_not_time_out_as_well() -> None:
    """A frozen engine's answer would have been given up by its idle time-out, long after the thaw closed it."""
    house = House()
    house.send("c", 1000)
    house.kernel.run(0.05)
    house.engine.freeze()
    house.kernel.run(1.0)
    house.engine.thaw()
    house.kernel.run(300.0)
    assert house.facts() == [Began("c", 1), Failed("c", 1, "died_mid_answer")]


def test_a_replica_that_is_started_in_the_dark_is_in_it() -> None:
    """And can be reached when its region can."""
    house = House(region="eu")
    house.cloud.plan((RegionDark(at_s=1.0, for_s=2.0, region="eu"),))
    house.kernel.run(2.0)
    late = house.cloud.add("late", house.engine.group)
    assert late.dark_since == 2.0
    house.kernel.run(4.0)
    assert late.dark_since is None
