"""What a pool must not forget survives the process: whole, short, and whoever cannot read it is told why."""

from pathlib import Path

import pytest

from penstock.adapters.actuators.memory import NAMES, MemoryFiles
from penstock.core.scale.budget import Purse
from penstock.core.scale.history import KEPT, Past

PURSE = Purse({"1000000": 12.5, "3600000": 0.0}, 3_700_000.0)
PAST = Past(first=5_900_000, calls=(12.34567, None, 0.0), rates=(0.1, None, 0.0), startup_s=42.0)
SHORT = Past(first=5_900_000, calls=(12.35, None, 0.0), rates=(0.1, None, 0.0), startup_s=42.0)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    """Money as it was, demand with four digits, each in a file of its own in a folder of the pool's, whose name may
    be anything."""
    files = MemoryFiles(str(tmp_path / "state"), "a/b")
    assert files.folder == tmp_path / "state" / "a%2Fb"
    assert (files.read(Purse), files.read(Past)) == (None, None)
    for _ in range(2):
        files.write(PURSE)
        files.write(PAST)
    again = MemoryFiles(str(tmp_path / "state"), "a/b")
    assert (again.read(Purse), again.read(Past)) == (PURSE, SHORT)
    assert sorted(it.name for it in files.folder.iterdir()) == sorted(NAMES.values())


def test_files_of_the_former_version_are_read(tmp_path: Path) -> None:
    """As two mechanisms wrote them once: without a word about their kind, and money over several lines."""
    files = MemoryFiles(str(tmp_path), "p")
    files.folder.mkdir()
    (files.folder / "spent.json").write_text(
        '{\n "spent": {\n  "1000000": 12.5,\n  "3600000": 0.0\n },\n "at_s": 3700000.0\n}'
    )
    (files.folder / "demand.json").write_text(
        '{"first":5900000,"calls":[12.35,null,0.0],"rates":[0.1,null,0.0],"startup_s":42.0}'
    )
    assert (files.read(Purse), files.read(Past)) == (PURSE, SHORT)


def test_demand_is_small(tmp_path: Path) -> None:
    """A week and a day of a busy pool is some tens of kilobytes."""
    files = MemoryFiles(str(tmp_path), "p")
    files.write(Past(first=0, calls=(1234.5678,) * KEPT, rates=(0.123456,) * KEPT))
    assert files.path(Past).stat().st_size < 40_000


@pytest.mark.parametrize("text", ["", "{}", '{"spent": {"June": 1}, "at_s": 1}', '{"spent": {"1": "much"}, "at_s": 1}'])
def test_money_that_cannot_be_read_is_not_nothing(tmp_path: Path, text: str) -> None:
    """A file that makes no sense is an error that says where it is: the money in it was spent."""
    files = MemoryFiles(str(tmp_path), "p")
    files.write(PURSE)
    files.path(Purse).write_text(text)
    with pytest.raises(OSError, match=r"spent\.json cannot be read .* it says what was spent this month"):
        files.read(Purse)


@pytest.mark.parametrize("text", ['{"first": "x"}', '{"type": "spent"}'])
def test_demand_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    """A file that somebody broke is an error with its name, not a guess."""
    files = MemoryFiles(str(tmp_path), "p")
    files.write(PAST)
    files.path(Past).write_text(text)
    with pytest.raises(OSError, match=r"demand\.json cannot be read"):
        files.read(Past)


def test_a_write_that_fails_loses_nothing(tmp_path: Path) -> None:
    """Where it cannot be written, what was there before is still there."""
    files = MemoryFiles(str(tmp_path), "p")
    files.write(PURSE)
    (files.folder / "spent.new").mkdir()
    with pytest.raises(OSError, match=r"spent\.new"):
        files.write(Purse({}, 0.0))
    assert files.read(Purse) == PURSE
