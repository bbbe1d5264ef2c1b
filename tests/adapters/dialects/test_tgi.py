"""TGI's dialect, on a page in the form that its router writes (names and help from its documentation)."""

from pathlib import Path

import pytest

from penstock.adapters.dialects.tgi import Tgi
from penstock.base.nouns import EngineStats

DATA = Path(__file__).parent / "data"
TGI = Tgi()


def test_a_page() -> None:
    """The batch is what runs, the queue is what waits; it tells nothing else."""
    assert TGI.stats((DATA / "tgi_metrics.txt").read_bytes()) == EngineStats(running=12, waiting=5)


def test_before_the_first_request_there_is_nothing_to_read() -> None:
    """A server that has served nothing yet has no gauges: not known, rather than idle."""
    with pytest.raises(ValueError, match="before its first request"):
        TGI.stats(b"")
