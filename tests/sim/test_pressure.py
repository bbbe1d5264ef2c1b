"""Pressure tests: verdicts by seeds and bounds; each of the ten in a small size, with and without its mistakes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.cli.pressure import scenario_of
from penstock.config.clients import Greedy
from penstock.config.scenarios import Expect, Group, Scale, Scenario
from penstock.config.workloads import reader
from penstock.sim.compare import Trial
from penstock.sim.drills import DRILLS, Drill, smaller
from penstock.sim.mistakes import MISTAKES
from penstock.sim.pressure import (
    KNOWN,
    RATIO,
    TOLD,
    Judged,
    Played,
    bounded,
    judge,
    play,
    with_head_room,
)
from penstock.workload.arrivals import Constant
from penstock.workload.combine import Merge, Spec, Workload
from penstock.workload.lengths import Fixed, Independent
from penstock.workload.names import One
from penstock.workload.request import Request
from penstock.workload.synthetic import Synthetic
from tests.sim.support import scenario

SIZES = Independent(prompt=Fixed(tokens=100), output=Fixed(tokens=50))


def come(workload: Spec, seed: int) -> Iterator[Request]:
    """The requests."""
    return iter(Workload(workload, seed, reader(Path())))


def played(seed: int, **numbers: float) -> Played:
    """A run with these numbers."""
    return Played(seed=seed, numbers=numbers, outcomes={})


def test_a_criterion_holds_with_every_seed() -> None:
    """One of three that misses is a miss; the mean and the worst stand beside it."""
    made = scenario(expect=(Expect(metric="a", at_most=2.0), Expect(metric="b", at_least=5.0)))
    a, b = judge(made, [played(1, a=1.0, b=5.0), played(2, a=2.0, b=9.0), played(3, a=3.0, b=7.0)], None)
    assert (a.held, a.seeds, a.holds, a.mean, a.worst) == (2, 3, False, 2.0, 3.0)
    assert (b.held, b.holds, b.worst, b.bound) == (3, True, 5.0, None)


def test_the_bound_stands_beside_it() -> None:
    """What the fleet that is ordered at once reached; not where a criterion is about scaling."""
    made = scenario(expect=(Expect(metric="a", at_most=2.0), Expect(metric="reversals", at_most=0)))
    a, turns = judge(made, [played(1, a=1.0, reversals=0.0)], played(1, a=3.0, reversals=0.0))
    assert (a.bound, a.bound_holds) == (3.0, False)
    assert (turns.bound, turns.bound_holds) == (None, None)


def test_what_is_expected_in_words() -> None:
    """Either end, or both."""
    both = Expect(metric="a", at_least=1.0, at_most=2.5)
    assert both.said() == "at least 1 and at most 2.5"
    assert [both.holds(value) for value in (0.9, 1.0, 2.5, 2.6)] == [False, True, True, False]


def flood(**fields: object) -> Scenario:
    """Four replicas' work comes at once; one is there, and a start takes longer than calls may wait."""
    return scenario(
        workload=Synthetic(arrivals=Constant(rate=60.0), requests=600, sizes=SIZES),
        fleet=(Group(count=1, cost="fast", seats=4, speed=0.05, startup_s=20.0),), scale=Scale(min=1, max=6),
        expect=(Expect(metric="latency_p95_s", at_most=3.0),), **fields,
    )  # fmt: skip


@pytest.mark.slow
def test_head_room_is_found_where_the_bound_misses() -> None:
    """The smallest first fleet with which it holds: with one replica fewer it does not."""
    made = flood()
    (missed,) = judge(made, [play(Trial(made, made.policy), come, 1)], play(bounded(made), come, 1))
    assert missed.bound_holds is False
    found = with_head_room(made, missed, come, 1)
    assert found.head_room is not None
    assert 1 < found.head_room <= 6
    again = [
        with_head_room(replace(made, fleet=(replace(made.fleet[0], count=count),)), _judged(made, count), come, 1)
        for count in (found.head_room, found.head_room - 1)
    ]
    assert [one.bound_holds for one in again] == [True, False]


def _judged(made: Scenario, count: int) -> Judged:
    there = replace(made, fleet=(replace(made.fleet[0], count=count),))
    return judge(there, [play(Trial(there, there.policy), come, 1)], play(bounded(there), come, 1))[0]


def test_a_greedy_tenant_is_compared_with_itself() -> None:
    """A second run without its last part gives the ratio: 1 where the others do not notice."""
    parts = tuple(
        Synthetic(arrivals=Constant(rate=rate), requests=count, sizes=SIZES, tenant=One(name=name))
        for rate, count, name in ((10.0, 50, "t"), (2.0, 10, "g"))
    )
    made = scenario(workload=Merge(of=parts), greedy=Greedy(tenant="g", at_s=0.0, for_s=5.0))
    run = play(Trial(made, made.policy), come, 1, pictures=True)
    assert run.numbers["requests"] == 60
    assert run.numbers[RATIO] == pytest.approx(1.0, abs=0.1)
    assert run.course
    assert not play(Trial(made, made.policy), come, 1).course


def test_numbers_have_meanings() -> None:
    """Those that only pressure tests know are told."""
    assert set(TOLD) <= set(KNOWN)


def missed(drill: Drill, mistake: str) -> list[str]:
    """The criteria that a small size of a test misses, with a mistake."""
    made = smaller(scenario_of(drill), drill.smaller, drill.shorter_s)
    trial = MISTAKES[mistake].trial(made) if mistake else Trial(made, made.policy)
    return [one.metric for one in judge(made, [play(trial, come, 1)], None) if not one.holds]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("drill", "mistake"), [(drill, name) for drill in DRILLS for name in drill.mistakes],
    ids=lambda part: part if isinstance(part, str) else part.name,
)  # fmt: skip
def test_each_fails_with_its_mistakes(drill: Drill, mistake: str) -> None:
    """A test that passes with its mistake proves nothing. What is amiss in the calm does not count here."""
    assert any(not metric.startswith("calm_") for metric in missed(drill, mistake))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_a_small_size_passes(drill: Drill) -> None:
    """With the default policy and one seed."""
    assert missed(drill, "") == []
