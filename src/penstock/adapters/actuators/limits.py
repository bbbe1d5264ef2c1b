"""Bounds on what a replica's processes may use: CPUs, open files, memory. Linux only.

Refused for memory: RLIMIT_AS, which counts addresses, of which CUDA reserves more than any machine has memory; and
control groups, which only root or a delegating systemd may make. So memory is looked at, and who holds too much is
ended: between two looks it can hold more.
"""

import contextlib
import os
import re
import resource
from collections.abc import Iterator

from penstock.adapters.actuators.kernel import PROC

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_PSS = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)


def parse_cpus(text: str) -> frozenset[int]:
    """CPUs from "0-7,16" (cpuset(7), list format). Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"not CPUs: {text[:100]!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"not CPUs: {text[:100]!r}")
        found.update(range(first, last + 1))
    return frozenset(found)


@contextlib.contextmanager
def pinned(cpus: tuple[str, ...], slot: int) -> Iterator[None]:
    """Processes that this thread begins meanwhile are bound to the CPUs of a slot: a child takes them over from the
    thread that begins it, so none of its threads ever runs elsewhere. Raises OSError where there are no such CPUs."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    wanted = parse_cpus(cpus[slot % len(cpus)])
    if not wanted & before:
        raise OSError(f"none of the CPUs {cpus[slot % len(cpus)]} is there for this gateway")
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def check(open_files: int | None) -> None:
    """Raises OSError where so many open files cannot be allowed."""
    if open_files is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and open_files > hard and os.geteuid():
        raise OSError(f"{open_files} open files are more than this user may have, {hard}: see `ulimit -Hn`")


def bind(pid: int, nice: int, open_files: int | None) -> None:
    """Bounds of a process that has just begun. Raises OSError where they cannot be had."""
    try:
        if nice:
            os.setpriority(os.PRIO_PROCESS, pid, nice)
        if open_files is not None:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files, open_files))
    except ProcessLookupError:
        pass  # it has ended already, which will be seen


def memory_bytes(pid: int) -> int:
    """What a process holds, shared pages divided among those that share them (PSS, proc(5)); 0: it is gone."""
    try:
        found = _PSS.search((PROC / str(pid) / "smaps_rollup").read_bytes())
    except OSError:
        return 0
    return 0 if found is None else int(found[1]) << 10
