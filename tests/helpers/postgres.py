"""A real PostgreSQL for tests: started from what is installed, on a socket in its own folder, and ended with the run.

Where none is installed, tests that need one are skipped with the reason; with PENSTOCK_NEEDS=postgres they fail.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A server for the block; its URL, of an empty database. It listens on a socket in its folder only."""
    programs = _programs()
    assert programs is not None, MISSING
    as_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if as_root:
            shutil.chown(folder, OWNER)
        _run(as_root, programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "penstock", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
        control = (programs / "pg_ctl", "-D", folder / "data", "-w", "-t", "30")
        _run(as_root, *control, "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql://penstock@/postgres?host={folder}"
        finally:
            _run(as_root, *control, "-m", "immediate", "stop")


def _run(as_root: bool, *words: object) -> None:
    done = subprocess.run(
        [str(word) for word in words], user=OWNER if as_root else None, cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words[0]}: {done.stderr}"
