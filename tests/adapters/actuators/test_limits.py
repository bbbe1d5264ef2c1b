"""Bounds on processes: read as Linux writes them, refused where they cannot be had."""

import contextlib
import os

import pytest

from penstock.adapters.actuators.limits import bind, check, memory_bytes, parse_cpus, pinned


@pytest.mark.parametrize(("text", "cpus"), [("0", {0}), ("0-3", {0, 1, 2, 3}), ("0, 2-3,9", {0, 2, 3, 9})])
def test_cpus(text: str, cpus: set[int]) -> None:
    """Numbers and ranges, as the kernel writes them."""
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "1,,2", "0-999999"])
def test_no_cpus(text: str) -> None:
    """Anything else is a mistake."""
    with pytest.raises(ValueError, match="not CPUs"):
        parse_cpus(text)


def test_the_thread_is_unbound_again() -> None:
    """Whatever happens meanwhile; with nothing to bind to, nothing is done."""
    ours = os.sched_getaffinity(0)
    with contextlib.suppress(KeyError), pinned((str(min(ours)),), 5):
        assert os.sched_getaffinity(0) == {min(ours)}
        raise KeyError
    with pinned((), 0):
        assert os.sched_getaffinity(0) == ours
    assert os.sched_getaffinity(0) == ours


def test_who_is_gone_is_bound_to_nothing() -> None:
    """A process that ended meanwhile is no error, and holds nothing; this one holds something."""
    bind(2**22 + 1, 5, 99)
    assert memory_bytes(2**22 + 1) == 0
    assert memory_bytes(os.getpid()) > 1 << 20


def test_more_open_files_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the hard bound only root goes; no bound is always fine."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (100, 100))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    check(None)
    check(100)
    with pytest.raises(OSError, match="more than this user may have, 100"):
        check(101)
