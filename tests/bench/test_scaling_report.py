"""Curves at equal attainment: read between two points, and only where there is one on each side."""

import json
import re
from pathlib import Path

import pytest

from bench.scaling_report import best, hours_for, picture, read, tables

ROWS = [
    {"world": "w", "how": "quick", "who": who, "knob": knob, "cost": hours, "goodput": good}
    for who, runs in (
        ("penstock", ((0.5, 20.0, 0.98), (0.7, 10.0, 0.9), (0.9, 12.0, 0.85))),
        ("hpa_cpu", ((0.2, 30.0, 0.99), (0.3, 15.0, 0.91))),
    )
    for knob, hours, good in runs
]


def written(folder: Path) -> Path:
    """A file of runs."""
    file = folder / "runs.jsonl"
    other = {**ROWS[0], "how": "full", "cost": 99.0}
    file.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, other]))
    return file


def test_a_point_that_another_beats_does_not_count() -> None:
    """More hours for less is left out, and between two points the line is read."""
    points = [(20.0, 0.98), (10.0, 0.9), (12.0, 0.85)]
    assert best(points) == [(10.0, 0.9), (20.0, 0.98)]
    assert hours_for(points, 0.94) == pytest.approx(15.0)
    assert hours_for(points, 0.5) is None
    assert hours_for(points, 0.999) is None


def test_tables_and_a_picture(tmp_path: Path) -> None:
    """Each policy has a line at equal attainment and one of all its runs; quick and full runs are kept apart."""
    curves = read([written(tmp_path)])
    told = tables(curves)
    assert "| metrics alone | 10.0 | 13.1 | 16.2 | 18.8 | – |" in told
    assert "| HPA on CPU | – | 17.8 | 22.5 | 26.2 | 30.0 |" in told
    drawn = picture(curves)
    assert drawn.startswith("<svg")
    assert drawn.count("<polyline") == 2
    names = drawn.partition('font-weight="bold"')[0]
    lowest = max(float(y) for y in re.findall(r'<circle[^>]* cy="([\d.]+)"', names))
    assert float(re.findall(r' y="([\d.]+)"', names)[-1]) > lowest + 12, "the first title is below the names"
    assert read([written(tmp_path)], "full")["w"]["penstock"] == [(0.5, (99.0, 0.98))]
