"""What a fleet serves: pools and their models, requests that name one, fallbacks, and results by model."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.base.nouns import CallRow
from penstock.config.scenarios import Expect, Scenario, read_scenario
from penstock.config.workloads import reader
from penstock.core.route.presets import LeastLoaded, RoundRobin
from penstock.sim.compare import Trial, compare, unknown, verdicts
from penstock.sim.opponents import OPPONENTS
from penstock.sim.oracle import bound, least_work
from penstock.sim.run import Run
from penstock.sim.served import MOST_NAMES, OTHERS, Served
from penstock.workload.combine import Workload
from tests.sim.support import request

POOLS = """
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate: 8}
  model: {kind: weighted, weights: {small: 3, large: 1}}
  requests: 200
fleet:
  - {count: 2, cost: fast, seats: 4, pool: light}
  - {count: 1, cost: demo, seats: 4, pool: heavy}
pools:
  light: {models: [small]}
  heavy: {models: [large, huge], policy: {strategy: round_robin}}
aliases: {gpt: large}
fallback: {large: [small]}
policy: {strategy: least_loaded}
seeds: [1]
"""


def made(more: str = "") -> Scenario:
    """Two pools."""
    return read_scenario(POOLS + more, "pools.yaml")


def played(scenario: Scenario) -> Run:
    """One run that is over."""
    run = Run(scenario, scenario.policy, Workload(scenario.workload, 1, reader(Path())), 1)
    run.go()
    return run


def test_each_pool_has_its_models_and_its_policy() -> None:
    """Its own where it has one, else the scenario's."""
    light, heavy = Served(made(), made().policy).pools
    assert (light.name, light.models, light.strategy) == ("light", ("small",), LeastLoaded())
    assert (heavy.name, heavy.models, heavy.strategy) == ("heavy", ("large", "huge"), RoundRobin())


def test_requests_go_to_who_serves_their_model() -> None:
    """About three quarters are for the small model, all are answered by their own pool, and each model has numbers."""
    result = played(made()).tally.result(0.0)
    assert list(result.models) == ["large", "small"]
    small, large = result.models["small"], result.models["large"]
    assert small.requests + large.requests == result.requests == 200
    assert 130 < small.requests < 170
    assert (small.failed, large.failed, small.elsewhere, large.elsewhere) == (0, 0, 0, 0)
    assert result.replicas["r2"] == large.requests
    assert small.ttft_p95_s < large.ttft_p50_s
    assert small.ok + large.ok == result.ok


def test_a_dead_pools_requests_fall_back() -> None:
    """The only replica of the large model is dead: what asks for it is answered by the small one after the probes have
    found that, and counted as answered by another."""
    result = played(made("faults: [{kind: die, at: 0s, replicas: [2]}]\n")).tally.result(0.0)
    large = result.models["large"]
    assert large.elsewhere > 0.9 * large.requests
    assert result.replicas["r2"] == 0


def test_names_and_their_aliases() -> None:
    """No name is the first model of the first pool, an alias is its model, and what nobody serves is refused."""
    scenario = made()
    asked = [request(0.1 * at, model=model) for at, model in enumerate(["", "gpt", "huge", "nobody"])]
    result = Run(scenario, scenario.policy, asked, 1).go().result
    assert result.outcomes == {"model_not_found": 1, "ok": 3}
    assert {name: each.ok for name, each in result.models.items()} == {"gpt": 1, "huge": 1, "nobody": 0, "small": 1}
    assert result.replicas["r2"] == 2


def test_adapters_are_served_beside_their_model_and_only_by_who_holds_them() -> None:
    """A pool that holds adapters has a model more for each; another pool's requests are for its model."""
    text = POOLS.replace("pool: light}", "pool: light, loras: {max_loras: 2, load: 0s}}").replace(
        "requests: 200", "adapter: {kind: zipf, count: 2, prefix: a}\n  requests: 200"
    )
    scenario = read_scenario(text, "pools.yaml")
    served = Served(scenario, scenario.policy)
    assert served.pools[0].models == ("small", "small/a1", "small/a2")
    assert served.name(request(0.0, model="small", adapter="a1")) == "small/a1"
    assert served.name(request(0.0, model="gpt", adapter="a1")) == "gpt"
    result = played(scenario).tally.result(0.0, 0)
    assert list(result.models) == ["large", "small"]
    assert result.failed == 0


def test_names_that_nobody_serves_do_not_pile_up() -> None:
    """Beyond a hundred they count together."""
    served = Served(made(), made().policy)
    row = CallRow(
        "c", "", 0.0, "t", "", "m", "", "", "", "model_not_found", 404, True, 2, 0, 0.0, None, 0.0, None, 0
    )  # fmt: skip
    names = [served.place(replace(row, model=f"m{at}")).model for at in range(MOST_NAMES + 5)]
    assert names[MOST_NAMES - 1] == f"m{MOST_NAMES - 1}"
    assert set(names[MOST_NAMES:]) == {OTHERS}


def test_what_is_expected_of_one_model_is_held_against_it() -> None:
    """By its own number; what is no number of a model, or of a pool's model, is told."""
    scenario = made("expect: [{metric: requests, model: large, at_most: 100}, {metric: failed, at_most: 0}]\n")
    found = compare(
        {"a": Trial(scenario, scenario.policy)}, (1,), lambda seed: Workload(scenario.workload, seed, reader(Path())),
        lambda policy, seed: None,
    )  # fmt: skip
    first, second = verdicts(found, scenario.expect)
    assert (first.metric, second.metric) == ("requests of large", "failed")
    assert first.value == found.columns[0].runs[0].models["large"].requests
    assert first.holds
    (mistake,) = unknown([Expect(metric="duration_s", model="large")])
    assert "no number of one model" in mistake


def test_nobody_beats_the_bound_of_several_pools() -> None:
    """Each request alone on who may answer it; who looks inside the engines is not better either."""
    scenario = made()
    requests = list(Workload(scenario.workload, 1, reader(Path())))
    least = bound(scenario, requests)
    result = played(scenario).tally.result(0.0)
    assert least["ttft_p50_s"] <= result.ttft_p50_s
    assert least["e2e_mean_s"] <= result.e2e_mean_s
    assert least["requests"] == 200
    assert least_work(scenario, requests, 1).failed == 0
    unserved = bound(scenario, [request(0.0, model="nobody")])
    assert (unserved["requests"], unserved["failed"], unserved["goodput"]) == (1, 1, 0)


@pytest.mark.parametrize("name", list(OPPONENTS))
def test_opponents_make_their_mistake_in_every_pool(name: str) -> None:
    """Every model is still answered, and a single instance is one of each pool."""
    scenario = made("faults: [{kind: slow, at: 1s, for: 2s, factor: 2, replicas: [1, 2]}]\n")
    trial = OPPONENTS[name].trial(scenario, scenario.policy)
    result = played(trial.scenario).tally.result(0.0)
    assert result.failed == 0
    if name == "single_instance":
        assert list(result.replicas) == ["r0", "r1"]
        assert [fault.replicas for fault in trial.scenario.faults] == [(1,)]
