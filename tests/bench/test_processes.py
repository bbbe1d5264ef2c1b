"""The benchmark measures what it says: CPU and memory of a process and its children, and it ends what it started."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.processes import Meter, Witness, alive, core_s, cpu_s, descendants, listening, rss_kib, start, stop, threads

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the benchmark needs Linux's /proc")
CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def spin(seconds: float) -> None:
    """Use this much CPU time of our own."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_meter_counts_cpu() -> None:
    """The CPU time that a block used is found, to the kernel's tick."""
    with Meter(os.getpid(), CORE) as meter:
        spin(0.06)
    assert 0.03 <= meter.cpu_s <= 0.3
    assert meter.row()["cpu_s"] == round(meter.cpu_s, 2)


def test_nobody_uses_nothing() -> None:
    """Without a process (asking the upstream directly) nothing is counted."""
    with Meter(0, CORE) as meter:
        spin(0.02)
    assert meter.cpu_s == 0.0


def test_memory_and_threads() -> None:
    """A Python process has megabytes of memory and at least one thread; a process that is gone has nothing."""
    assert rss_kib([os.getpid()]) > 5_000
    assert threads([os.getpid()]) >= 1
    assert rss_kib([0]) == threads([0]) == 0
    assert cpu_s([0]) == (0.0, 0.0)


@pytest.mark.slow
def test_witness_tells_what_others_used() -> None:
    """Work of a process that does not belong to the measurement is seen; a block without a look says so."""
    with Witness([], every_s=0.1) as witness:
        spin(0.4)
    assert max(witness.others) > 0.5
    assert "cores at the mean" in witness.told()
    with Witness([os.getpid()], every_s=60.0) as short:
        pass
    assert "too short" in short.told()


def test_unknown_core() -> None:
    """A core that the machine does not have is a clear mistake."""
    with pytest.raises(ValueError, match="GATEWAY_CORE"):
        core_s(4096)


def test_start_and_stop(tmp_path: Path) -> None:
    """A started command runs on its core, its children are found, and stop ends all of them."""
    sleeper = "import time; time.sleep(60)"
    code = f"import subprocess, sys; print('up', flush=True); subprocess.run([sys.executable, '-c', {sleeper!r}])"
    process = start([sys.executable, "-c", code], CORE, tmp_path / "log")
    try:
        until = time.monotonic() + 10
        while len(descendants(process.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.005)
        pids = descendants(process.pid)
        assert os.sched_getaffinity(process.pid) == {CORE}
    finally:
        stop(process)
    assert process.returncode is not None
    assert (tmp_path / "log").read_text() == "up\n"
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


class Late(subprocess.Popen[bytes]):
    """A process that is never seen to end by looking once, as when it ends between two looks."""

    def poll(self) -> int | None:
        """Not yet."""
        return None


def test_who_ends_between_two_looks_is_waited_for() -> None:
    """Stop leaves no zombie, of which Python would warn where the object is collected."""
    process = Late([sys.executable, "-c", "import time; time.sleep(60)"])
    stop(process)
    assert process.returncode is not None


def test_listening() -> None:
    """A port that nobody accepts on is not listening."""
    assert not listening(1)
