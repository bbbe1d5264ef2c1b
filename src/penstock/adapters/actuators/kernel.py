"""What Linux says of processes: who lives, since when, and who belongs to a session. Signals that meet nobody else.

A process is known by its number and the time of its start: numbers are given anew, the two together are not, until
the next boot.
"""

import os
import signal
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_STATE, _SESSION, _START = 0, 3, 19
"""Fields of /proc/PID/stat behind the name (proc(5) counts them from 3)."""


class Mark(NamedTuple):
    """One process, as long as the machine is not booted again."""

    pid: int
    started: int
    """In clock ticks after the boot."""


def boot() -> str:
    """What tells this boot from all others. Raises OSError where this is no Linux."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        raise OSError("replicas as processes need Linux and its /proc") from None


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def mark_of(pid: int) -> Mark | None:
    """The process that has this number now; None: nobody, or one that has ended and waits for its parent."""
    fields = _stat(pid)
    return None if fields is None or fields[_STATE] in "ZX" else Mark(pid, int(fields[_START]))


def lives(mark: Mark) -> bool:
    """Whether this very process goes on."""
    return mark_of(mark.pid) == mark


def _numbers() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]


def session(leader: Mark) -> list[Mark]:
    """Everybody in the session that this process began, itself included while it lives."""
    now = mark_of(leader.pid)
    if now is not None and now != leader:
        return []  # the number is somebody else's: so nobody of that session is left
    found: list[Mark] = []
    for pid in _numbers():
        fields = _stat(pid)
        if fields is None or fields[_STATE] in "ZX" or int(fields[_SESSION]) != leader.pid:
            continue
        if int(fields[_START]) >= leader.started:
            found.append(Mark(pid, int(fields[_START])))
    return found


def send(mark: Mark, number: signal.Signals) -> bool:
    """A signal for this very process; whether it was there."""
    try:
        handle = os.pidfd_open(mark.pid)
    except OSError:
        return False
    try:
        if not lives(mark):  # asked while the handle is held: the number cannot have been given anew since
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def with_variable(name: str, value: str) -> Mark | None:
    """The oldest process of this user that was started with this variable in its environment."""
    wanted = f"{name}={value}".encode()
    found: list[Mark] = []
    for pid in _numbers():
        try:
            given = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mark = mark_of(pid) if wanted in given else None
        if mark is not None:
            found.append(mark)
    return min(found, key=lambda mark: (mark.started, mark.pid), default=None)
