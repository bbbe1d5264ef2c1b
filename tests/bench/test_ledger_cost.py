"""The ledger's cost in instructions: what is counted is done, with and without it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench.ledger_cost import carry, prepare, run, serve
from penstock.drive.segments import Reader, Segments

pytestmark = pytest.mark.slow


def test_calls_are_decided_and_booked(tmp_path: Path) -> None:
    """Each of them once, in turns of three; without a ledger the same calls are decided."""
    segments = Segments(tmp_path)
    assert serve(60, 3, segments) > 0
    assert len(Reader(segments).read(100)) == 60
    segments.close()
    assert run("without", 60, 1, tmp_path) > 0


def test_the_clerk_carries_all(tmp_path: Path) -> None:
    """Into a database of its own, a second's calls at a time."""
    prepare(tmp_path, 200, 60, 5)
    assert carry(tmp_path, 60) > 0
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as base:
        assert base.execute("SELECT count(*), max(at) - min(at) < 5000000 FROM calls").fetchone() == (200, 1)
