"""The fleet's life: who joins, starts up, drains, leaves or is taken back, what the Gate hears of it, what it costs."""

from typing import Any

import pytest

from penstock.config.scenarios import Die, Drain, Fault, Group, Leave, Network, Policy, Scenario, Spot
from penstock.core.events import Event, FleetSeen
from penstock.core.route.presets import RoundRobin
from penstock.core.spec import ProbeSpec
from penstock.drive.kernel import Kernel
from penstock.sim.cloud import Cloud
from penstock.sim.lifecycle import Lifecycle
from penstock.sim.run import simulate
from tests.sim.support import request, scenario, steady

START_S = 10.0


class House:
    """A fleet, and the snapshots that are told of it: when, and who is in it (in brackets: drained)."""

    def __init__(self, *groups: Group, faults: tuple[Fault, ...] = ()) -> None:
        self.kernel = Kernel()
        self.seen: list[tuple[float, list[str]]] = []
        self.cloud = Cloud(groups, Network(), self.kernel, lambda event: None)
        self.lifecycle = Lifecycle(self.cloud, self.kernel, self._hear)
        self.lifecycle.begin(START_S, faults)

    def _hear(self, event: Event) -> None:
        assert isinstance(event, FleetSeen)
        names = [f"({replica.id})" if replica.drain else replica.id for replica in event.replicas]
        self.seen.append((self.kernel.clock(), names))

    def alive(self, at: float) -> str:
        """Whose engine runs then."""
        self.kernel.run(at)
        return " ".join(name for name, engine in self.cloud.engines.items() if not engine.dead)


def test_a_group_joins_in_its_time() -> None:
    """Before it nobody knows of it; from then on it is in the snapshot, and its engine starts up for so long."""
    house = House(Group(), Group(joins_s=60.0, startup_s=30.0))
    assert house.alive(99.0) == "r0"
    assert house.alive(101.0) == "r0 r1"
    assert house.seen == [(0.0, ["r0"]), (START_S + 60.0, ["r0", "r1"])]


def test_who_is_there_from_the_beginning_may_start_up_too() -> None:
    """It is known at once, and answers when it has started, counted from the workload's start."""
    house = House(Group(startup_s=5.0), Group())
    assert house.alive(14.9) == "r1"
    assert house.alive(15.1) == "r0 r1"
    assert house.seen == [(0.0, ["r0", "r1"])]


def test_a_drain_is_told_and_taken_back() -> None:
    """The engine goes on all the while."""
    house = House(Group(count=2), faults=(Drain(at_s=20.0, for_s=10.0, replicas=(1,)),))
    assert house.alive(50.0) == "r0 r1"
    assert house.seen[1:] == [(20.0, ["r0", "(r1)"]), (30.0, ["r0", "r1"])]


def test_who_leaves_ends_what_it_has_and_may_join_anew() -> None:
    """Its engine goes on for those whom it serves; when it comes back it starts up like a new one."""
    house = House(Group(count=2, startup_s=5.0), faults=(Leave(at_s=20.0, for_s=10.0, replicas=(0,)),))
    assert house.alive(29.0) == "r0 r1"
    assert house.alive(34.0) == "r1"
    assert house.alive(36.0) == "r0 r1"
    assert house.seen[1:] == [(20.0, ["r1"]), (30.0, ["r0", "r1"])]


def test_a_spot_replica_drains_from_its_notice_on_and_dies() -> None:
    """Notice, death thirty seconds later, and another one in its place."""
    house = House(Group(count=2), faults=(Spot(at_s=20.0, for_s=100.0, notice_s=30.0, replicas=(1,)),))
    assert house.alive(49.0) == "r0 r1"
    assert house.alive(51.0) == "r0"
    assert house.alive(121.0) == "r0 r1"
    assert [names for _, names in house.seen] == [["r0", "r1"], ["r0", "(r1)"], ["r0"], ["r0", "r1"]]
    assert [at for at, _ in house.seen] == [0.0, 20.0, 50.0, 120.0]


def test_a_start_that_was_overtaken_comes_to_nothing() -> None:
    """Taken back while it started up, it does not come up later."""
    house = House(Group(), Group(joins_s=10.0, startup_s=60.0), faults=(Spot(at_s=30.0, notice_s=10.0, replicas=(1,)),))
    assert house.alive(200.0) == "r0"


def test_who_has_left_is_neither_drained_nor_does_he_leave_again() -> None:
    """Of a replica that is away nothing is told, and who is there does not join twice."""
    one = (1,)
    faults = (Leave(at_s=20.0, replicas=one), Drain(at_s=30.0, for_s=5.0, replicas=one), Leave(at_s=40.0, replicas=one))
    house = House(Group(count=2), faults=faults)
    house.kernel.run(100.0)
    assert len(house.seen) == 2
    house = House(Group(count=2), faults=(Leave(at_s=20.0, for_s=20.0), Leave(at_s=30.0, for_s=20.0)))
    house.kernel.run(100.0)
    assert [names for _, names in house.seen] == [["r0", "r1"], ["r1"], [], ["r0"], ["r0", "r1"]]


def test_two_leaves_are_over_with_the_later_one() -> None:
    """Whichever began first; and who was to leave before he came comes in his own time."""
    one = (1,)
    faults = (Leave(at_s=20.0, for_s=40.0, replicas=one), Leave(at_s=30.0, for_s=10.0, replicas=one))
    house = House(Group(count=2), faults=faults)
    house.kernel.run(100.0)
    assert house.seen[1:] == [(20.0, ["r0"]), (60.0, ["r0", "r1"])]
    house = House(Group(), Group(joins_s=50.0), faults=(Leave(at_s=20.0, for_s=10.0, replicas=one),))
    house.kernel.run(100.0)
    assert house.seen[1:] == [(60.0, ["r0", "r1"])]


def test_a_drain_that_ends_within_a_notice_ends_nothing() -> None:
    """Who is to be taken back gets nothing new, and whoever comes in his place is drained while another drain holds."""
    one = (1,)
    faults: tuple[Fault, ...] = (
        Spot(at_s=20.0, for_s=60.0, notice_s=30.0, replicas=one), Drain(at_s=25.0, for_s=10.0, replicas=one),
        Drain(at_s=70.0, for_s=20.0, replicas=one),
    )  # fmt: skip
    house = House(Group(count=2), faults=faults)
    house.kernel.run(100.0)
    assert house.seen[1:] == [
        (20.0, ["r0", "(r1)"]), (50.0, ["r0"]), (80.0, ["r0", "(r1)"]), (90.0, ["r0", "r1"]),
    ]  # fmt: skip


def test_a_fault_that_is_over_starts_no_engine_that_was_not_there() -> None:
    """A death that ends while a replica starts up, or before it has joined, is not its start."""
    faults = (Die(at_s=12.0, for_s=2.0),)
    house = House(Group(startup_s=10.0), Group(joins_s=20.0), Group(), faults=faults)
    house.cloud.plan(faults)
    assert house.alive(15.0) == "r2"
    assert house.alive(21.0) == "r0 r2"
    assert house.alive(31.0) == "r0 r1 r2"
    over = (Die(at_s=12.0, for_s=30.0),)
    house = House(Group(startup_s=10.0), Group(), faults=over)
    house.cloud.plan(over)
    assert house.alive(41.0) == ""
    assert house.alive(43.0) == "r0 r1"


def test_a_replica_costs_from_its_joining_to_its_leaving() -> None:
    """As the mean over an hour: one is there throughout, one comes after half of it, one leaves after a quarter."""
    hour_s = 3600.0
    house = House(
        Group(hourly_cost=1.0), Group(hourly_cost=8.0, joins_s=hour_s / 2), Group(hourly_cost=4.0),
        faults=(Leave(at_s=START_S + hour_s / 4, replicas=(2,)),),
    )  # fmt: skip
    house.kernel.run(START_S + hour_s)
    assert house.lifecycle.hourly_cost(START_S, START_S + hour_s) == pytest.approx(1.0 + 4.0 + 1.0)


def test_a_fleet_that_stays_costs_what_its_groups_say() -> None:
    """However short the run."""
    house = House(Group(count=3, hourly_cost=2.0))
    assert house.lifecycle.hourly_cost(5.0, 5.0) == 6.0


def test_what_is_there_now_costs_so_much() -> None:
    """How many replicas, and their cost an hour together: a group that has not joined yet costs nothing."""
    house = House(Group(count=2, hourly_cost=2.0), Group(hourly_cost=5.0, joins_s=60.0))
    assert house.lifecycle.spending() == (2, 4.0)
    house.kernel.run(START_S + 61.0)
    assert house.lifecycle.spending() == (3, 9.0)


# ===== as requests meet it =====


def two(*faults: Fault, later: Group | None = None, **fields: Any) -> Scenario:
    """Two replicas whose health is looked at every second."""
    groups = (Group(cost="fast", seats=4), later or Group(cost="fast", seats=4))
    policy = Policy(strategy=RoundRobin(), probe=ProbeSpec(interval_s=1.0))
    return scenario(fleet=groups, faults=faults, policy=policy, **fields)


def test_who_joins_serves_only_what_comes_after() -> None:
    """It joins at 1 s and has started at 3 s: of four seconds of requests it serves at most the last one's."""
    made = two(later=Group(cost="fast", seats=4, joins_s=1.0, startup_s=2.0))
    result = simulate(made, made.policy, steady(400, 0.01), 1)
    assert result.outcomes == {"ok": 400}
    assert 0 < result.replicas["r1"] <= 50


def test_a_drain_loses_nothing() -> None:
    """One of two drains for two of four seconds under load: all are answered, most by the other one."""
    made = two(Drain(at_s=1.0, for_s=2.0, replicas=(1,)))
    result = simulate(made, made.policy, steady(400, 0.01, output_tokens=200), 1)
    assert result.outcomes == {"ok": 400}
    assert 75 <= result.replicas["r1"] <= 110


def test_a_spot_notice_saves_what_is_short_enough() -> None:
    """Both of two have a notice of a second: answers of 0.4 s end in it, one of 20 s is broken off."""
    made = two(Spot(at_s=1.0, notice_s=1.0))
    some = [request(0.1 * number, 100, 2000) for number in range(9)]
    assert simulate(made, made.policy, some, 1).outcomes == {"ok": 9}
    result = simulate(made, made.policy, [request(0.0, 100, 100_000), *some], 1)
    assert result.outcomes == {"died_mid_answer": 1, "ok": 9}


def test_a_far_group_is_as_far_as_it_says() -> None:
    """The same engine 200 ms away: a lone request's first token comes so much later."""
    near, far = (
        simulate(made, made.policy, [request(0.0)], 1).ttft_mean_s
        for made in (scenario(fleet=(Group(cost="fast", round_trip_s=trip),)) for trip in (None, 0.2))
    )
    assert far - near == pytest.approx(0.2 - 0.001)
