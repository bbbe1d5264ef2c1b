"""`python -m bench.field_report FILE…`: what `bench.field` measured, as Markdown tables, verdicts and one picture.

A number is the mean over the seeds. Strategies are held against each other by goodput; where the best and `adaptive`
both have more than 99.9 %, by TTFT p95.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

ALL_GOOD = 0.999
WITHIN = 0.05
BESIDE = ("oracle", "bound")
COLOURS = {"adaptive": "#1b6ca8", "prefix_aware": "#c8553d", "oracle": "#3c8d40"}
ROW_PX, LEFT_PX, WIDE_PX, TOP_PX = 34, 190, 600, 40


class Mean(NamedTuple):
    """One strategy on one workload."""

    goodput: float
    ttft_p50_s: float
    ttft_p95_s: float
    hits: float
    failed: float
    seeds: int
    low: float
    """The worst seed's goodput."""
    high: float


Field = dict[str, dict[str, Mean]]
"""Workload -> who -> what came out."""


def read(files: list[Path]) -> Field:
    """All runs of these files; of the same run the last one counts."""
    runs: dict[tuple[str, str, int], dict[str, Any]] = {}
    for file in files:
        for line in file.read_text().splitlines():
            one = json.loads(line)
            load = one.get("load", 1.0)
            workload = one["workload"] if load == 1.0 else f"{one['workload']} ×{load:g}"
            workload += f", {one['seats']} seats" if "seats" in one else ""
            runs[workload, one["who"], one["seed"]] = one
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (workload, who, _), one in runs.items():
        groups.setdefault(workload, {}).setdefault(who, []).append(one)
    return {workload: {who: _mean(some) for who, some in found.items()} for workload, found in sorted(groups.items())}


def _mean(some: list[dict[str, Any]]) -> Mean:
    goodput, p50_s, p95_s, hits, failed = (
        mean(one[name] for one in some) for name in ("goodput", "ttft_p50_s", "ttft_p95_s", "prefix_hits", "failed")
    )
    shares = [one["goodput"] for one in some]
    return Mean(goodput, p50_s, p95_s, hits, failed, len(some), min(shares), max(shares))


def strategies(found: dict[str, Mean]) -> dict[str, Mean]:
    """Without yardsticks and opponents."""
    return {who: one for who, one in found.items() if who not in BESIDE and ":" not in who}


class Verdict(NamedTuple):
    """How one strategy stands on one workload."""

    by: str
    """Goodput or TTFT."""
    value: float
    best: str
    best_value: float
    worst: str
    holds: bool
    """Within 5 % of the best."""
    is_worst: bool


def verdict(found: dict[str, Mean], who: str = "adaptive") -> Verdict:
    """One strategy against all."""
    tried = strategies(found)
    own = tried[who]
    top = max(one.goodput for one in tried.values())
    if min(top, own.goodput) > ALL_GOOD:
        best = min(tried, key=lambda name: tried[name].ttft_p95_s)
        worst = max(tried, key=lambda name: tried[name].ttft_p95_s)
        least = tried[best].ttft_p95_s
        return Verdict(
            "TTFT p95", own.ttft_p95_s, best, least, worst, own.ttft_p95_s <= (1 + WITHIN) * least, worst == who
        )
    best = max(tried, key=lambda name: tried[name].goodput)
    worst = min(tried, key=lambda name: tried[name].goodput)
    return Verdict("goodput", own.goodput, best, top, worst, own.goodput >= (1 - WITHIN) * top, worst == who)


def tables(field: Field) -> str:
    """Goodput, TTFT p95 and hits of everybody, then the verdicts."""
    whos = list(dict.fromkeys(who for found in field.values() for who in found))
    parts = [
        _table("Goodput, %", field, whos, lambda one: f"{100 * one.goodput:.1f}"),
        _table("TTFT p95, ms", field, whos, lambda one: f"{1000 * one.ttft_p95_s:,.0f}"),
        _table("TTFT p50, ms", field, whos, lambda one: f"{1000 * one.ttft_p50_s:,.0f}"),
        _table("Prompt tokens found cached, %", field, whos, lambda one: f"{100 * one.hits:.1f}"),
        _verdicts(field),
    ]
    return "\n\n".join(parts) + "\n"


def _table(title: str, field: Field, whos: list[str], cell: Any) -> str:
    lines = [f"### {title}", "", "| | " + " | ".join(field) + " |", "|---|" + "---:|" * len(field)]
    for who in whos:
        cells = [cell(found[who]) if who in found else "" for found in field.values()]
        lines.append(f"| `{who}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _verdicts(field: Field) -> str:
    lines = [
        "### adaptive against the best",
        "",
        "| workload | by | adaptive | best | within 5 % | the worst |",
        "|---|---|---:|---:|---|---|",
    ]
    for workload, found in field.items():
        if "adaptive" not in found:
            continue
        one = verdict(found)
        scale, unit = (100, " %") if one.by == "goodput" else (1000, " ms")
        lines.append(
            f"| {workload} | {one.by} | {scale * one.value:.1f}{unit} "
            f"| {scale * one.best_value:.1f}{unit} (`{one.best}`) | "
            f"{'yes' if one.holds else '**no**'} | {'**adaptive**' if one.is_worst else f'`{one.worst}`'} |"
        )
    return "\n".join(lines)


def picture(field: Field) -> str:
    """Goodput of everybody, one line a workload."""
    high = TOP_PX + ROW_PX * len(field) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT_PX + WIDE_PX + 40} {high}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for share in (0, 25, 50, 75, 100):
        x = LEFT_PX + WIDE_PX * share / 100
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP_PX - 8}" y2="{high - 36}" stroke="#dde3ea"/>')
        parts.append(f'<text x="{x}" y="{high - 20}" text-anchor="middle" fill="#5c677d">{share} %</text>')
    for at, (workload, found) in enumerate(field.items()):
        y = TOP_PX + ROW_PX * at + ROW_PX / 2
        parts.append(f'<text x="{LEFT_PX - 12}" y="{y + 4}" text-anchor="end">{workload}</text>')
        parts += [_dot(who, one, y) for who, one in sorted(found.items(), key=lambda item: item[0] in COLOURS)]
    legend = LEFT_PX
    for who, colour in {**COLOURS, "other strategies": "#9aa5b1"}.items():
        parts.append(f'<circle cx="{legend}" cy="16" r="5" fill="{colour}"/><text x="{legend + 9}" y="20">{who}</text>')
        legend += 130
    return "\n".join(part for part in parts if part) + "\n</svg>\n"


def _dot(who: str, one: Mean, y: float) -> str:
    if who == "bound" or ":" in who:
        return ""
    x = LEFT_PX + WIDE_PX * one.goodput
    colour, size = COLOURS.get(who, "#9aa5b1"), 6 if who in COLOURS else 4
    look = f'cx="{x:.1f}" cy="{y}" r="{size}" fill="{colour}" fill-opacity="0.8"'
    return f"<circle {look}><title>{who}: {one.goodput:.3f}</title></circle>"


def main() -> None:
    """Print the tables; draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m bench.field_report", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path, help="SVG file to write")
    asked = parser.parse_args()
    field = read(asked.files)
    print(tables(field))
    if asked.picture:
        asked.picture.write_text(picture(field))


if __name__ == "__main__":
    main()
