"""A real Redis for tests: started from what is installed, on a socket in its own folder, and ended with the test.

Where none is installed, tests that need one are skipped with the reason; with PENSTOCK_NEEDS naming redis they fail. It
can be killed and started again, and keeps what it was told (`appendonly`).
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.postgres import NEEDS
from tests.helpers.processes import until

MISSING = "redis-server is not installed (Debian: apt install redis-server)"


def needed() -> None:
    """Skip the test where there is none, or fail it where there should be one."""
    if shutil.which("redis-server") is None:
        assert "redis" not in os.environ.get(NEEDS, ""), MISSING
        pytest.skip(MISSING)


@contextmanager
def serving() -> Iterator["RedisServer"]:
    """One that ends with the block, in a folder whose path is short."""
    needed()
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        made = RedisServer(Path(folder))
        try:
            yield made
        finally:
            made.stop()


class RedisServer:
    """One server. Its folder's path must be short: a socket's name has 107 characters at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Begin, with what it knew."""
        words = ["redis-server", "--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder)]
        words += [
            "--appendonly",
            "yes",
            "--save",
            "",
            "--daemonize",
            "no",
            "--logfile",
            str(self._folder / "redis.log"),
        ]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until(self._answers, 10.0, lambda: "Redis to answer")

    def _answers(self) -> bool:
        asked = subprocess.run(
            ["redis-cli", "-s", str(self._socket), "ping"], capture_output=True, text=True, timeout=5, check=False
        )
        return "PONG" in asked.stdout

    def known(self) -> list[str]:
        """All that it knows something of."""
        asked = subprocess.run(
            ["redis-cli", "-s", str(self._socket), "keys", "*"], capture_output=True, text=True, timeout=5, check=True
        )
        return asked.stdout.split("\n")[:-1]

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
