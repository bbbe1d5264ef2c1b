"""`penstock emulate`: options become specs, mistakes are told at once, and it serves until told to stop."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock.cli import emulate as command
from penstock.cli.main import app
from penstock.emulator.faults import Fault
from penstock.emulator.spec import EmulatorSpec


def specs(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[tuple[EmulatorSpec, int]]:
    """What would be served."""
    served: list[tuple[EmulatorSpec, int]] = []

    def serve(specs_with_ports: list[tuple[EmulatorSpec, int]], host: str, started: Any, end_with: int | None) -> None:
        served.extend(specs_with_ports)

    monkeypatch.setattr(command, "serve_emulators", serve)
    monkeypatch.setattr("uvloop.run", lambda served: None)
    result = CliRunner().invoke(app, ["emulate", *arguments])
    assert result.exit_code == 0, result.output
    return served


def test_one_replica_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options there is one replica on port 18001, with the defaults of its spec."""
    assert specs(monkeypatch) == [(EmulatorSpec(), 18001)]


def test_options_by_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds and faults are given for all ports or for one of them."""
    (one, first), (two, second) = specs(
        monkeypatch, "--port", "1", "--port", "2", "--speed", "1", "--speed", "0.5", "--model", "m",
        "--fault", "2:garbage", "--fault", "slow,factor=2",
    )  # fmt: skip
    assert (first, second, one.speed, two.speed, one.model) == (1, 2, 1.0, 0.5, "m")
    assert one.faults == (Fault(kind="slow", factor=2),)
    assert two.faults == (Fault(kind="garbage"), Fault(kind="slow", factor=2))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--port", "1", "--port", "2", "--port", "3", "--speed", "1", "--speed", "2"], "once for each of the 3 ports"),
        (["--speed", "0"], "more than 0"),
        (["--fault", "explode"], "explode"),
        (["--fault", "99:garbage"], "none of the ports 18001"),
        (["--preset", "quantum"], "quantum"),
    ],
)
def test_mistakes(arguments: list[str], words: str) -> None:
    """A mistake ends with status 2 and says what was wrong."""
    result = CliRunner().invoke(app, ["emulate", *arguments], env={"COLUMNS": "300", "TERM": "dumb"})
    assert result.exit_code == 2
    assert words in re.sub(r"[\s│]+", " ", result.output)


def test_help_lists_every_fault() -> None:
    """The help teaches all kinds and their fields."""
    result = CliRunner().invoke(app, ["emulate", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert "reset_mid_stream" in result.output
    assert "retry_after_s" in result.output


@pytest.mark.slow
def test_it_serves_until_sigterm() -> None:
    """The process prints where it listens, answers there, and exits with 0 when it is told to stop."""
    arguments = [sys.executable, "-m", "penstock", "emulate", "--port", "0", "--model", "tiny"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found[0]}/health", timeout=5) as answer:
            assert answer.status == 200
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
