"""`python -m bench.scaling_report FILE…`: what `bench.scaling` measured, as Markdown tables and one picture.

Policies are held against each other at equal attainment: how many replica-hours each needs for it, on the line between
its two neighbouring points. Points that cost more than another of the same policy, and are no better, are left out.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

Point = tuple[float, float]
"""Replica-hours, share within the SLO."""
Curves = dict[str, dict[str, list[tuple[float, Point]]]]
"""World -> who -> knob and point, by knob."""
LEVELS = (0.85, 0.9, 0.925, 0.95, 0.97, 0.99, 0.995)
NAMES = {
    "penstock": "metrics alone", "forecast": "with a forecast", "penstock_calm": "metrics alone, no panic",
    "forecast_calm": "with a forecast, no panic", "forecast_fifth_calm": "the same, a fifth added",
    "hpa_cpu": "HPA on CPU", "hpa_queue": "HPA on queue length", "clairvoyant": "plan that knows all", "fixed": "fixed",
}  # fmt: skip
COLOURS = {
    "penstock": "#1b6ca8", "forecast": "#c8553d", "penstock_calm": "#7fb2d9", "forecast_calm": "#e08a77",
    "forecast_fifth_calm": "#f0c9c0", "hpa_cpu": "#7b4ea3",
    "hpa_queue": "#b8860b", "clairvoyant": "#3c8d40", "fixed": "#5c677d",
}  # fmt: skip
WIDE, HIGH, LEFT, GAP = 760, 260, 60, 60
LEAST = 0.8
"""The picture begins here."""


def read(files: list[Path], how: str = "quick") -> Curves:
    """All runs of these files of this kind; of the same run the last one counts."""
    found: dict[tuple[str, str, float], Point] = {}
    for file in files:
        for line in file.read_text().splitlines():
            one: dict[str, Any] = json.loads(line)
            if one["how"] == how:
                found[one["world"], one["who"], one["knob"]] = one["cost"], one["goodput"]
    curves: Curves = {}
    for (world, who, knob), point in sorted(found.items()):
        curves.setdefault(world, {}).setdefault(who, []).append((knob, point))
    return curves


def best(points: list[Point]) -> list[Point]:
    """Those that nobody of them beats in both, the cheapest first."""
    kept: list[Point] = []
    for point in sorted(points):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def hours_for(points: list[Point], level: float) -> float | None:
    """Replica-hours for this attainment; None: it has none so high, or none so low."""
    line = best(points)
    for (low_hours, low), (high_hours, high) in pairwise(line):
        if low <= level <= high:
            return low_hours + (high_hours - low_hours) * (level - low) / (high - low)
    return None


def tables(curves: Curves) -> str:
    """Every run, and each world at equal attainment."""
    parts = []
    for world, policies in curves.items():
        lines = [f"### {world}: replica-hours at equal attainment", ""]
        levels = [level for level in LEVELS if any(hours_for(_points(runs), level) for runs in policies.values())]
        lines += ["| | " + " | ".join(f"{100 * level:g} %" for level in levels) + " |", "|---|" + "---:|" * len(levels)]
        for who, runs in policies.items():
            cells = [hours_for(_points(runs), level) for level in levels]
            shown = " | ".join("–" if cell is None else f"{cell:,.{0 if cell > 100 else 1}f}" for cell in cells)
            lines.append(f"| {NAMES[who]} | {shown} |")
        lines += ["", f"### {world}: all runs", "", "| | knob: within the SLO, replica-hours |", "|---|---|"]
        for who, runs in policies.items():
            cells_all = [f"{knob:g}: {100 * good:.1f} %, {hours:,.1f}" for knob, (hours, good) in runs]
            lines.append(f"| {NAMES[who]} | {'; '.join(cells_all)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _points(runs: list[tuple[float, Point]]) -> list[Point]:
    return [point for _, point in runs]


def picture(curves: Curves) -> str:
    """Attainment against replica-hours, a panel a world; the dots of a policy are joined."""
    above = 16 + (len(COLOURS) + 3) // 4 * 18 + 8  # the rows of names, and the first panel's title
    high = len(curves) * (HIGH + GAP) + above
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 30} {high}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for at, (who, colour) in enumerate(COLOURS.items()):
        x, y = LEFT + at % 4 * 195, 16 + at // 4 * 18
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}"/><text x="{x + 9}" y="{y + 4}">{NAMES[who]}</text>'
        )
    for at, (world, policies) in enumerate(curves.items()):
        parts += _panel(world, policies, above + at * (HIGH + GAP))
    return "\n".join(parts) + "\n</svg>\n"


def _panel(world: str, policies: dict[str, list[tuple[float, Point]]], top: float) -> list[str]:
    shown = {who: [one for one in sorted(_points(runs)) if one[1] >= LEAST] for who, runs in policies.items()}
    cheapest = min(point[0] for points in shown.values() for point in points)
    most = 2.2 * cheapest  # beyond that nobody would go

    def place(point: Point) -> tuple[float, float]:
        share = (point[1] - LEAST) / (1 - LEAST)
        return LEFT + WIDE * (point[0] - 0.9 * cheapest) / (most - 0.9 * cheapest), top + HIGH * (1 - share)

    parts = [f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{world}</text>']
    for step in range(5):
        y = top + HIGH * step / 4
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDE}" y1="{y}" y2="{y}" stroke="#dde3ea"/>')
        level = 100 - 100 * (1 - LEAST) * step / 4
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end" fill="#5c677d">{level:g} %</text>')
        hours = 0.9 * cheapest + (most - 0.9 * cheapest) * step / 4
        x = LEFT + WIDE * step / 4
        text = f"{hours:,.{0 if most > 100 else 1}f}" + (" replica-hours" if step == 4 else "")
        anchor = "end" if step == 4 else "middle"
        parts.append(f'<text x="{x}" y="{top + HIGH + 18}" text-anchor="{anchor}" fill="#5c677d">{text}</text>')
    for who, points in shown.items():
        seen = [place(point) for point in points if point[0] <= most]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in seen)
        parts.append(f'<polyline fill="none" stroke="{COLOURS[who]}" stroke-width="1.5" points="{joined}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[who]}"/>' for x, y in seen]
    return parts


def main() -> None:
    """Print the tables; draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling_report", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--how", default="quick", choices=("quick", "full"))
    parser.add_argument("--picture", type=Path, help="SVG file to write")
    asked = parser.parse_args()
    curves = read(asked.files, asked.how)
    print(tables(curves))
    if asked.picture:
        asked.picture.write_text(picture(curves))


if __name__ == "__main__":
    main()
