"""A real PostgreSQL for tests: started from what is installed, on a socket in its own folder, and ended with the run.

Where none is installed, tests that need one are skipped with the reason; with PENSTOCK_NEEDS=postgres they fail.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.processes import until

NEEDS = "PENSTOCK_NEEDS"
"""Environment variable: what must be there, so that a missing server is a failure and no skip."""
OWNER = "postgres"
"""Whose process it is where the tests run as root, which it refuses to."""


MISSING = "PostgreSQL is not installed (Debian: apt install postgresql)"


def needed() -> None:
    """Skip the test where there is none, or fail it where there should be one."""
    if _programs() is None:
        assert "postgres" not in os.environ.get(NEEDS, ""), MISSING
        pytest.skip(MISSING)


def _programs() -> Path | None:
    """Where initdb and postgres are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path and shutil.which("postgres") else None


class Server:
    """A server that can be killed and started again, on a socket in its folder only."""

    def __init__(self, folder: Path) -> None:
        programs = _programs()
        assert programs is not None, MISSING
        self.url = f"postgresql://penstock@/postgres?host={folder}"
        """Of an empty database."""
        self._folder = folder
        self._as_root = os.geteuid() == 0
        if self._as_root:
            shutil.chown(folder, OWNER)
        self._control = (programs / "pg_ctl", "-D", folder / "data", "-w", "-t", "30")
        self._run(programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "penstock", "--no-sync")

    def start(self) -> None:
        """Begin to listen."""
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off -c max_connections=60"
        self._run(*self._control, "-l", self._folder / "log", "-o", options, "start")

    def stop(self) -> None:
        """End it at once: what it was doing is broken off, and put in order by the next start."""
        self._run(*self._control, "-m", "immediate", "stop")

    def kill(self) -> None:
        """SIGKILL to the server, and to each of its processes, which it can no longer tell."""
        postmaster = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(_runs, (postmaster, *map(int, children)))), 10.0, lambda: "the server's end")

    def _run(self, *words: object) -> None:
        done = subprocess.run(
            [str(word) for word in words], user=OWNER if self._as_root else None, cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words[0]}: {done.stderr}"


def _runs(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server for the block."""
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        made = Server(Path(name))
        made.start()
        try:
            yield made
        finally:
            with contextlib.suppress(AssertionError):  # it may have been left without one
                made.stop()


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A server for the block; its URL, of an empty database."""
    with running() as made:
        yield made.url
