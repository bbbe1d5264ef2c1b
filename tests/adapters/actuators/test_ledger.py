"""What an actuator writes down: whole, once, for one gateway at a time."""

from pathlib import Path

import pytest

from penstock.adapters.actuators.kernel import Mark
from penstock.adapters.actuators.ledger import NAME, Entry, Ledger, running_in


def entry(pid: int = 0) -> Entry:
    """One."""
    return Entry(port=1, slot=0, token="t", pid=pid, started=5)


def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    """The next one finds what was written; nothing else is left in the folder."""
    ledger = Ledger(tmp_path / "p", "p", "boot-1")
    assert ledger.units == {}
    ledger.units["p-1"] = entry(7)
    ledger.save()
    ledger.close()
    again = Ledger(tmp_path / "p", "p", "boot-1")
    assert again.units == {"p-1": entry(7)}
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["lock", NAME]
    again.close()


def test_after_another_boot_nobody_runs(tmp_path: Path) -> None:
    """Numbers of processes from before a boot mean nothing."""
    ledger = Ledger(tmp_path, "p", "boot-1")
    ledger.units["p-1"] = entry(7)
    ledger.save()
    ledger.close()
    again = Ledger(tmp_path, "p", "boot-2")
    assert again.units == {}
    again.close()
    assert running_in(tmp_path / NAME, "boot-2") == ("p", {})
    assert running_in(tmp_path / NAME, "boot-1") == ("p", {"p-1": Mark(7, 5)})


def test_one_gateway_at_a_time(tmp_path: Path) -> None:
    """While one has it, another is told so; afterwards it may."""
    ledger = Ledger(tmp_path, "p", "b")
    with pytest.raises(OSError, match="pool p: another gateway runs replicas from"):
        Ledger(tmp_path, "p", "b")
    ledger.close()
    Ledger(tmp_path, "p", "b").close()


def test_a_file_that_cannot_be_read_is_not_thrown_away(tmp_path: Path) -> None:
    """It may name replicas that run: a person is asked, and the lock is let go."""
    (tmp_path / NAME).write_text('{"boot": 1')
    with pytest.raises(OSError, match="look after them, and remove it"):
        Ledger(tmp_path, "p", "b")
    assert running_in(tmp_path / NAME, "b") == ("", {})
    (tmp_path / NAME).unlink()
    Ledger(tmp_path, "p", "b").close()


def test_a_full_disk_is_remembered(tmp_path: Path) -> None:
    """Where it cannot be written, `unsaved` says so until it can."""
    ledger = Ledger(tmp_path, "p", "b")
    (tmp_path / "processes.new").mkdir()
    with pytest.raises(OSError):
        ledger.save()
    states = [ledger.unsaved]
    (tmp_path / "processes.new").rmdir()
    ledger.save()
    assert [*states, ledger.unsaved] == [True, False]
    ledger.close()
