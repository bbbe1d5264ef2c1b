"""Mistakes change one thing of a scenario, and say what."""

import pytest

from penstock.config.scenarios import Die, Group, Scale, Spot, Storm
from penstock.core.scale.spot import SpotSpec
from penstock.sim.drills import DRILLS
from penstock.sim.mistakes import MISTAKES
from tests.sim.support import request, scenario

MADE = scenario(
    scale=Scale(min=1, max=5, max_hourly_cost=9.0),
    faults=(Spot(at_s=10.0, notice_s=30.0, for_s=90.0, replicas=(0,)), Die(at_s=1.0, replicas=(1,))),
)  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_it_changes_something_and_not_what_comes(name: str) -> None:
    """Load, engines and criteria stay; without a fleet that scales itself it is still a scenario."""
    trial = MISTAKES[name].trial(MADE)
    assert trial.scenario != MADE
    assert trial.policy == trial.scenario.policy
    assert (trial.scenario.workload, trial.scenario.fleet, trial.scenario.expect) == (MADE.workload, MADE.fleet, ())
    assert MISTAKES[name].told
    assert MISTAKES[name].trial(scenario(fleet=(Group(count=2),))).scenario.scale is None


def test_no_ceiling() -> None:
    """Money does not bound it, and a number only far off."""
    scale = MISTAKES["no_ceiling"].trial(MADE).scenario.scale
    assert scale is not None
    assert (scale.max, scale.max_hourly_cost) == (50, None)


def test_no_drain() -> None:
    """A notice is not heard: the replica dies when it would have been over, and comes back when it would have."""
    taken, dead = MISTAKES["no_drain"].trial(MADE).scenario.faults
    assert taken == Die(at_s=40.0, for_s=60.0, replicas=(0,))
    assert dead == MADE.faults[1]


def test_no_drain_in_a_storm() -> None:
    """Replicas end when they would have, and nobody knew."""
    spot = scenario(scale=Scale(spot=SpotSpec()), faults=(Storm(at_s=60.0, for_s=300.0, notice_s=120.0),))
    (storm,) = MISTAKES["no_drain"].trial(spot).scenario.faults
    assert storm == Storm(at_s=180.0, for_s=300.0, notice_s=0.0)


def test_no_failover() -> None:
    """One attempt, and a death is noticed by nobody."""
    made = MISTAKES["no_failover"].trial(MADE).scenario
    assert made.policy.retries.attempts == 1
    assert [fault.noticed for fault in made.faults if isinstance(fault, Die)] == [False]


def test_fifo_forgets_classes() -> None:
    """Calls lose their priority on the way in, and wait by arrival."""
    trial = MISTAKES["fifo"].trial(MADE)
    assert trial.policy.queue.order == "score"
    assert trial.shape is not None
    assert trial.shape(request(0.0, priority=0)).priority == 2


def test_every_test_names_mistakes_that_there_are() -> None:
    """Each test has one that it must fail with, and each mistake a test that finds it."""
    named = {name for drill in DRILLS for name in drill.mistakes}
    assert all(drill.mistakes for drill in DRILLS)
    assert named == set(MISTAKES)
