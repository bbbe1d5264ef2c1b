"""`penstock pressure --live` that is ended in the middle leaves no process behind, however it is ended.

Everything that it starts, and what that starts in turn, has a variable of the test's own in its environment.
"""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.adapters.actuators import kernel
from penstock.adapters.actuators.kernel import Mark
from tests.helpers.processes import Process, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="process replicas need Linux")]

VARIABLE = "TMPDIR"
THERE_S, GONE_S = 60.0, 45.0
"""Generous: a busy machine takes its time to start four interpreters, and a gateway to end its replicas."""


def started_by(folder: Path) -> dict[Mark, str]:
    """All processes with the test's folder as their TMPDIR, and their command lines."""
    wanted, found = f"{VARIABLE}={folder}".encode(), {}
    for entry in kernel.PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            else:
                continue
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
        mark = kernel.mark_of(int(entry.name))
        if mark is not None:
            found[mark] = words
    return found


def sockets(pid: int) -> int:
    """How many a process has open."""
    try:
        return sum("socket:" in str(one.readlink()) for one in (kernel.PROC / str(pid) / "fd").iterdir())
    except OSError:
        return 0  # one of them was closed meanwhile: the next look tells


INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR of the test's own; what is left of those who have it is ended."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    # A shell lets what it starts in the background ignore SIGINT, and whoever is started then ignores it too.
    before = signal.signal(INT, signal.default_int_handler)
    yield tmp_path
    signal.signal(INT, before)
    for mark in started_by(tmp_path):
        kernel.send(mark, signal.SIGKILL)


CASES = [("gateway", (INT,)), ("replicas", (KILL,)), ("load", (INT, INT)), ("load", (TERM,)), ("load", (KILL,))]


@pytest.mark.parametrize(("stage", "numbers"), CASES)
def test_nothing_stays(folder: Path, stage: str, numbers: tuple[signal.Signals, ...]) -> None:
    """Ended while its gateway starts, while its replicas do, or under load: soon none of them runs."""
    command = Process(folder, "pressure", "pressure", "--live", "--quick", "--only", "2")

    def there() -> bool:
        found = list(started_by(folder).values())
        gateways = [words for words in found if " serve " in words]
        replicas = [words for words in found if " emulate " in words]
        if stage == "gateway":
            return bool(gateways)
        if stage == "replicas":
            return bool(replicas)
        # in the second house: the first one only tells what such a fleet serves
        return len(replicas) >= 4 and any("/test/" in words for words in gateways) and sockets(command.pid) > 8

    until(there, THERE_S, lambda: f"{stage}:\n{command.log()}\n{started_by(folder)}")
    for number in numbers:
        command.tell(number)
    status = command.wait(GONE_S)
    until(lambda: not started_by(folder), GONE_S, lambda: f"these to end: {started_by(folder)}")
    assert status != 0
    assert "Traceback" not in command.log()
