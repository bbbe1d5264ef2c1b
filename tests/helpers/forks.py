"""A nursery: one process that has imported the gateway, and forks it as often as a test wants, in a few milliseconds.

For tests that end a gateway a hundred times: most of the time of a start is that of imports. What is forked is the
command of `penstock` itself, in a process group and with files of its own; it ends with the nursery.

    python -m tests.helpers.forks        # one JSON object a line in, one a line out
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.helpers.processes import Child, end_with_parent, environment

MODULES = (
    "penstock.cli.main",
    "penstock.gateway.build",
    "penstock.adapters.stores.clerk",
    "penstock.adapters.stores.history",
)
"""What a gateway with a ledger imports."""


class Nursery:
    """The process, and who asks it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def spawn(self, arguments: Sequence[str], out: Path, err: Path) -> Child:
        """As `processes.spawned`."""
        for path in (out, err):
            path.touch()
        return Forked(self, int(self.ask(do="fork", arguments=list(arguments), out=str(out), err=str(err))))

    def ask(self, **what: Any) -> Any:
        """Have something done; the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
        return json.loads(line)


class Forked:
    """A child of the nursery, as `Popen` would have it."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None: it runs."""
        if self._status is None:
            self._status = self._nursery.ask(do="look", pid=self.pid)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises TimeoutExpired."""
        end = time.monotonic() + (3600.0 if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("penstock", timeout or 0.0)
            time.sleep(0.005)
        return status

    def send_signal(self, sig: int) -> None:
        """Send it a signal, where it still runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """One for the block; what it has forked ends with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(), preexec_fn=end_with_parent, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait(10.0)


def serve() -> None:
    """The nursery's side: forks and looks until nobody asks any more."""
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _forked(asked) if asked["do"] == "fork" else _looked(asked["pid"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _forked(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    end_with_parent()
    files = [os.open(os.devnull, os.O_RDONLY)]
    files += [os.open(asked[name], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for name in ("out", "err")]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["penstock", *asked["arguments"]]
    from penstock.cli.main import main

    main()
    os._exit(0)


def _looked(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    serve()
