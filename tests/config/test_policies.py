"""Pools of a scenario: what fits together, and what is told where it does not."""

import pytest

from penstock.base.errors import ConfigError
from penstock.config.scenarios import Loras, policy_from, read_scenario
from penstock.core.route.presets import RoundRobin
from penstock.core.spec import PoolSpec

HEAD = "workload: {kind: trace, file: azure}\n"
FLEET = "fleet: [{pool: a}, {pool: b, loras: {max_loras: 3, load: 200ms}}]\n"
POOLS = "pools: {a: {models: [x, y]}, b: {models: [z], policy: {strategy: round_robin}}}\n"


def test_pools_with_their_policies_are_read() -> None:
    """Short forms and durations as everywhere."""
    found = read_scenario(HEAD + FLEET + POOLS + "aliases: {big: z}\nfallback: {z: [x]}\n", "s.yaml")
    assert found.pools["a"].models == ("x", "y")
    assert found.pools["a"].policy is None
    assert found.pools["b"].policy is not None
    assert found.pools["b"].policy.strategy == RoundRobin()
    assert found.fleet[1].loras == Loras(max_loras=3, load_s=0.2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FLEET, "a group is in pool 'a': name it under `pools`"),
        ("fleet: [{pool: a}, {}]\n" + POOLS, "where there are `pools`, every group says its `pool`: there are a, b"),
        ("fleet: [{pool: a}, {pool: c}, {pool: b}]\n" + POOLS, "'c' is none of `pools`: there are a, b"),
        ("fleet: [{pool: a}]\n" + POOLS, "pool 'b' has no replicas: no group of the fleet is in it"),
        (FLEET + POOLS + "aliases: {big: w}\n", "alias 'big': no pool serves 'w': there are x, y, z"),
        (FLEET + POOLS + "fallback: {z: [w]}\n", "`fallback` names 'w', which no pool serves"),
        (FLEET + POOLS + "expect: [{metric: ok, model: w, at_least: 1}]\n", "`expect` names 'w', which no pool serves"),
        ("fleet: [{}]\nfallback: {z: [w]}\n", "are about `pools`, and there are none"),
    ],
)
def test_what_does_not_fit_together_is_told(text: str, said: str) -> None:
    """Each in words that name what there is."""
    with pytest.raises(ConfigError) as caught:
        read_scenario(HEAD + text, "s.yaml")
    assert said in caught.value.mistakes[0]


def test_a_pools_policy_is_its_blocks() -> None:
    """There and back."""
    spec = PoolSpec(name="p", models=("m",), strategy=RoundRobin())
    assert policy_from(spec).pool("p", ("m",)) == spec
