"""Short scenarios, and the digest of each one's journal: the same on every Python and with every hash seed.

    python -m tests.helpers.golden > tests/agreement/data/golden.json

writes them anew, after a change that was meant to change decisions, draws or engines.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.config.scenarios import read_scenario
from penstock.config.workloads import reader
from penstock.core.route.presets import STRATEGIES
from penstock.sim.run import Outcome, Run
from penstock.workload.combine import Workload

LENGTHS = """\
sizes:
    kind: independent
    prompt: {kind: lognormal, median: 400, high: 2000}
    output: {kind: lognormal, median: 30, high: 200}"""

SCENARIOS = (
    {
        "sessions that stick": """
workload:
  kind: sessions
  arrivals: {kind: gamma, rate: 10, cv: 2}
  turns: {kind: uniform, low: 1, high: 6}
  shared: {groups: 5, tokens: {kind: uniform, low: 100, high: 1500}}
  think: 500ms
  requests: 150
fleet: [{count: 3, cost: fast, seats: 3}]
policy: {strategy: p2c_peak_ewma, sticky: {header: x-session-id, pin: true, pin_wait: 200ms}}
""",
        "everything goes wrong": """
workload:
  kind: synthetic
  arrivals: {kind: steps, steps: [[2, 40], [2, 10]], cv: 1.5}
  sizes: {kind: rows, file: azure}
  requests: 120
fleet: [{count: 3, cost: demo, seats: 6}, {count: 2, cost: demo, speed: 2.5, seats: 6}]
policy:
  strategy: adaptive
  timeouts: {first_byte: 800ms, idle: 900ms}
  retries: {attempts: 4, backoff: 100ms, jitter: 0.5}
  breaker: {failures: 3, open: 1s}
  outliers: {interval: 1s, failure_share: {requests: 3, replicas: 2, share: 0.3}}
network: {metrics_lag: 300ms, round_trip: 3ms}
faults:
  - {kind: die, at: 500ms, for: 1s, replicas: [0]}
  - {kind: slow, at: 1s, factor: 7.3, replicas: [1]}
  - {kind: freeze, at: 1500ms, for: 2s, replicas: [2]}
  - {kind: flap, at: 1s, for: 3s, period: 700ms, replicas: [3]}
  - {kind: metrics_outage, at: 2s, for: 1s}
""",
        "second attempts": """
workload:
  kind: label
  tenant: {kind: zipf, count: 7}
  of:
    kind: merge
    of:
      - {kind: speed, factor: 3, of: {kind: cut, requests: 60, of: {kind: trace, file: mooncake}}}
      - {kind: synthetic, arrivals: {kind: daily, rate: 5, peak: 2}, requests: 60}
fleet: [{count: 4, cost: h200-8b-fp8, seats: 16}]
policy: {strategy: least_response_time, hedge: {delay: 150ms, budget: 0.5}, benchmark: {enabled: true}}
""",
        "a crowd that must wait": f"""
workload:
  kind: synthetic
  arrivals: {{kind: profile, points: [[0, 20], [2, 300], [3, 5]], cv: 0.5}}
  {LENGTHS}
  tenant: {{kind: weighted, weights: {{a: 5, b: 1.5, c: 0.3}}}}
  priority: {{kind: weighted, weights: {{high: 1, normal: 3, batch: 2}}}}
  deadline: 900ms
  requests: 200
fleet: [{{count: 2, cost: demo, speed: 20, seats: 3, max_num_seqs: 2, kv_blocks: 200}}]
policy:
  strategy: weighted_round_robin
  queue: {{max: 60, max_per_tenant: 40, order: score, within: edf, timeout: 1s, max_share: 0.7,
    shed: {{mode: hold, kv_usage: 0.5}}}}
""",
    }
    | {
        strategy: f"""
workload:
  kind: synthetic
  arrivals: {{kind: poisson, rate: 60}}
  shared: {{groups: 9, exponent: 0.8, tokens: {{kind: lognormal, median: 700, high: 3000}}}}
  {LENGTHS}
  requests: 100
fleet:
  - {{count: 3, cost: demo, seats: 8, weight: 0.7, hourly_cost: 1.3}}
  - {{count: 2, cost: demo, speed: 1.7, hourly_cost: 2.1}}
policy: {{strategy: {strategy}}}
"""
        for strategy in STRATEGIES.names()
        if not strategy.startswith("regional")  # those need places, and have a scenario of their own
    }
    | {
        "regions": f"""
workload:
  kind: synthetic
  arrivals: {{kind: poisson, rate: 30}}
  {LENGTHS}
  requests: 100
fleet:
  - {{count: 2, cost: demo, seats: 4, region: eu, hourly_cost: 2}}
  - {{count: 2, cost: demo, speed: 1.5, seats: 4, region: us, hourly_cost: 1.5}}
regions: {{places: {{eu: {{}}, us: {{cost: 0.9}}}}, here: eu, round_trips: {{eu: {{us: 80ms}}}}}}
policy: {{strategy: regional}}
faults: [{{kind: region_dark, region: eu, at: 1s, for: 5s}}]
""",
        "models, adapters and GPUs": f"""
workload:
  kind: synthetic
  arrivals: {{kind: poisson, rate: 40}}
  {LENGTHS}
  model: {{kind: weighted, weights: {{small: 3, large: 1}}}}
  adapter: {{kind: zipf, count: 5, prefix: a}}
  requests: 300
fleet:
  - {{count: 2, cost: demo, speed: 2, seats: 6, pool: light, loras: {{max_loras: 2, load: 100ms}}, gpus: {{}}}}
  - {{count: 1, cost: demo, seats: 4, pool: heavy, gpus: {{busy_c: 85, settle: 5s}}}}
pools:
  light: {{models: [small]}}
  heavy: {{models: [large], policy: {{strategy: gpu_aware}}}}
fallback: {{large: [small]}}
faults:
  - {{kind: die, at: 2s, for: 3s, replicas: [2]}}
  - {{kind: gpu_outage, at: 3s, for: 2s, lag: 6s}}
""",
    }
)
"""Name -> scenario file."""


def run(name: str, seed: int = 1) -> Outcome:
    """One of them."""
    scenario = read_scenario(SCENARIOS[name], f"{name}.yaml")
    return Run(scenario, scenario.policy, Workload(scenario.workload, seed, reader(Path())), seed).go(digest=True)


def digests() -> Iterator[tuple[str, str]]:
    """Of all."""
    for name in SCENARIOS:
        yield name, run(name).journal


if __name__ == "__main__":
    sys.stdout.write(json.dumps(dict(digests()), indent=1) + "\n")
