"""Files that are replaced as a whole."""

from pathlib import Path

import pytest

from penstock.adapters.actuators.written import written


def test_the_last_one_stands_alone(tmp_path: Path) -> None:
    """What was written last is there, in a folder that is made for it, and nothing beside it."""
    path = tmp_path / "deep" / "file.json"
    written(path, b"one, longer")
    written(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_what_was(tmp_path: Path) -> None:
    """A disk that fails costs nothing that was written before."""
    path = tmp_path / "file.json"
    written(path, b"one")
    path.with_suffix(".new").mkdir()
    with pytest.raises(OSError):
        written(path, b"two")
    assert path.read_bytes() == b"one"
