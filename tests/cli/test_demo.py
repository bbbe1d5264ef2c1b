"""The demo of `penstock serve`: what it is made of, its hints, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.actuators.process import ProcessSpec
from penstock.cli import demo as command


def test_the_demo_is_one_pool_that_runs_emulated_replicas(tmp_path: Path) -> None:
    """Three to six emulated vLLMs, each with as many seats as it has sequences, end with this process; a folder with
    blanks and quotes in its name stays one word."""
    settings = command.scaled(str(tmp_path / "it's here"))
    (pool,) = settings.scaled
    actuator = pool.spec.actuator
    assert isinstance(actuator, ProcessSpec)
    assert (pool.pool, pool.spec.min, pool.spec.max) == ("demo", 3, 6)
    assert (pool.template.engine, pool.template.max_concurrent_requests) == ("vllm", command.SEATS)
    assert (actuator.directory, actuator.at_exit) == (str(tmp_path / "it's here"), "stop")
    assert f"--max-num-seqs {command.SEATS} --end-with {os.getpid()}" in actuator.command
    assert settings.gate.pools[0].models == ("demo",)
    assert settings.server.open
    assert settings.server.log.format == "text"


def test_its_folder_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo leaves nothing behind."""
    monkeypatch.setattr(command, "SCALES", True)
    with command.demo() as settings:
        actuator = settings.scaled[0].spec.actuator
        assert isinstance(actuator, ProcessSpec)
        folder = Path(actuator.directory)
        assert folder.is_dir()
    assert not folder.exists()


def test_where_pools_cannot_run_processes_three_replicas_are_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux there are three emulated vLLMs on ports of their own."""
    monkeypatch.setattr(command, "SCALES", False)
    monkeypatch.setattr(subprocess, "Popen", Process)
    with command.demo() as settings:
        assert not settings.scaled
        assert [replica.id for replica in settings.replicas] == ["demo-1", "demo-2", "demo-3"]


def test_the_hints_work_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands that are shown name the addresses that are served, and the command as the user can call it."""
    monkeypatch.setattr(command, "command", lambda: "my/penstock")
    text = "\n".join(command.hints(command.scaled("here")))
    assert "three, and up to six under load" in text
    assert "curl -N http://127.0.0.1:8080/v1/chat/completions" in text
    assert "my/penstock load --url http://127.0.0.1:8080" in text
    assert "my/penstock pools --admin http://127.0.0.1:9090" in text
    assert "half as fast" in "\n".join(command.hints(command.fixed([1, 2, 3])))


@pytest.mark.parametrize(
    "installed, argv0, shown",
    [(True, "/x/penstock", "penstock"), (False, "{cwd}/.venv/bin/penstock", ".venv/bin/penstock"),
     (False, "/x/bin/penstock", "/x/bin/penstock"), (False, "/x/__main__.py", "penstock")],
)  # fmt: skip
def test_how_the_user_can_call_us(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool, argv0: str, shown: str
) -> None:
    """By name where it is on the PATH, else by a path from here where there is one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/penstock" if installed else None)
    monkeypatch.setattr(sys, "argv", [argv0.format(cwd=tmp_path)])
    assert command.command() == shown


def test_ports_that_are_taken_are_left_alone() -> None:
    """A taken port is seen as such, and a port that the system offers is free."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not command.is_free(taken.getsockname()[1])
    assert command.is_free(command.free_port())


class Process:
    """A stand-in for the emulators' process that notes how it was ended."""

    started: list[list[str]] = []
    ended: list[str] = []

    def __init__(self, arguments: list[str], **how: Any) -> None:
        self.started.append(arguments)
        self.stubborn = True

    def terminate(self) -> None:
        """Ask."""
        self.ended.append("terminate")

    def kill(self) -> None:
        """Force."""
        self.ended.append("kill")
        self.stubborn = False

    def wait(self, timeout: float) -> int:
        """Until it has ended."""
        if self.stubborn:
            raise subprocess.TimeoutExpired("emulate", timeout)
        return 0


def test_emulators_are_ended_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulators get distinct free ports and end with the block, by force where asking does not help."""
    monkeypatch.setattr(subprocess, "Popen", Process)
    Process.started, Process.ended = [], []
    with command.emulated() as ports:
        assert len(set(ports)) == 3
    assert Process.ended == ["terminate", "kill"]
    (arguments,) = Process.started
    assert [arguments[at + 1] for at, word in enumerate(arguments) if word == "--speed"] == ["1.0", "1.0", "0.5"]


def test_sigterm_before_it_serves_ends_the_emulators(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes while the gateway starts ends both with status 0; later ones are the gateway's own."""
    monkeypatch.setattr(subprocess, "Popen", Process)
    Process.started, Process.ended = [], []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ending, command.emulated():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ending.value.code == 0
    assert Process.ended == ["terminate", "kill"]
    assert signal.getsignal(signal.SIGTERM) is before
