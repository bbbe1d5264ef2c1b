"""A comparison as a page for people: one HTML file with its pictures in it, that needs nothing from anywhere."""

import math
from collections.abc import Callable, Sequence
from html import escape

from penstock.base.units import show_seconds
from penstock.sim.compare import Column, Comparison, Number, Verdict, best
from penstock.sim.tally import Point
from penstock.sim.what_if import HEADS, Option, answer, options

ROWS: tuple[tuple[str, str, str], ...] = (
    ("requests", "requests", "count"),
    ("failed", "failed or refused", "count"),
    ("gave_up", "left by their clients", "count"),
    ("client_retries", "tries of clients that had been refused", "count"),
    ("goodput", "goodput (share within the SLO, refusals counted)", "share"),
    ("good_per_s", "good answers per second", "number"),
    ("ttft_mean_s", "TTFT, mean", "time"),
    ("ttft_p50_s", "TTFT, p50", "time"),
    ("ttft_p95_s", "TTFT, p95", "time"),
    ("ttft_p99_s", "TTFT, p99", "time"),
    ("e2e_p50_s", "end to end, p50", "time"),
    ("e2e_p95_s", "end to end, p95", "time"),
    ("queue_p95_s", "wait in the gateway's queue, p95", "time"),
    ("per_token_p50_s", "time per further token, p50", "time"),
    ("prefix_hits", "prompt tokens found cached", "share"),
    ("output_tokens_per_s", "output tokens per second", "number"),
    ("load_max_mean", "busiest replica / mean", "number"),
    ("fairness", "fairness between tenants (Jain)", "number"),
    ("attempts", "attempts per request", "number"),
    ("adapter_loads", "LoRA adapters brought into memory", "count"),
    ("grouped", "requests that went to an engine with others", "share"),
    ("calls_per_group", "requests that went together, on average", "number"),
    ("cost", "cost of the fleet", "number"),
    ("cost_per_hour", "cost of the fleet an hour", "number"),
)
"""Metric, how people call it, and how it is shown."""
FIGURES: tuple[tuple[str, Callable[[Point], float | None]], ...] = (
    ("TTFT, p95 of each moment, seconds", lambda point: point.ttft_p95_s or None),
    ("TTFT, p50 of each moment, seconds", lambda point: point.ttft_p50_s or None),
    ("End to end, p95 of each moment, seconds", lambda point: point.e2e_p95_s or None),
    ("End to end, p50 of each moment, seconds", lambda point: point.e2e_p50_s or None),
    ("Good answers per second", lambda point: point.good_per_s),
    ("Failures and refusals per second", lambda point: point.failed_per_s),
    ("Prompt tokens found cached, share of each moment", lambda point: point.prefix_hits),
    ("Output tokens per second, counted as their answers end", lambda point: point.output_tokens_per_s),
    ("Fairness between tenants (Jain), of all that was served so far", lambda point: point.fairness),
    ("Cost per million output tokens of each moment", lambda point: point.cost_per_million_tokens),
)
"""Pictures over time; one of which nobody has a value above 0 is left out."""
OF_MODELS: tuple[tuple[str, str, str], ...] = (
    ("requests", "requests", "count"),
    ("failed", "failed or refused", "count"),
    ("elsewhere", "answered by another model", "count"),
    ("goodput", "goodput", "share"),
    ("ttft_p50_s", "TTFT, p50", "time"),
    ("ttft_p95_s", "TTFT, p95", "time"),
    ("e2e_p50_s", "end to end, p50", "time"),
    ("e2e_p95_s", "end to end, p95", "time"),
)
"""The same for each model."""
SHY = frozenset({"cost", "cost_per_hour", "gave_up", "client_retries", "adapter_loads", "grouped", "calls_per_group"})
"""Not shown where they are nothing everywhere."""
NOTE = "The best of a row stands out, with those that the seeds cannot tell from it; nothing does where all are alike."
BESIDE = (
    "oracle: the same queue over the same engines, by who knows how long answers will be and what every cache holds. "
    "bound: each request alone on the fastest replica, with all in its cache that was said before. Neither can be had."
)
COLOURS = ("#1b6ca8", "#c8553d", "#3c8d40", "#7b4ea3", "#b8860b", "#2a9d8f", "#8d5524", "#5c677d", "#d1495b", "#00798c")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 860, 240, 64, 28
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid #dde3ea}
th:first-child,td:first-child{text-align:left}td.best{font-weight:600}svg{width:100%;height:auto}
small,figcaption{color:#5c677d}figure{margin:1.5rem 0}
i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 1rem}
td.beside{color:#5c677d;font-style:italic}.no{color:#b00020}.yes{color:#20703a}"""


def shown(value: float, kind: str) -> str:
    """A number for people."""
    if kind == "time":
        return show_seconds(value)
    if kind == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if kind == "count" or abs(value) >= 1000 else f"{value:.3g}"


def shown_number(number: Number, kind: str) -> str:
    """A mean with its interval."""
    text = shown(number.mean, kind)
    if number.half_width is None or number.half_width <= 0.005 * abs(number.mean):
        return text
    return f"{text} ± {shown(number.half_width, kind)}"


def names(comparison: Comparison) -> list[str]:
    """The heads of the table."""
    columns = [column.policy for column in comparison.columns]
    return columns + [yardstick.name for yardstick in comparison.yardsticks]


def beside_cells(comparison: Comparison, metric: str, kind: str) -> list[str]:
    """What the yardsticks have of a row; a dash where they have nothing."""
    found = [yardstick.numbers.get(metric) for yardstick in comparison.yardsticks]
    return ["–" if number is None else shown_number(number, kind) for number in found]


def model_rows(comparison: Comparison) -> list[tuple[str, str, list[str]]]:
    """Model, what is told of it, and that of each policy; nothing where the fleet is one pool."""
    models = dict.fromkeys(name for column in comparison.columns for name in column.models)
    found = []
    for name in models:
        numbers = [column.models.get(name, {}) for column in comparison.columns]
        for metric, words, kind in OF_MODELS:
            cells = [shown_number(each[metric], kind) if metric in each else "–" for each in numbers]
            if metric != "elsewhere" or any(each["elsewhere"].mean for each in numbers if each):
                found.append((name, words, cells))
    return found


def html(title: str, told: Sequence[str], comparison: Comparison, verdicts: Sequence[Verdict]) -> str:
    """The page. `told`: lines about what was run."""
    columns = comparison.columns
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in told),
        _what_if(options(comparison, verdicts)),
        _table(comparison),
        _models(comparison),
        _verdicts(verdicts),
        *(_figure(head, columns, value) for head, value in FIGURES),
        _loads(columns),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _table(comparison: Comparison) -> str:
    heads = "".join(f"<th>{escape(name)}" for name in names(comparison))
    rows = []
    for metric, name, kind in ROWS:
        if metric in SHY and not any(column.numbers[metric].mean for column in comparison.columns):
            continue
        winners = best(comparison, metric) if metric != "requests" else frozenset()
        cells = "".join(
            f"<td{' class=best' if column.policy in winners else ''}>{shown_number(column.numbers[metric], kind)}"
            for column in comparison.columns
        )
        beside = "".join(f"<td class=beside>{text}" for text in beside_cells(comparison, metric, kind))
        rows.append(f"<tr><td>{name}{cells}{beside}")
    note = f"Means over {len(comparison.seeds)} seed(s) with their 95 % intervals. {NOTE}"
    if comparison.yardsticks:
        note += f" {BESIDE}"
    return f"<table><tr><th>{heads}{''.join(rows)}</table><small>{note}</small>"


def _models(comparison: Comparison) -> str:
    told = model_rows(comparison)
    if not told:
        return ""
    heads = "".join(f"<th>{escape(column.policy)}" for column in comparison.columns)
    rows = "".join(
        f"<tr><td>{escape(model)}: {words}{''.join(f'<td>{cell}' for cell in cells)}" for model, words, cells in told
    )
    return f"<h2>Of each model</h2><table><tr><th>{heads}{rows}</table>"


def _what_if(found: Sequence[Option]) -> str:
    if not found:
        return ""
    heads = "".join(f"<th>{head}" for head in HEADS)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}' for cell in what_if_cells(option))}"
        f"<td class={'no' if option.holds is False else 'yes'}>{option.verdict}"
        for option in found
    )
    return f"<h2>What if</h2><table><tr>{heads}{rows}</table><p>{escape(answer(found))}</p>"


def what_if_cells(option: Option) -> list[str]:
    """A row of the table of strategies and sizes, but for its last cell."""
    return [
        str(option.replicas), option.policy, shown_number(option.goodput, "share"),
        shown_number(option.ttft_p95_s, "time"),
        shown_number(option.cost_per_hour, "number") if option.cost_per_hour.mean else "–",
    ]  # fmt: skip


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = "".join(
        f"<tr><td>{escape(it.policy)}<td>{escape(it.metric)}<td>{it.value:g}<td>{escape(it.bound)}"
        f"<td class={'yes' if it.holds else 'no'}>{'holds' if it.holds else 'MISSED'}"
        for it in verdicts
    )
    return f"<h2>What was expected</h2><table><tr><th>policy<th>metric<th>found<th>expected<th>{rows}</table>"


def _figure(title: str, columns: Sequence[Column], value: Callable[[Point], float | None]) -> str:
    """Lines over time, of each policy's first seed; None: there was nothing at that time."""
    lines = [[(it.at_s, y) for it in column.runs[0].points if (y := value(it)) is not None] for column in columns]
    top = roof(max((y for line in lines for _, y in line), default=0.0))
    end = max((x for line in lines for x, _ in line), default=0.0)
    if not top or not end:
        return ""
    paths = "".join(
        f'<polyline fill=none stroke="{_colour(at)}" stroke-width=1.5 points="{_points(line, end, top)}"/>'
        for at, line in enumerate(lines)
    )
    marks = "".join(
        f"<text x={_LEFT - 6} y={_y(top * part, top) + 4:.0f} text-anchor=end font-size=11>{top * part:.3g}</text>"
        f'<line x1={_LEFT} x2={_WIDTH} y1={_y(top * part, top):.0f} y2={_y(top * part, top):.0f} stroke="#dde3ea"/>'
        for part in (0.0, 0.5, 1.0)
    )
    times = "".join(
        f"<text x={_x(end * part, end):.0f} y={_HEIGHT - 8} text-anchor=middle font-size=11>{after(end * part)}</text>"
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    legend = "".join(
        f'<i style="background:{_colour(at)}"></i>{escape(column.policy)}' for at, column in enumerate(columns)
    )
    return (
        f'<figure><figcaption>{title}{legend}</figcaption><svg viewBox="0 -8 {_WIDTH + 20} {_HEIGHT + 8}">'
        f"{marks}{times}{paths}</svg></figure>"
    )


def roof(most: float) -> float:
    """Where an axis ends that has to show so much: at a number whose half is as easily read."""
    if most <= 0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(most))
    return next(step for share in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10, 12) if (step := share * unit) >= most)


def after(value_s: float) -> str:
    """A time on an axis."""
    return show_seconds(value_s) if value_s else "0"


def _loads(columns: Sequence[Column]) -> str:
    """Requests of each replica, of each policy's first seed."""
    most_names = max(len(column.runs[0].replicas) for column in columns)
    if not 1 < most_names <= 64:
        return ""
    wide = (_WIDTH - _LEFT) / most_names
    rows = []
    for at, column in enumerate(columns):
        counts = column.runs[0].replicas
        most = max(counts.values(), default=1) or 1
        bars = "".join(
            f"<rect x={_LEFT + number * wide:.1f} width={wide - 2:.1f} "
            f'y={40 - 36 * counts[name] / most:.1f} height={36 * counts[name] / most:.1f} fill="{_colour(at)}">'
            f"<title>{escape(name)}: {counts[name]:,}</title></rect>"
            for number, name in enumerate(counts)
        )
        rows.append(f'<svg viewBox="0 0 {_WIDTH + 20} 42">{bars}</svg><small>{escape(column.policy)}</small>')
    return f"<figure><figcaption>Requests of each replica</figcaption>{''.join(rows)}</figure>"


def _colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]


def _points(line: Sequence[tuple[float, float]], end: float, top: float) -> str:
    return " ".join(f"{_x(x, end):.1f},{_y(y, top):.1f}" for x, y in line)


def _x(x: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT) * x / end


def _y(y: float, top: float) -> float:
    return (_HEIGHT - _BOTTOM) * (1 - y / top)
