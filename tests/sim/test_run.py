"""One run: every request ends once, equal seeds are equal runs, and what goes wrong is survived."""

import pytest

from penstock.base.rand import Rand
from penstock.config.scenarios import Die, Flap, Freeze, Group, MetricsOutage, Policy, Slow
from penstock.core.limits.spec import AllowanceSpec
from penstock.core.route.presets import Adaptive, LeastLoaded, LeastResponseTime, RoundRobin
from penstock.core.spec import BenchmarkSpec, HedgeSpec, TimeoutSpec
from penstock.sim.run import Run, simulate
from penstock.workload.request import Request
from tests.sim.support import request, scenario, steady


def bursts(seed: int, count: int = 300) -> list[Request]:
    """Requests by chance."""
    rng, at, found = Rand(seed).stream("requests"), 0.0, []
    for _ in range(count):
        at += rng.expovariate(60.0)
        found.append(request(at, rng.randint(10, 800), rng.randint(1, 60)))
    return found


def test_every_request_ends_once_and_tokens_are_kept() -> None:
    """All are answered, and the tokens that came out are those that were asked for."""
    requests = bursts(1)
    result = simulate(scenario(), Policy(), requests, 1)
    assert (result.requests, result.ok, result.failed) == (300, 300, 0)
    wanted = sum(each.output_tokens for each in requests)
    assert result.output_tokens_per_s * result.duration_s == pytest.approx(wanted)


def test_no_requests_are_a_run_too() -> None:
    """An empty workload ends at once."""
    assert simulate(scenario(), Policy(), [], 1).requests == 0


def test_equal_seeds_are_equal_runs_to_the_last_order() -> None:
    """The digest of all facts and orders is the same twice, and another one with another seed."""
    made = scenario(policy=Policy(strategy=Adaptive()))
    digests = [Run(made, made.policy, bursts(2), seed).go(digest=True).journal for seed in (7, 7, 8)]
    assert digests[0] == digests[1] != digests[2]


def test_round_robin_gives_each_replica_its_turn() -> None:
    """Of forty requests each of two replicas has twenty."""
    made = scenario()
    assert simulate(made, made.policy, steady(40), 1).replicas == {"r0": 20, "r1": 20}


def test_an_unloaded_engines_times_are_the_cost_models() -> None:
    """One request alone: the prompt's step until the first token, and a step for each further one, plus the way."""
    made = scenario(fleet=(Group(cost="fast"),))
    result = simulate(made, made.policy, [request(0.0, 1000, 11)], 1)
    read_s, step_s = 0.0002 + 1000 * 0.2e-6, 0.0002 + 2e-6
    assert result.ttft_mean_s == pytest.approx(read_s + 0.001, rel=1e-6)
    assert result.e2e_mean_s == pytest.approx(read_s + 10 * step_s + 0.001, rel=1e-6)


def test_a_shared_beginning_is_found_where_it_was_sent() -> None:
    """Twenty prompts that begin alike, on one replica: all but the first find 512 of their 600 tokens."""
    made = scenario(fleet=(Group(cost="fast"),))
    requests = steady(20, 0.1, prompt_tokens=600, blocks=(9,), block_tokens=512)
    assert simulate(made, made.policy, requests, 1).prefix_hits == pytest.approx(19 * 512 / (20 * 600))


def test_a_death_costs_only_what_had_begun() -> None:
    """One of two replicas dies under load and comes back: whatever had no token yet is answered by the other."""
    made = scenario(faults=(Die(at_s=1.0, for_s=2.0, replicas=(0,)),))
    result = simulate(made, made.policy, steady(500, 0.01, output_tokens=40), 1)
    assert set(result.outcomes) <= {"ok", "died_mid_answer"}
    assert result.outcomes.get("died_mid_answer", 0) <= 4
    assert result.attempts > 1.0


def test_a_slow_replica_gets_less_from_who_looks() -> None:
    """One of four is ten times slower: with least_loaded it gets fewer than a fair share."""
    made = scenario(
        fleet=(Group(count=4, cost="demo", seats=4),), faults=(Slow(at_s=0.0, factor=10.0, replicas=(0,)),),
        policy=Policy(strategy=LeastLoaded()),
    )  # fmt: skip
    replicas = simulate(made, made.policy, steady(200, 0.2, output_tokens=10), 1).replicas
    assert replicas["r0"] < 0.5 * sum(replicas.values()) / 4


def test_a_frozen_replica_is_left_by_its_time_out() -> None:
    """It answers probes and nothing else: what it took in is answered elsewhere after the first-byte time-out."""
    policy = Policy(timeouts=TimeoutSpec(first_byte_s=1.0))
    made = scenario(faults=(Freeze(at_s=0.5, replicas=(0,)),), policy=policy)
    result = simulate(made, made.policy, steady(200, 0.02), 1)
    assert result.outcomes == {"ok": 200}


def test_flapping_and_an_outage_of_metrics_lose_nothing_that_had_not_begun() -> None:
    """A replica that is dead every other second, and no metrics at all: answers go on."""
    made = scenario(faults=(Flap(at_s=0.5, for_s=8.0, replicas=(1,), period_s=1.0), MetricsOutage(at_s=0.0)))
    result = simulate(made, made.policy, steady(800, 0.01), 1)
    assert set(result.outcomes) <= {"ok", "died_mid_answer"}
    assert result.ok >= 0.97 * result.requests


def test_a_request_that_is_too_long_is_the_clients_mistake() -> None:
    """An engine that cannot hold it says so."""
    made = scenario(fleet=(Group(cost="fast", max_model_len=1000),))
    assert simulate(made, made.policy, [request(0.0, 2000, 10)], 1).outcomes == {"status_400": 1}


def test_memory_does_not_grow_with_what_is_over() -> None:
    """After a run nothing of its requests is left in it."""
    made = scenario()
    run = Run(made, made.policy, iter(steady(300)), 1)
    run.go()
    assert not run._flying
    assert not any(run.gate.counts().values())


def test_a_slow_beginning_gets_a_second_attempt() -> None:
    """With hedging, the calls of a replica that crawls are answered by the other one after the delay."""
    made = scenario(faults=(Slow(at_s=0.0, factor=5000.0, replicas=(0,)),))
    plain = simulate(made, Policy(strategy=RoundRobin()), steady(20, 1.0), 1)
    hedged = Policy(strategy=RoundRobin(), hedge=HedgeSpec(delay_s=0.1, budget=1.0))
    result = simulate(made, hedged, steady(20, 1.0), 1)
    assert plain.ttft_p95_s > 1.0
    assert result.ttft_p95_s < 0.2
    assert result.ok == 20


def test_benchmarks_tell_new_replicas_apart() -> None:
    """Before the first call: the quicker of two gets it, whichever was listed first."""
    policy = Policy(strategy=LeastResponseTime(), benchmark=BenchmarkSpec(enabled=True))
    made = scenario(fleet=(Group(cost="demo"), Group(cost="fast")))
    assert simulate(made, policy, [request(10.0)], 1).replicas == {"r0": 0, "r1": 1}


def test_a_traces_model_names_are_no_hindrance() -> None:
    """One pool serves whatever model a recorded request was for."""
    made = scenario()
    assert simulate(made, made.policy, [request(0.0, model="gpt-4")], 1).ok == 1


def test_tenants_are_held_to_limits() -> None:
    """Ten requests a second for ten seconds, of one tenant that may have two: about twenty are served, and all of a
    tenant that sends one a second; with `queue` some wait, and hardly more are served, because the rate is the rate."""
    mixed = steady(100, 0.1, tenant="greedy") + steady(10, 1.0, tenant="modest")
    requests = sorted(mixed, key=lambda one: one.at_ns)
    refuse, queue = (
        Policy(limits=AllowanceSpec(requests_per_second=2, over_limit=over, wait_s=2.0)) for over in ("refuse", "queue")
    )
    for policy, most in ((refuse, 20), (queue, 24)):
        run = Run(scenario(policy=policy), policy, requests, 1)
        result = run.go().result
        assert result.requests == 110
        assert 10 + 16 <= result.ok <= 10 + most
        assert (result.queue_p95_s > 0.5) is (policy is queue)
        assert set(run.gate.counts().values()) == {0}
