"""Oracles: the bound is the engine's own time alone, nobody beats it, and who knows more does better."""

import pytest
from msgspec.structs import replace

from penstock.base.rand import Rand
from penstock.config.scenarios import Die, Group, Policy, Slo, Slow
from penstock.core.route.presets import LeastLoaded, PrefixAware, RoundRobin
from penstock.sim.compare import Trial, compare
from penstock.sim.oracle import alone_s, bound, least_work, with_yardsticks
from penstock.sim.run import simulate
from penstock.workload.request import Request
from tests.sim.support import request, scenario, steady


def mixed(seed: int, count: int = 400, per_s: float = 60.0) -> list[Request]:
    """Requests by chance, of which most begin like one of ten others."""
    rng, at, found = Rand(seed).stream("requests"), 0.0, []
    for number in range(count):
        at += rng.expovariate(per_s)
        group, whole = rng.randint(0, 12), rng.randint(2, 8)
        blocks = tuple(range(100 * group, 100 * group + whole)) if group < 10 else (10_000 + number,)
        found.append(request(at, 16 * whole + rng.randint(0, 200), rng.randint(1, 60), blocks=blocks, block_tokens=16))
    return found


@pytest.mark.parametrize("cost", ["demo", "h200-8b-fp8"])
def test_alone_is_the_engines_own_time(cost: str) -> None:
    """A prompt of three chunks and an answer of forty tokens, in closed form and by the Batcher."""
    made = scenario(fleet=(Group(cost=cost, speed=1.5),))
    asked = request(0.0, 5000, 40)
    run = simulate(made, made.policy, [asked], 1)
    first_s, end_s = alone_s(made.fleet[0].engine(), asked, 0)
    assert run.ttft_mean_s == pytest.approx(first_s + 0.001, rel=1e-9)
    assert run.e2e_mean_s == pytest.approx(end_s + 0.001, rel=1e-9)


def test_what_is_cached_is_not_read_again() -> None:
    """The second of two equal prompts takes the time of what its engine did not find."""
    made = scenario(fleet=(Group(cost="demo"),))
    asked = request(0.0, 1000, 1, blocks=(7,), block_tokens=512)
    run = simulate(made, made.policy, [asked, replace(asked, at_ns=10**10)], 1)
    spec = made.fleet[0].engine()
    both_s = alone_s(spec, asked, 0)[0] + alone_s(spec, asked, 512)[0]
    assert run.ttft_mean_s == pytest.approx(both_s / 2 + 0.001, rel=1e-9)


def test_a_single_token_ends_with_the_first() -> None:
    """An answer of one token, or of none, takes no step more than its prompt."""
    spec = Group(cost="fast").engine()
    assert len({*alone_s(spec, request(0.0, 100, 1), 0), *alone_s(spec, request(0.0, 100, 0), 0)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [RoundRobin(), LeastLoaded(), PrefixAware()])
@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_beats_the_bound(strategy: RoundRobin | LeastLoaded | PrefixAware, seed: int) -> None:
    """Times are above it, shares below it, over unequal replicas under load."""
    made = scenario(fleet=(Group(cost="demo", seats=8), Group(cost="demo", speed=2.0, seats=8)), slo=Slo(ttft_s=0.2))
    run, least = simulate(made, Policy(strategy=strategy), mixed(seed), seed), bound(made, mixed(seed))
    for name, value in least.items():
        found = float(getattr(run, name))
        assert found <= value + 1e-9 if name in ("goodput", "prefix_hits") else found >= value - 1e-9, name


def test_the_bound_knows_how_far_each_group_is() -> None:
    """A quick engine far away and a slow one near: the better of the two, its way included."""
    asked = request(0.0, 1000, 1)
    far, near = Group(cost="demo", speed=2.0, round_trip_s=0.5), Group(cost="demo")
    (slow_s, _), (quick_s, _) = alone_s(near.engine(), asked, 0), alone_s(far.engine(), asked, 0)
    assert bound(scenario(fleet=(far, near)), [asked])["ttft_mean_s"] == pytest.approx(slow_s + 0.001)
    assert bound(scenario(fleet=(far,)), [asked])["ttft_mean_s"] == pytest.approx(quick_s + 0.5)


def test_the_bound_of_nothing_is_nothing() -> None:
    """No requests, no division by 0."""
    assert bound(scenario(), [])["goodput"] == 0.0


def test_who_knows_what_is_cached_and_how_long_it_takes_does_better() -> None:
    """On prompts with shared beginnings that one cache cannot hold, against turns: more is found, and sooner begun."""
    made, rng = scenario(fleet=(Group(count=4, cost="demo", seats=8, kv_blocks=768),)), Rand(3).stream("groups")
    requests = [
        request(0.03 * at, 1100, 10, blocks=(rng.randint(1, 24),), block_tokens=1024) for at in range(400)
    ]  # fmt: skip
    turns = simulate(made, Policy(strategy=RoundRobin()), requests, 3)
    oracle = least_work(made, requests, 3)
    assert oracle.requests == oracle.ok == 400
    assert oracle.prefix_hits > 1.3 * turns.prefix_hits
    assert oracle.ttft_mean_s < turns.ttft_mean_s


def test_it_avoids_the_slow_and_the_dead() -> None:
    """It sees at once what others must find out."""
    made = scenario(
        fleet=(Group(count=3, cost="demo", seats=8),),
        faults=(Slow(at_s=0.0, factor=50.0, replicas=(0,)), Die(at_s=0.0, replicas=(1,))),
    )
    replicas = least_work(made, steady(50, 0.2), 1).replicas
    assert replicas["r2"] == 50


def test_both_stand_beside_the_policies() -> None:
    """A comparison with them has its columns as they were."""
    made = scenario()
    trials = {"a": Trial(made, made.policy)}
    plain = compare(trials, (1, 2), lambda seed: steady(20), lambda policy, seed: None)
    found = with_yardsticks(plain, trials, lambda seed: steady(20))
    assert found.columns == plain.columns
    assert [yardstick.name for yardstick in found.yardsticks] == ["oracle", "bound"]
    least, own = found.yardsticks[1].numbers["ttft_p50_s"].mean, plain.columns[0].numbers["ttft_p50_s"].mean
    assert least <= own + 1e-9
