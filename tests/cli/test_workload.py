"""`penstock workload` tells what there is, writes it, and locates mistakes."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from penstock.cli.workload import workload
from penstock.workload.formats import read_trace

YAML = """
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate: 10}
  requests: 2500
  shared: {groups: 3}
"""


def typed(*words: str) -> Result:
    """The result of `penstock workload` with these words."""
    app = typer.Typer()
    app.command()(workload)
    return CliRunner().invoke(app, list(words))


def test_tells(tmp_path: Path) -> None:
    """The seed, what it chose, the counts and the bound on prefix hits are told to people."""
    (tmp_path / "w.yaml").write_text(YAML)
    result = typed(str(tmp_path / "w.yaml"), "--seed", "5")
    assert result.exit_code == 0
    for part in ("seed: 5", "kind: synthetic", "shared_tokens_total: 3072", "requests: 2500", "hit_share: 0.4"):
        assert part in result.stdout


def test_json_and_limit(tmp_path: Path) -> None:
    """The same as one JSON object, of the first requests only."""
    (tmp_path / "w.yaml").write_text(YAML)
    told = json.loads(typed(str(tmp_path / "w.yaml"), "--json", "--limit", "10").stdout)
    assert told["counted"]["requests"] == told["prefixes"]["requests"] == 10
    assert told["workload"]["arrivals"] == {"kind": "poisson", "rate": 10.0}


def test_writes(tmp_path: Path) -> None:
    """What is written, as CSV or JSON lines, is a trace of the same requests."""
    (tmp_path / "w.yaml").write_text("seed: 3" + YAML)
    for name in ("t.csv", "t.jsonl"):
        assert typed(str(tmp_path / "w.yaml"), "--out", str(tmp_path / name)).exit_code == 0
    csv, lines = (read_trace((tmp_path / name).read_bytes(), name) for name in ("t.csv", "t.jsonl"))
    assert csv == lines
    assert len(csv) == 2500
    assert len(csv[0].blocks) == 16


def test_writes_to_stdout() -> None:
    """With --out - standard output is the trace and nothing else."""
    result = typed("azure", "--limit", "3", "--out", "-")
    assert [request.prompt_tokens for request in read_trace(result.stdout_bytes, "x")] == [374, 396, 879]
    assert "requests: 3" in result.stderr


def test_mistakes(tmp_path: Path) -> None:
    """A missing file, and a mistake in a workload file, end with 2 and say where."""
    (tmp_path / "w.yaml").write_text("workload: {kind: trace}")
    for name, said in ((str(tmp_path / "w.yaml"), "workload.file"), ("none.csv", "No such file")):
        result = typed(name)
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.replace("│", " ").split())
