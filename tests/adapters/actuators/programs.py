"""Small programs for tests of actuators: replicas that do what a test wants, ended whatever happens."""

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from penstock.adapters.actuators import kernel
from penstock.adapters.actuators.process import Processes, ProcessSpec

WAITS = "import sys, time; print('port', sys.argv[1], flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
FAILS = "import sys; print('no such model', flush=True); sys.exit(3)"
PARENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    " print('up', flush=True); time.sleep(60)"
)


def command(program: str = WAITS) -> str:
    """A command that runs this program with its port as the argument."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {{port}}"


def spec(folder: Path, program: str = WAITS, **fields: Any) -> ProcessSpec:
    """A spec with its state in this folder."""
    return ProcessSpec(command=command(program), directory=str(folder / "state"), **fields)


def until(true: Callable[[], Any], what: str, within_s: float = 10.0) -> None:
    """Wait for what a process does."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"waited {within_s} s for {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def processes(given: ProcessSpec, pool: str = "p") -> Iterator[Processes]:
    """Processes of a pool; whatever still runs at the end is ended."""
    made = Processes(given, pool)
    try:
        yield made
    finally:
        end_all(made)
        made.close(False)


def end_all(made: Processes, *units: str) -> None:
    """End every process that these know of, or only those of some replicas."""
    for unit, entry in made.ledger.units.items():
        if entry.pid and unit in (units or (unit,)):
            for mark in kernel.session(kernel.Mark(entry.pid, entry.started)):
                kernel.send(mark, signal.SIGKILL)
