"""What a pool has spent survives the process."""

from pathlib import Path

import pytest

from penstock.adapters.actuators.purse import PurseFile
from penstock.core.scale.budget import Purse

PURSE = Purse({"1000000": 12.5, "3600000": 0.0}, 3_700_000.0)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """Written and read again, as it was; the pool's name may be anything."""
    file = PurseFile(str(tmp_path / "state"), "a/b")
    assert file.read() is None
    file.write(PURSE)
    file.write(PURSE)
    assert PurseFile(str(tmp_path / "state"), "a/b").read() == PURSE
    assert [it.name for it in file.path.parent.iterdir()] == ["spent.json"]


@pytest.mark.parametrize("text", ["", "{}", '{"spent": {"June": 1}, "at_s": 1}', '{"spent": {"1": "much"}, "at_s": 1}'])
def test_what_cannot_be_read_is_not_nothing(tmp_path: Path, text: str) -> None:
    """A file that makes no sense is an error that says where it is: the money in it was spent."""
    file = PurseFile(str(tmp_path), "p")
    file.write(PURSE)
    file.path.write_text(text)
    with pytest.raises(OSError, match=r"spent\.json cannot be read"):
        file.read()


def test_a_write_that_fails_loses_nothing(tmp_path: Path) -> None:
    """Where it cannot be written, what was kept before is still there."""
    file = PurseFile(str(tmp_path), "p")
    file.write(PURSE)
    (file.path.parent / "spent.new").mkdir()
    with pytest.raises(OSError, match=r"spent\.new"):
        file.write(Purse({}, 0.0))
    assert file.read() == PURSE
