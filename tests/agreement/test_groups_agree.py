"""Embeddings that go together, live and simulated: the same arrivals through a gateway with real sockets and through
virtual time make about as many requests to the engine, and are answered in about the same time.

Here a busy machine may make the live side later, and then more of them go together, never fewer.
"""

import json
import urllib.request
from pathlib import Path

import pytest

from bench.house import config_of, house, play
from penstock.base.rand import Rand
from penstock.config.scenarios import Group, Network, Scenario, policy_of
from penstock.loadgen.tally import percentile
from penstock.sim.run import simulate
from penstock.workload.arrivals import Poisson
from penstock.workload.lengths import Fixed, Independent, LogNormal
from penstock.workload.names import One
from penstock.workload.request import Request
from penstock.workload.synthetic import Synthetic

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the benchmark needs Linux's /proc"),
]
SEATS = 16
SPEC = Synthetic(
    arrivals=Poisson(rate=60),
    sizes=Independent(prompt=LogNormal(median=60, sigma=0.5, high=400), output=Fixed(tokens=0)),
    alike=One(name="embeddings"),
    duration_s=6.0,
)


def sent_to(engine: str) -> int:
    """Requests that an emulated engine got."""
    with urllib.request.urlopen(f"{engine}/emulator/seen", timeout=10) as answer:
        return sum(1 for seen in json.load(answer) if seen["path"] == "/v1/embeddings")


def simulated(folder: Path, requests: list[Request]) -> tuple[int, float]:
    """Requests to the engine, and the median of the whole times, of the gateway's own policy in virtual time."""
    policy = policy_of(str(config_of(folder, ["http://127.0.0.1:1"], SEATS, batching={})), {})
    fleet = (Group(cost="demo", seats=SEATS, max_model_len=32_768),)
    scenario = Scenario(workload=SPEC, fleet=fleet, policy=policy, network=Network(round_trip_s=0.002))
    result = simulate(scenario, policy, requests, 1)
    assert result.ok == len(requests)
    grouped = round(result.grouped * result.requests)
    return len(requests) - grouped + round(grouped / result.calls_per_group), result.e2e_p50_s


def test_a_live_run_with_groups_and_its_simulation_are_alike(tmp_path: Path) -> None:
    """All are answered with what their inputs were; groups are made on both sides, about as large; nobody is much
    quicker than the simulation says, nor five times as slow."""
    requests = list(SPEC.stream(Rand(5), lambda name: ()))
    sends, e2e_p50_s = simulated(tmp_path, requests)
    assert sends < 0.6 * len(requests)
    with house(tmp_path, (1.0,), SEATS, batching={}) as at:
        live, tally = play(at.gateway, requests, 5, "embeddings")
        live_sends = sent_to(at.engines[0])
    assert (tally.ok, tally.errors) == (len(requests), {})
    assert tally.prompt_tokens == sum(request.prompt_tokens for request in requests)
    assert len(requests) / 8 <= live_sends < 1.2 * sends
    assert 0.8 * e2e_p50_s < percentile(sorted(end.e2e_s for end in live), 0.5) < 5.0 * e2e_p50_s
