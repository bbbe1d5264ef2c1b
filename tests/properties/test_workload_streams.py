"""The same seed gives the same stream: in every process, under every hash seed, on every supported Python."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from penstock.config.workloads import read_workload, reader
from penstock.workload.combine import Workload
from penstock.workload.export import to_json_lines

SPECS = {
    "poisson": "{kind: synthetic, arrivals: {kind: poisson, rate: 100}, requests: 2000}",
    "bursty": "{kind: synthetic, arrivals: {kind: gamma, rate: 100, cv: 3}, requests: 2000,"
    " tenant: {kind: zipf, count: 50}, priority: {kind: weighted, weights: {high: 1, batch: 2}},"
    " shared: {groups: 20, tokens: {kind: uniform, low: 100, high: 3000}}}",
    "daily": "{kind: synthetic, arrivals: {kind: daily, rate: 0.1}, duration: 1d, sizes: {kind: rows, file: mooncake}}",
    "ramp": "{kind: synthetic, arrivals: {kind: ramp, start: 0, end: 50, over: 60s, cv: 0.5}, requests: 1500}",
    "sessions": "{kind: sessions, arrivals: {kind: poisson, rate: 5}, requests: 2000, shared: {groups: 7}}",
    "combined": "{kind: merge, of: [{kind: rate, factor: 1.5, of: {kind: trace, file: azure}},"
    " {kind: thin, keep: 0.5, of: {kind: trace, file: mooncake}}]}",
}
GOLDEN = {
    "poisson": "cbc4e2e22cf560f0",
    "bursty": "744a7d170d6bad68",
    "daily": "2ebfe54973ef52bb",
    "ramp": "05da05715be22e6c",
    "sessions": "a403474f138e8e06",
    "combined": "ee872622c0c49263",
}
"""Workload -> hash of its stream of seed 1. A change here changes everybody's results: tell it in the changelog."""


def stream_hash(spec: str) -> str:
    """The hash of a workload's requests, as our own JSON lines."""
    digest = hashlib.sha256()
    for line in to_json_lines(Workload(read_workload(f"workload: {spec}", "test").workload, 1, reader(Path()))):
        digest.update(line)
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", SPECS)
def test_golden(name: str) -> None:
    """Streams are what they always were."""
    assert stream_hash(SPECS[name]) == GOLDEN[name]


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_hash_seeds(hash_seed: str) -> None:
    """A process with another hash seed makes the same streams."""
    code = (
        "import msgspec, sys; from tests.properties.test_workload_streams import SPECS, stream_hash;"
        "sys.stdout.buffer.write(msgspec.json.encode({name: stream_hash(spec) for name, spec in SPECS.items()}))"
    )
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=root, capture_output=True, check=True, timeout=50)
    assert msgspec.json.decode(done.stdout) == GOLDEN
