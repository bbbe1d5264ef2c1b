"""What was asked of a pool is on disk: whole, short, and whoever cannot read it is told why."""

from pathlib import Path

import pytest

from penstock.adapters.actuators.demand import NAME, file_of, keep, kept
from penstock.core.scale.history import KEPT, Past

PAST = Past(first=5_900_000, calls=(12.34567, None, 0.0), rates=(0.1, None, 0.0), startup_s=42.0)


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    """With four digits, in a folder of the pool's own, and nothing else is left there."""
    path = file_of(str(tmp_path), "a/b")
    assert path == tmp_path / "a%2Fb" / NAME
    assert kept(path) is None
    keep(path, PAST)
    keep(path, PAST)
    assert kept(path) == Past(first=5_900_000, calls=(12.35, None, 0.0), rates=(0.1, None, 0.0), startup_s=42.0)
    assert [one.name for one in path.parent.iterdir()] == [NAME]


def test_it_is_small(tmp_path: Path) -> None:
    """A week and a day of a busy pool is some tens of kilobytes."""
    path = file_of(str(tmp_path), "p")
    keep(path, Past(first=0, calls=(1234.5678,) * KEPT, rates=(0.123456,) * KEPT))
    assert path.stat().st_size < 40_000


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A file that somebody broke is an error with its name, not a guess."""
    path = file_of(str(tmp_path), "p")
    keep(path, PAST)
    path.write_text('{"first": "x"}')
    with pytest.raises(OSError, match=r"demand\.json cannot be read"):
        kept(path)
