"""A gateway with real sockets over emulated engines agrees with its simulation, as far as any machine can show it.

`python -m bench.agreement` measures it where nothing else runs. Here a busy machine may make the live side later, never
earlier and never different in what it serves.
"""

from pathlib import Path

import pytest

from bench.agreement import SEATS, SPEEDS, percentiles, requests_of, scenario_of
from bench.house import config_of, house, play
from penstock.config.scenarios import policy_of
from penstock.sim.run import simulate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the benchmark needs Linux's /proc"),
]


def test_a_live_run_and_its_simulation_are_alike(tmp_path: Path) -> None:
    """The same arrivals: all are answered with all their tokens, by all replicas, not much quicker (luck sends calls
    elsewhere) and not three times as slow."""
    requests = requests_of(8.0, 6.0, 5)
    policy = policy_of(str(config_of(tmp_path, ["http://127.0.0.1:1"] * len(SPEEDS), SEATS)), {})
    result = simulate(scenario_of(policy, 0.002), policy, requests, 1)
    with house(tmp_path, SPEEDS, SEATS) as at:
        live, tally = play(at.gateway, requests, 5)
    assert (tally.ok, tally.errors) == (len(requests), {})
    assert tally.prompt_tokens == sum(request.prompt_tokens for request in requests)
    assert tally.output_tokens == sum(request.output_tokens for request in requests)
    assert set(tally.replicas) == {f"r{number}" for number in range(len(SPEEDS))}
    assert 0.8 * result.e2e_p50_s < percentiles(live)["e2e_p50_s"] < 3.0 * result.e2e_p50_s
