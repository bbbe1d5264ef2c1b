"""Traces come from the package or from files, and mistakes name the file."""

import gzip
from pathlib import Path

import pytest

from penstock.loadgen.traces import SHIPPED, open_trace
from penstock.workload.formats import TraceError


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
