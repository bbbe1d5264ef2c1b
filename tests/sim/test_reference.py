"""The page about scenario files says what the reader of scenario files does."""

import re
from pathlib import Path

from penstock.sim.compare import METRICS
from penstock.sim.reference import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/scenarios.md"


def test_the_shipped_page_is_up_to_date() -> None:
    """Who changes a field makes the page again, with the command that the assertion names."""
    assert PAGE.read_text() == markdown(), "penstock simulate --reference > docs/reference/scenarios.md"


def test_every_field_and_every_number_has_a_meaning() -> None:
    """No row of the page ends in an empty cell, and no number of a result is left out."""
    page = markdown()
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    assert len(rows) > len(METRICS) + 40
    assert [row for row in rows if row.endswith("|  |")] == []
    assert all(f"| `{metric}` |" in page for metric in METRICS)


def test_what_has_a_page_of_its_own_is_linked() -> None:
    """A pool's blocks and the kinds of workloads are not told twice."""
    page = markdown()
    assert "(configuration.md#queue)" in page
    assert "[`trace`](workloads.md#trace)" in page
    assert not re.search(r"^### (policy\.|workload)", page, re.MULTILINE)
    assert "### faults[] (die)" in page
