"""The benchmark's command line: one run at a time, and the README's defaults."""

import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.scenarios import ALONE, NOT_DIRECT, ONCE, SCENARIOS


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second benchmark in the same checkout is turned away while the first one runs."""
    monkeypatch.setattr(bench, "LOCK", tmp_path / "lock")
    assert bench.alone()
    assert not bench.alone()


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options everything is measured that has a promise and takes minutes at most, beside nginx and Envoy."""
    monkeypatch.setattr(sys, "argv", ["bench", "run"])
    asked = bench.options()
    assert asked.gateways.split(",") == ["direct", "nginx", "penstock", "envoy"]
    assert set(asked.scenarios.split(",")) == set(SCENARIOS) - {"million"}
    assert SCENARIOS.keys() >= ALONE | NOT_DIRECT | ONCE


def test_report_of_kept_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kept measurements become tables again."""
    file = tmp_path / "kept.jsonl"
    file.write_text('{"gateway": "nginx", "scenario": "requests", "rep": 0, "failed": "not today"}\n')
    monkeypatch.setattr(sys, "argv", ["bench", "report", str(file)])
    bench.main()
    assert "- nginx, requests: not today" in capsys.readouterr().out


def test_machine_is_told() -> None:
    """What the numbers were measured on is kept with them."""
    told = bench.machine()
    assert told["cores"] >= 1
    assert told["python"] == sys.version.split()[0]
