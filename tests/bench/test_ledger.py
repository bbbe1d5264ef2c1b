"""The ledger's benchmark measures rows that are there, questions that find something, and a path that writes."""

import os
from argparse import Namespace
from pathlib import Path

import pytest

from bench.ledger import made, path, rows, threads_s

pytestmark = pytest.mark.slow


def test_rows_are_those_of_many_tenants_in_one_month() -> None:
    """In the order of their time within a second, each with an id of its own."""
    records = list(made(2000, 1))
    assert len({record.payload[:40] for record in records}) == 2000


def test_a_ledger_is_filled_and_asked(tmp_path: Path) -> None:
    """Rates are more than nothing, and every question is answered by an index."""
    found = rows(Namespace(rows=3000, last=1000, folder=tmp_path, database=None))
    assert found["filled"]["rows"] == 3000
    assert found["filled"]["last_rows_per_s"] > 0
    assert all(numbers["median"] > 0 for numbers in found["ms"].values())
    assert any("USING INDEX calls_tenant" in step for step in found["plans"]["page"])
    assert not any("SCAN calls" in step for steps in found["plans"].values() for step in steps)


def test_the_path_costs_microseconds(tmp_path: Path) -> None:
    """Booking and committing a call, alone or with others of its turn."""
    found = path(Namespace(calls=200, rounds=2, folder=tmp_path))["us_cpu_per_call"]
    assert all(0.1 < cost < 1000 for cost in found.values())


def test_threads_are_told_apart() -> None:
    """The first thread of a process is the loop's."""
    assert set(threads_s(os.getpid())) == {"loop", "others"}
