"""The opponents: each makes its one mistake, and nothing else is changed."""

import pytest

from penstock.base.errors import ConfigError
from penstock.config.scenarios import Die, Group, Policy, Slow
from penstock.core.route.presets import Adaptive
from penstock.core.spec import QueueSpec
from penstock.sim.compare import Trial, compare
from penstock.sim.opponents import MARK, OPPONENTS, opposed, split
from penstock.sim.tally import Result
from penstock.workload.request import Request
from tests.sim.support import request, scenario, steady


def played(name: str, requests: list[Request], **fields: object) -> Result:
    """What came of one opponent."""
    made = scenario(**fields)
    trials = opposed({"own": Trial(made, made.policy)}, [name])
    return compare(trials, (1,), lambda seed: requests, lambda policy, seed: None).columns[0].runs[0]


def test_names_are_parted_from_strategies() -> None:
    """With their mark, or all of them by one word; what is left are strategies."""
    assert split("adaptive, opponent:random,round_robin") == ("adaptive,round_robin", ["random"])
    assert split("opponents") == (None, [*OPPONENTS])
    assert split(None) == (None, [])


def test_an_unknown_one_is_told_with_those_that_there_are() -> None:
    """A slip costs no simulation."""
    with pytest.raises(ConfigError, match="there are opponent:single_instance"):
        split("opponent:nobody")


@pytest.mark.parametrize("name", OPPONENTS)
def test_each_answers_a_light_load(name: str) -> None:
    """Where there is little to do a mistake loses nothing."""
    result = played(name, steady(30, 0.05))
    assert (result.requests, result.ok) == (30, 30)


def test_a_single_instance_gets_everything_and_its_own_faults() -> None:
    """Of two groups the first one's first replica is left, with the faults that befall it."""
    made = scenario(
        fleet=(Group(count=2, cost="fast"), Group(cost="fast")),
        faults=(Slow(at_s=0.0, factor=2.0, replicas=(0, 2)), Die(at_s=9.0, replicas=(1,)), Slow(at_s=9.0, factor=3.0)),
    )
    trial = opposed({"own": Trial(made, made.policy)}, ["single_instance"])["opponent:single_instance"]
    assert sum(group.count for group in trial.scenario.fleet) == 1
    assert [fault.replicas for fault in trial.scenario.faults] == [(0,), ()]


def test_a_single_instance_is_there_from_the_beginning() -> None:
    """Also where the fleet's first group joins later: there is nobody else."""
    fleet = (Group(cost="fast", joins_s=50.0), Group(cost="fast"))
    assert played("single_instance", steady(5), fleet=fleet).outcomes == {"ok": 5}


def test_a_sticky_session_waits_for_its_replica() -> None:
    """Two replicas of one seat, and one session that sends all: the other replica has nothing."""
    requests = [request(0.01 * at, session="s") for at in range(20)]
    fleet = (Group(count=2, cost="fast", seats=1),)
    assert played("sticky_sessions", requests, fleet=fleet).replicas == {"r0": 20, "r1": 0}


def test_blind_turns_ignore_how_many_a_replica_can_take() -> None:
    """One of two has a single seat and is a hundred times slower: it gets half of the requests, and nobody waits in the
    gateway."""
    fleet = (Group(cost="fast", seats=8), Group(cost="fast", speed=0.01, seats=1))
    result = played("blind_round_robin", steady(40, 0.001), fleet=fleet)
    assert result.replicas == {"r0": 20, "r1": 20}
    assert result.queue_p95_s == 0.0


def test_one_queue_knows_neither_tenants_nor_priorities() -> None:
    """A critical call behind a flood waits for all of it; whose calls they were is still counted."""
    flood = [request(0.0, tenant="many", output_tokens=100) for _ in range(40)]
    requests = [*flood, request(0.001, tenant="few", priority=0)]
    fleet = (Group(cost="fast", seats=1),)
    fair = scenario(fleet=fleet)
    own = compare({"own": Trial(fair, fair.policy)}, (1,), lambda seed: requests, lambda policy, seed: None)
    fifo = played("global_fifo", requests, fleet=fleet)
    assert fifo.duration_s == pytest.approx(own.columns[0].runs[0].duration_s)
    assert fifo.ttft_p99_s >= own.columns[0].runs[0].ttft_p99_s
    assert fifo.fairness < 0.6


def test_without_a_bound_nobody_waits_in_the_gateway() -> None:
    """Forty calls at once for two replicas of four seats: all are sent, though the engines run one at a time."""
    fleet = (Group(count=2, cost="fast", seats=4, max_num_seqs=1),)
    result = played("no_bound", [request(0.0) for _ in range(40)], fleet=fleet)
    assert (result.ok, result.queue_p95_s) == (40, 0.0)
    assert result.ttft_p95_s > 5 * result.ttft_p50_s / 10


def test_a_policys_own_settings_are_kept() -> None:
    """What is no part of the mistake is as the scenario says."""
    policy = Policy(strategy=Adaptive(prefix=0.7), queue=QueueSpec(timeout_s=3.0))
    made = scenario(policy=policy)
    trial = opposed({"own": Trial(made, policy)}, ["global_fifo"])[f"{MARK}global_fifo"]
    assert trial.policy.strategy == policy.strategy
    assert trial.policy.queue.timeout_s == 3.0


def test_each_fleet_has_its_own() -> None:
    """Where several sizes are tried, names tell whose opponent it is."""
    small, large = scenario(fleet=(Group(cost="fast"),)), scenario(fleet=(Group(count=3, cost="fast"),))
    trials = {"a x1": Trial(small, small.policy), "a x3": Trial(large, large.policy)}
    assert list(opposed(trials, ["random"])) == ["opponent:random x1", "opponent:random x3"]
