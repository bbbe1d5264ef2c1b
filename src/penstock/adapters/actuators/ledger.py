"""What an actuator of processes must not forget: which it has started, where, and which of them it told to end.

One JSON file a pool, replaced as a whole. A replica is written down before its process is begun and once more with its
number, so that a gateway that dies in between still finds it.
"""

import fcntl
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from penstock.adapters.actuators.kernel import Mark
from penstock.adapters.actuators.written import written
from penstock.base.nouns import Purchase

NAME = "processes.json"


class Entry(Struct, kw_only=True):
    """One replica."""

    port: int
    slot: int
    """The smallest number from 0 that no other replica of the pool had."""
    purchase: Purchase = "on_demand"
    token: str
    """In its environment, to find it by where its number is not known."""
    pid: int = 0
    """0: its process is not known to have begun."""
    started: int = 0
    """In clock ticks after the boot."""
    stopping: bool = False
    ended: str = ""
    """Why it ended; empty: it did not."""


class _File(Struct, kw_only=True):
    boot: str
    """Numbers of processes mean nothing after another one."""
    pool: str
    units: dict[str, Entry]


class Ledger:
    """The file of one pool. Raises OSError where it cannot be had, or somebody else has it."""

    def __init__(self, folder: Path, pool: str, boot: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / NAME
        self._boot = boot
        self._pool = pool
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise OSError(f"pool {pool}: another gateway runs replicas from {folder}") from None
        try:
            self.units = self._read()
        except OSError:
            self.close()
            raise
        self.unsaved = False
        """The last change is not on disk."""

    def _read(self) -> dict[str, Entry]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            file = msgspec.json.decode(data, type=_File)
        except msgspec.DecodeError as wrong:
            raise OSError(
                f"{self._path} cannot be read ({wrong}): it names the replicas that still run; look after them, and"
                " remove it"
            ) from None
        return file.units if file.boot == self._boot else {}

    def save(self) -> None:
        """Write it down. Raises OSError; then `unsaved` says so until it works."""
        self.unsaved = True
        data = msgspec.json.format(
            msgspec.json.encode(_File(boot=self._boot, pool=self._pool, units=self.units)), indent=1
        )
        written(self._path, data)
        self.unsaved = False

    def close(self) -> None:
        """Let somebody else have it."""
        os.close(self._lock)


def running_in(path: Path, boot: str) -> tuple[str, dict[str, Mark]]:
    """The pool of such a file, and the processes that it knows of; none where it cannot be read, or is of another
    boot."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        return "", {}
    known = file.units.items() if file.boot == boot else ()
    return file.pool, {unit: Mark(entry.pid, entry.started) for unit, entry in known if entry.pid}
