"""Traces come from the package or from files, and mistakes name the file."""

import gzip
from pathlib import Path

import pytest

from penstock.loadgen.traces import SHIPPED, open_trace
from penstock.workload.lines import TraceError


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped(name: str) -> None:
    """Every shipped trace opens by its name."""
    assert len(open_trace(name)) >= 500


def test_file(tmp_path: Path) -> None:
    """A file opens by its path, gzipped or not, whatever its name says."""
    text = b"at_s,prompt_tokens,output_tokens\n0,5,1\n"
    (tmp_path / "a").write_bytes(text)
    (tmp_path / "b").write_bytes(gzip.compress(text))
    assert open_trace(str(tmp_path / "a")) == open_trace(str(tmp_path / "b"))


def test_missing(tmp_path: Path) -> None:
    """A file that is not there, or is a directory, is told with the shipped names."""
    with pytest.raises(TraceError, match="No such file or directory; shipped traces: azure, mooncake"):
        open_trace(str(tmp_path / "none.csv"))
    with pytest.raises(TraceError, match="Is a directory"):
        open_trace(str(tmp_path))


def test_workload_file(tmp_path: Path) -> None:
    """A workload file gives its requests: all of them, or as many as are wanted; the seed decides its luck."""
    path = tmp_path / "w.yaml"
    path.write_text("workload: {kind: synthetic, arrivals: {kind: poisson, rate: 5}, requests: 100}")
    assert len(open_trace(str(path), 1)) == 100
    assert open_trace(str(path), 1, limit=10) == open_trace(str(path), 1)[:10]
    assert open_trace(str(path), 1) != open_trace(str(path), 2)
    path.write_text("workload: {kind: cut, of: {kind: trace, file: azure}, from: 1d}")
    with pytest.raises(TraceError, match="it has no request"):
        open_trace(str(path))


def test_workloads_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload that does not fit into memory is refused, unless only a part of it is wanted."""
    monkeypatch.setattr("penstock.loadgen.traces.MAX_REQUESTS", 50)
    path = tmp_path / "w.yaml"
    path.write_text("workload: {kind: synthetic, arrivals: {kind: poisson, rate: 5}, requests: 100}")
    with pytest.raises(TraceError, match="at most 50 requests: send a part of it with --limit"):
        open_trace(str(path))
    assert len(open_trace(str(path), limit=60)) == 60
