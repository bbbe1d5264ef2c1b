"""Scenario files: everything that is wrong is told at once, with its line; what is right is a scenario."""

from pathlib import Path

import pytest

from penstock.base.errors import ConfigError
from penstock.config.scenarios import Die, Policy, Slow, open_scenario, policy_of, read_scenario
from penstock.core.route.presets import ConsistentHash, PrefixAware
from penstock.core.spec import PoolSpec, ProbeSpec

WHOLE = """
workload: {kind: trace, file: azure}
fleet:
  - {count: 3, cost: demo, seats: 16}
  - {cost: fast, speed: 0.5, hourly_cost: 2.5}
policy:
  strategy: {kind: prefix_aware, load_factor: 1.5}
  queue: {timeout: 1m}
network: {round_trip: 5ms, metrics_lag: 2s}
slo: {ttft: 500ms}
faults:
  - {kind: die, at: 1m, for: 30s, replicas: [0, 1]}
  - {kind: slow, at: 10s, factor: 10, replicas: [3]}
seeds: [4, 5]
expect: [{metric: goodput, at_least: 0.95}]
"""


def mistakes(text: str) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        read_scenario(text, "s.yaml")
    return caught.value.mistakes


def test_a_whole_file_is_read_with_its_units() -> None:
    """Durations, short forms of strategies and groups are what they say."""
    found = read_scenario(WHOLE, "s.yaml")
    assert [group.count for group in found.fleet] == [3, 1]
    assert found.policy.strategy == PrefixAware(load_factor=1.5)
    assert found.policy.queue.timeout_s == 60.0
    assert (found.network.round_trip_s, found.slo.ttft_s, found.seeds) == (0.005, 0.5, (4, 5))
    die, slow = found.faults
    assert isinstance(die, Die)
    assert (die.at_s, die.for_s, die.replicas) == (60.0, 30.0, (0, 1))
    assert isinstance(slow, Slow)
    assert slow.factor == 10.0


@pytest.mark.parametrize("file", sorted((Path(__file__).resolve().parents[2] / "examples/scenarios").glob("*.yaml")))
def test_the_examples_are_scenarios(file: Path) -> None:
    """Each shipped file is read without a mistake, and its first lines tell how it is tried."""
    assert open_scenario(str(file)).fleet
    assert f"penstock simulate examples/scenarios/{file.name}" in file.read_text()


def test_mistakes_are_told_together_with_their_lines() -> None:
    """A wrong field and a wrong value in one go."""
    found = mistakes("workload: {kind: trace, file: azure}\nfleet: [{cont: 3}]\nslo: {ttft: soon}\n")
    assert len(found) == 2
    assert "cont" in found[0]
    assert "count" in found[0]
    assert "ttft" in found[1]
    assert all("line" in each for each in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fleet: [{}]\n", "workload"),
        ("workload: {kind: trace, file: azure}\nfleet: []\n", "fleet"),
        ("workload: {kind: trace, file: azure}\nfleet: [{cost: warp}]\n", "'warp' is no cost model: there are demo"),
        (
            "workload: {kind: trace, file: azure}\nfleet: [{}]\nfaults: [{kind: die, at: 1s, replicas: [7]}]\n",
            "there is no replica 7: the fleet's are 0 to 0",
        ),
        (
            "workload: {kind: trace, file: azure}\nfleet: [{}]\nfaults: [{kind: spot, at: 1s, for: 20s}]\n",
            "`for` (20 s) is over before `notice` (30 s)",
        ),
        (
            "workload: {kind: trace, file: azure}\nfleet: [{}]\nfaults: [{kind: runaway, at: 1s, replicas: [0]}]\n",
            "a runaway is the pool's",
        ),
        ("workload: {kind: trace, file: azure}\nfleet: [{count: 0}]\n", "the fleet has no replica"),
        (
            "workload: {kind: trace, file: azure}\nfleet: [{}]\ngreedy: {tenant: a, at: 1s, for: 1s}\n",
            "the last part of a `merge` of several",
        ),
        (
            "workload: {kind: trace, file: azure}\nfleet: [{}]\nscale: {max: 2}\ngateways: {count: 2}\n",
            "leave out `gateways` or `scale`",
        ),
        ("just a text\n", "expected a mapping"),
        ("a: [\n", "s.yaml"),
    ],
)
def test_each_mistake_says_what_is_wrong(text: str, said: str) -> None:
    """The message names the thing and the way out."""
    assert said in " ".join(mistakes(text))


def test_a_fleet_that_scales_itself_may_begin_with_nobody() -> None:
    """With `scale` a group may have no replicas at first."""
    found = read_scenario("workload: {kind: trace, file: azure}\nfleet: [{count: 0}]\nscale: {min: 0}\n", "s.yaml")
    assert found.fleet[0].count == 0


def test_a_policy_is_a_pools_blocks() -> None:
    """What the scenario says becomes the Gate's own spec."""
    pool = Policy(probe=ProbeSpec(enabled=False)).pool()
    assert not pool.probe.enabled
    assert pool.models == ("model",)


def test_a_policy_has_every_block_of_a_pool() -> None:
    """A block that comes to pools must be taken in here, or be named as what a scenario itself says."""
    said_by_the_scenario = {"name", "models", "regions"}
    assert set(PoolSpec.__struct_fields__) - set(Policy.__struct_fields__) == said_by_the_scenario
    assert Policy().pool() == PoolSpec(name="sim", models=("model",)), "the defaults are the gateway's"


def test_the_policy_of_a_gateways_file_is_its_first_pools(tmp_path: Path) -> None:
    """A configuration that is in use can be tried as it is."""
    file = tmp_path / "penstock.yaml"
    file.write_text(
        "queue: {timeout: 7s}\npools:\n  - name: a\n    strategy: consistent_hash\n    replicas: [{url: 'http://h:1'}]\n"
    )
    policy = policy_of(str(file), {})
    assert policy.strategy == ConsistentHash()
    assert policy.queue.timeout_s == 7.0


def test_a_gateways_file_is_no_scenario() -> None:
    """Whoever tries the one they have is told how; a scenario with a list of pools is told what it got wrong."""
    with pytest.raises(ConfigError) as wrong:
        open_scenario(str(Path(__file__).resolve().parents[2] / "examples/penstock.yaml"))
    assert wrong.value.mistakes == [
        "penstock.yaml: this is a gateway's configuration, expected a scenario; to try its policy: penstock simulate "
        "SCENARIO --compare penstock.yaml (examples/scenarios has some)"
    ]
    with pytest.raises(ConfigError, match=r"pools .*found a list, expected a mapping"):
        read_scenario("workload: {}\npools: []", "x.yaml", Path())


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The path and the reason."""
    with pytest.raises(ConfigError, match="cannot be read"):
        open_scenario(str(tmp_path / "none.yaml"))
