"""What a process has spent, read by another: rows and their names, a process that is killed, room that ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.adapters.stores.lease_sheet import LeaseSheet, remove_sheet, spent_on

TEAM, KEY = ("tenant", "team", ""), ("key", "k", "tiny")
PROGRAM = """
import os, signal, sys
from penstock.adapters.stores.lease_sheet import LeaseSheet
sheet = LeaseSheet(sys.argv[1])
row = sheet.open(("tenant", "team", ""), "requests per day")
for _ in range(1000):
    sheet.add(row, 3)
sheet.add(row, -1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_added_is_read(tmp_path: Path) -> None:
    """Each limit of each account has a row of its own, whoever opens it again."""
    sheet = LeaseSheet(str(tmp_path / "s"))
    first, second = sheet.open(TEAM, "tokens per day"), sheet.open(KEY, "tokens per day")
    assert first != second
    assert sheet.open(TEAM, "tokens per day") == first
    sheet.add(first, 7)
    sheet.add(second, 1 << 60)
    sheet.add(first, -2)
    assert spent_on(str(tmp_path / "s")) == {(TEAM, "tokens per day"): 5, (KEY, "tokens per day"): 1 << 60}


@pytest.mark.slow
def test_it_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    """A process kills itself at once after its last number: all are there."""
    path = str(tmp_path / "s")
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert spent_on(path) == {(TEAM, "requests per day"): 2999}


def test_there_is_room_for_so_many(tmp_path: Path) -> None:
    """What has no row is not noted, and is nobody else's."""
    sheet = LeaseSheet(str(tmp_path / "s"), rows=1)
    assert sheet.open(TEAM, "requests per day") == 0
    assert sheet.open(TEAM, "tokens per day") == -1
    assert sheet.open(TEAM, "requests per day") == 0
    assert list(spent_on(str(tmp_path / "s"))) == [(TEAM, "requests per day")]


def test_half_a_name_and_no_sheet_are_nothing(tmp_path: Path) -> None:
    """A process may die while it writes a name; one that never had a sheet has spent nothing that is known."""
    path = str(tmp_path / "s")
    sheet = LeaseSheet(path)
    sheet.add(sheet.open(TEAM, "requests per day"), 1)
    with Path(f"{path}.names").open("ab") as names:
        names.write(b'[["tenant","te')
    assert spent_on(path) == {(TEAM, "requests per day"): 1}
    assert Path(path).stat().st_mode & 0o077 == 0
    remove_sheet(path)
    assert spent_on(path) == {}
    remove_sheet(path)
