"""The table of metrics and its page. Run this file as a script to write the page anew."""

import re
from pathlib import Path

from penstock.telemetry.families import FAMILIES, reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_names_follow_the_conventions() -> None:
    """Names are unique snake case; times end in seconds; no name carries `_total` itself."""
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert not family.name.endswith("_total")
        assert all(re.fullmatch(r"[a-z]+", label) for label in family.labels)
        assert family.help.endswith(".")
        assert "\n" not in family.help
        assert "\\" not in family.help
        if family.kind == "histogram":
            assert family.name.endswith("_seconds")


def test_the_reference_page_is_up_to_date() -> None:
    """docs/reference/metrics.md is what the code says (python tests/telemetry/test_families.py writes it)."""
    assert PAGE.read_text() == reference()


if __name__ == "__main__":
    PAGE.write_text(reference())
