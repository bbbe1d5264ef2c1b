"""Processes as the benchmark sees them: started on one core, measured from /proc, stopped with their children.

Linux only: CPU time and memory come from /proc, of a process and all its descendants: threads and workers count.
"""

import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FILES_WANTED = 65_536
"""File descriptors for 9,000 streams through a proxy (two each); less where the hard limit is lower."""


def descendants(pid: int) -> list[int]:
    """A process and everything that it started, as far as it lives."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        if alive(current):
            found.append(current)
        todo += children.get(current, [])
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended but was not collected by its parent yet does not."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def cpu_s(pids: Iterable[int]) -> tuple[float, float]:
    """(user, system) seconds of CPU that these processes have used."""
    user = system = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            user += int(fields[11])
            system += int(fields[12])
    return user / TICKS_PER_S, system / TICKS_PER_S


def rss_kib(pids: Iterable[int]) -> int:
    """Resident memory of these processes; socket buffers of the kernel are not in it."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES // 1024
        except OSError:
            continue
    return total


def threads(pids: Iterable[int]) -> int:
    """Threads of these processes."""
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids if Path(f"/proc/{pid}/task").exists())


def core_s(core: int) -> tuple[float, float]:
    """(busy, stolen) seconds of one core since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            ticks = [int(field) for field in line.split()[1:9]]
            return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_S, ticks[7] / TICKS_PER_S
    raise ValueError(f"this machine has no core {core}: set GATEWAY_CORE and LOAD_CORE")


def cores_s() -> tuple[float, float]:
    """(busy, stolen) seconds of all cores together since the machine started."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_S, ticks[7] / TICKS_PER_S


def raise_file_limit() -> int:
    """As many file descriptors as the hard limit allows, for us and all that we start. Returns the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def start(command: list[str], core: int | None, log: Path) -> subprocess.Popen[bytes]:
    """Start a command on one core (None: on any), in a process group of its own; its output goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )


def stop(process: subprocess.Popen[bytes], patience_s: float = 8.0) -> None:
    """End a process and its descendants: kindly first, by force after `patience_s`."""
    pids = descendants(process.pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            process.poll()
            if not any(alive(pid) for pid in pids):
                # it may have ended since it was polled; who is not waited for stays a zombie, and Python warns of it
                process.wait(patience_s)
                return
            time.sleep(0.01)


def listening(port: int) -> bool:
    """Whether somebody accepts connections on this port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Meter:
    """What a process tree, and its core, used while the block ran."""

    def __init__(self, pid: int, core: int) -> None:
        self._pid, self._core = pid, core
        self.user_s = self.system_s = self.wall_s = self.others_s = self.stolen_s = 0.0

    def __enter__(self) -> "Meter":
        self._before = cpu_s(descendants(self._pid)) if self._pid else (0.0, 0.0)
        self._core_before = core_s(self._core)
        self._at = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.monotonic() - self._at
        user, system = cpu_s(descendants(self._pid)) if self._pid else (0.0, 0.0)
        self.user_s, self.system_s = user - self._before[0], system - self._before[1]
        busy, stolen = core_s(self._core)
        self.others_s = max(0.0, busy - self._core_before[0] - self.cpu_s)
        self.stolen_s = stolen - self._core_before[1]

    @property
    def cpu_s(self) -> float:
        """User and system time together."""
        return self.user_s + self.system_s

    def row(self) -> dict[str, float]:
        """What every measurement keeps: also how much else ran on the core, to judge the measurement by."""
        return {
            "cpu_s": round(self.cpu_s, 2),
            "system_share": round(self.system_s / self.cpu_s, 3) if self.cpu_s else 0.0,
            "core_used": round(self.cpu_s / self.wall_s, 3),
            "core_others_s": round(self.others_s, 2),
            "stolen_s": round(self.stolen_s, 2),
        }


class Witness:
    """How much of the whole machine others used while a block ran, looked at every so often: what was measured in a
    minute that was somebody else's too says little. Processes that begin and end between two looks count as others."""

    def __init__(self, pids: Iterable[int], every_s: float = 5.0) -> None:
        self._pids, self._every_s = tuple(pids), every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.others: list[float] = []
        """Cores' worth that was used by others than these processes and their descendants, or stolen, look by look."""

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before, at = self._others_s(), time.monotonic()
        while not self._over.wait(self._every_s):
            seconds, now = self._others_s(), time.monotonic()
            self.others.append(max(0.0, seconds - before) / (now - at))
            before, at = seconds, now

    def _others_s(self) -> float:
        ours = {pid for root in self._pids for pid in descendants(root)}
        return cores_s()[0] - sum(cpu_s(ours))

    def told(self) -> str:
        """For people."""
        if not self.others:
            return "too short to say how quiet the machine was"
        ordered = sorted(self.others)
        return (
            f"others used {sum(ordered) / len(ordered):.2f} of {os.cpu_count()} cores at the mean,"
            f" {ordered[len(ordered) // 2]:.2f} at the median, {ordered[-1]:.2f} in the worst {self._every_s:g} s"
        )
