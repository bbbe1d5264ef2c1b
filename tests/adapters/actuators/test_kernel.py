"""Processes as Linux tells of them: who lives, who belongs together, and signals that meet nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.adapters.actuators import kernel
from penstock.adapters.actuators.kernel import Mark
from tests.adapters.actuators.programs import PARENT, until

pytestmark = pytest.mark.slow


def begin(program: str, **environment: str) -> "subprocess.Popen[bytes]":
    """A process in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdout=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_we_live() -> None:
    """The process that asks lives, since it started; with another start it would be somebody else."""
    mine = kernel.mark_of(os.getpid())
    assert mine is not None
    assert kernel.lives(mine)
    assert not kernel.lives(Mark(mine.pid, mine.started + 1))
    assert kernel.mark_of(2**22 + 1) is None
    assert len(kernel.boot()) == 36


def test_who_has_ended_lives_no_more() -> None:
    """A process that has ended is gone, even while it waits for its parent to hear of it."""
    child = begin("pass")
    mark = kernel.mark_of(child.pid)
    until(lambda: kernel.mark_of(child.pid) is None, "its end")
    assert mark is None or not kernel.lives(mark)
    assert not kernel.send(mark or Mark(child.pid, 0), signal.SIGTERM)
    child.wait(5)


def test_a_session_is_all_that_a_process_began() -> None:
    """A session is its leader and its children, and the children still when the leader is dead."""
    child = begin(PARENT)
    leader = kernel.mark_of(child.pid)
    assert leader is not None
    try:
        until(lambda: len(kernel.session(leader)) == 2, "its child")
        child.kill()
        child.wait(5)
        (rest,) = kernel.session(leader)
        assert rest.pid != leader.pid
        assert kernel.session(Mark(os.getpid(), 1)) == []
    finally:
        for mark in kernel.session(leader):
            kernel.send(mark, signal.SIGKILL)
    until(lambda: not kernel.session(leader), "the end of all")


def test_a_signal_for_somebody_else_is_not_sent() -> None:
    """A number that was given anew gets nothing; the right one does."""
    child = begin("import time; time.sleep(60)")
    mark = kernel.mark_of(child.pid)
    assert mark is not None
    assert not kernel.send(Mark(mark.pid, mark.started + 1), signal.SIGKILL)
    assert kernel.lives(mark)
    assert kernel.send(mark, signal.SIGKILL)
    assert child.wait(5) == -signal.SIGKILL


def test_found_by_a_variable() -> None:
    """A process is found by what stands in its environment, and nobody where nobody has it."""
    child = begin("import time; time.sleep(60)", PENSTOCK_TEST_OF="a-1")
    try:
        until(lambda: kernel.with_variable("PENSTOCK_TEST_OF", "a-1"), "its environment")
        assert kernel.with_variable("PENSTOCK_TEST_OF", "a-1") == kernel.mark_of(child.pid)
        assert kernel.with_variable("PENSTOCK_TEST_OF", "a") is None
    finally:
        child.kill()
        child.wait(5)


def test_a_file_that_is_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends while it is looked at is nobody, not a failure."""
    (tmp_path / "7").mkdir()
    monkeypatch.setattr(kernel, "PROC", tmp_path)
    with pytest.raises(OSError, match="need Linux"):
        kernel.boot()
    assert kernel.mark_of(7) is None
    assert kernel.session(Mark(7, 0)) == []
    assert kernel.with_variable("A", "b") is None
