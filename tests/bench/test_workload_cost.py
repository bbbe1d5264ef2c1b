"""The benchmark of workloads measures what it says, and the streams that it measures do not grow."""

from pathlib import Path

import pytest

from bench.workload_cost import CASES, main, peak_bytes, requests_per_s, workload
from penstock.config.workloads import read_workload, reader
from penstock.workload.combine import Workload


def test_measures() -> None:
    """A rate is measured of as many requests as asked for."""
    assert requests_per_s(workload("poisson, fixed lengths"), 100, 1) > 0


def test_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case is a row."""
    monkeypatch.setattr("sys.argv", ["workload_cost", "--count", "40", "--rounds", "1"])
    main()
    rows = capsys.readouterr().out.splitlines()
    assert [row[:36].strip() for row in rows] == list(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["poisson, lognormal", "1,000 shared prompts, 100 tenants"])
def test_memory_is_flat(name: str) -> None:
    """Four times as many requests take no more memory, once most of the shared prompts have come."""
    assert peak_bytes(workload(name), 80_000) < 1.2 * peak_bytes(workload(name), 20_000) + 100_000


@pytest.mark.slow
def test_memory_of_sessions_is_flat() -> None:
    """Once sessions open as fast as they end, eight times as many take hardly more: nothing is kept of the others."""
    spec = "{kind: sessions, arrivals: {kind: poisson, rate: 20}, requests: 1000000, think: 1s, think_sigma: 0.5}"
    work = Workload(read_workload(f"workload: {spec}", "test").workload, 1, reader(Path()))
    assert peak_bytes(work, 80_000) < peak_bytes(work, 10_000) + 500_000


@pytest.mark.slow
def test_memory_of_a_trace_is_bounded() -> None:
    """A trace of any length is read in the memory of the rows that are held back."""
    assert peak_bytes(workload("trace (azure, repeated)"), 40_000) < 5_000_000
