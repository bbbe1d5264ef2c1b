"""Processes of the product for end-to-end tests: started on ports that the system chose, read, signalled, always ended.

Every wait is bounded, and only what was started here is ever signalled, by its pid.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

START_S = 20.0
STOP_S = 10.0
_ADDRESS = r"://127\.0\.0\.1:(\d+)/"

Tree = dict[str, Any]


def end_with_parent() -> None:
    """Let the kernel end this process where the tests are killed: PR_SET_PDEATHSIG of prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Child(Protocol):
    """A process that was started, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def poll(self) -> int | None:
        """Its exit status; None: it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises TimeoutExpired."""
        ...

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        ...

    def terminate(self) -> None:
        """SIGTERM."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


Spawn = Callable[[Sequence[str], Path, Path], Child]
"""Starts `penstock` with these arguments; what it says goes to the two files."""


def environment() -> dict[str, str]:
    """Of the product's processes: settings of whoever runs the tests must not reach them, and the hash seed is fixed
    for equal runs."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    return {**own, "PYTHONHASHSEED": "0", "COLUMNS": "200", "TERM": "dumb"}


def started(program: Sequence[str], out: Path, err: Path, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    """A Python program that runs, and ends with us."""
    with out.open("ab") as saying, err.open("ab") as logging:
        return subprocess.Popen(
            [sys.executable, *program], stdin=stdin, stdout=saying, stderr=logging, env=environment(),
            start_new_session=True, preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )  # fmt: skip


def spawned(arguments: Sequence[str], out: Path, err: Path) -> Child:
    """A process of its own, from nothing."""
    return started(["-m", "penstock", *arguments], out, err)


class Process:
    """A `penstock` command that runs, with what it says in files."""

    def __init__(self, folder: Path, name: str, *arguments: str, spawn: Spawn = spawned) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        self._process = spawn(arguments, self._out, self._err)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def said(self) -> str:
        """Its standard output so far."""
        return self._out.read_text()

    def log(self) -> str:
        """Its standard error so far."""
        return self._err.read_text()

    def await_said(self, pattern: str, count: int = 1) -> list[str]:
        """The group of so many matches in its output, once they are there."""
        found: list[str] = []

        def there() -> bool:
            found[:] = re.findall(pattern, self.said())
            assert self.runs() or len(found) >= count, f"{self.name} has ended:\n{self.said()}\n{self.log()}"
            return len(found) >= count

        until(there, START_S, lambda: f"{self.name} to say {pattern}:\n{self.said()}\n{self.log()}")
        return found

    def await_logged(self, text: str, within_s: float = 10.0) -> None:
        """Wait until its log says something."""
        until(lambda: text in self.log(), within_s, lambda: f"{self.name} to log {text!r}:\n{self.log()}")

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, within_s: float = STOP_S) -> int:
        """Its exit status; fails where it goes on."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {within_s} s:\n{self.log()}") from None

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()
        self._process.wait(STOP_S)

    def stop(self) -> int:
        """End it as its users do; by force where that does not work. Its exit status."""
        if self.runs():
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(STOP_S)
            self._process.kill()
        return self._process.wait(STOP_S)


class Emulators(Process):
    """Emulated replicas in one process; `ports` are known once it listens."""

    def __init__(self, folder: Path, *speeds: float, name: str = "emulators", port: int = 0, **options: Any) -> None:
        words = [word for speed in speeds or (1.0,) for word in ("--port", str(port), "--speed", str(speed))]
        for option, value in {"model": "tiny", "preset": "fast", **options}.items():
            for one in value if isinstance(value, tuple) else (value,):
                words += [f"--{option.replace('_', '-')}", str(one)]
        super().__init__(folder, name, "emulate", *words)
        self._count = len(speeds or (1.0,))
        self._ports: list[int] = []

    @property
    def ports(self) -> list[int]:
        """Where they listen, in the order of their speeds."""
        if not self._ports:
            self._ports = [int(port) for port in self.await_said(rf"emulated vLLM on http{_ADDRESS}", self._count)]
        return self._ports

    @property
    def urls(self) -> list[str]:
        """Their base URLs."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]


class Gateway(Process):
    """`penstock serve` over a file that a test can change (a tree, or text), or with other options."""

    def __init__(
        self, folder: Path, file: Tree | str | None = None, *options: str, name: str = "gateway",
        spawn: Spawn = spawned,
    ) -> None:  # fmt: skip
        self.file = folder / f"{name}.yaml"
        self.tree: Tree = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "log": {"access": True}}
        if isinstance(file, dict):
            self.tree |= file
            self.write(self.tree)
        elif file is not None:
            self.write(file)
        source = ("--config", str(self.file)) if file is not None else ()
        super().__init__(folder, name, "serve", *source, *options, spawn=spawn)
        self._ports: tuple[int, int] | None = None

    def write(self, file: Tree | str) -> None:
        """Replace its file at once, as careful tools do."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        other = self.file.with_suffix(".new")
        other.write_text(file if isinstance(file, str) else yaml.safe_dump(file, sort_keys=False))
        other.replace(self.file)

    def _address(self) -> tuple[int, int]:
        if self._ports is None:
            (data,) = self.await_said(rf"serves on https?{_ADDRESS}")
            admin = self.await_said(rf"admin API and metrics: http{_ADDRESS}")
            self._ports = (int(data), int(admin[0]))
        return self._ports

    @property
    def port(self) -> int:
        """Its data port."""
        return self._address()[0]

    @property
    def admin_port(self) -> int:
        """The port of its admin API."""
        return self._address()[1]

    @property
    def url(self) -> str:
        """Its data port as a URL."""
        return f"http://127.0.0.1:{self.port}"


def until(true: Callable[[], bool], within_s: float, what: Callable[[], str]) -> None:
    """Wait in a thread for what another process does; fails with `what` was waited for."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"waited {within_s} s for {what()}"
        time.sleep(0.01)


@contextlib.contextmanager
def ending(*processes: Process) -> Iterator[Sequence[Process]]:
    """End these processes with the block, whatever happens in it."""
    try:
        yield processes
    finally:
        for process in processes:
            process.stop()
