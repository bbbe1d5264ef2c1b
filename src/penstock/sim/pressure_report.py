"""The page about pressure tests: the table, and pictures of one run of each. One file, nothing from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

from msgspec import Struct

from penstock.base.units import show_seconds
from penstock.sim.pressure import TOLD, Judged, Played
from penstock.sim.report import COLOURS, after, roof

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c2430}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid #dde3ea}
td.t,th.t{text-align:left}.no{color:#b00020;font-weight:600}.yes{color:#20703a}figure{margin:1rem 0}
svg{width:100%;height:auto}small,figcaption{color:#5c677d}
i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 1rem}"""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 860, 180, 64, 26
Line = tuple[str, list[tuple[float, float]]]
NOTE = (
    "measured: the mean over the seeds, and the worst seed's; a criterion holds where it holds with every seed."
    " at once: one run in which the largest fleet is ordered with the first request, and starts in the same time."
    " A request that failed counts as one that took as long as the whole test."
)


class Finding(Struct, frozen=True, kw_only=True):
    """What came out of one test."""

    number: int
    name: str
    told: str
    mistake: str
    """With which it was played; empty: none."""
    requests: float
    """Of a run, the mean."""
    criteria: list[Judged]
    runs: list[Played]
    bound: Played | None
    cpu_s: float
    """Of all its runs together."""

    @property
    def passed(self) -> bool:
        """Every criterion with every seed."""
        return all(one.holds for one in self.criteria)


def shown(metric: str, value: float) -> str:
    """A number with its unit."""
    if metric.endswith("_s"):
        return show_seconds(round(value, 4))
    if metric.endswith("_share"):
        return f"{100 * value:.3g} %"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def expected(one: Judged) -> str:
    """What is expected, with its unit."""
    words = one.expected.split()
    return " ".join(_unit(one.metric, word) for word in words)


def _unit(metric: str, word: str) -> str:
    try:
        return shown(metric, float(word))
    except ValueError:
        return word


def at_once(one: Judged) -> str:
    """What the fleet that is ordered at once reached."""
    if one.bound is None:
        return "–"
    text = shown(one.metric, one.bound)
    if one.bound_holds:
        return text
    more = "no first fleet is enough" if one.head_room is None else f"it takes {one.head_room} replicas at first"
    return f"{text}: misses too; {more}"


def title_of(tested: Finding) -> str:
    """A line about a test."""
    return f"{tested.number} {tested.told}" + (f", with the mistake {tested.mistake}" if tested.mistake else "")


def page(head: Sequence[str], tests: Sequence[Finding]) -> str:
    """The page."""
    parts = [
        f"<!doctype html><meta charset=utf-8><title>Penstock: pressure tests</title><style>{_STYLE}</style>",
        "<h1>Pressure tests</h1>",
        *(f"<p>{escape(line)}</p>" for line in head),
        _table(tests),
        *(_pictures(tested) for tested in tests),
    ]
    return "\n".join(parts) + "\n"


def _table(tests: Sequence[Finding]) -> str:
    rows = []
    for tested in tests:
        rows.append(f"<tr><th class=t colspan=7>{escape(title_of(tested))}")
        rows += [
            f"<tr><td class=t title='{escape(TOLD.get(one.metric, ''))}'>{one.metric}<td>{shown(one.metric, one.mean)}"
            f"<td>{shown(one.metric, one.worst)}<td>{expected(one)}<td>{one.held}/{one.seeds}"
            f"<td class={'yes' if one.holds else 'no'}>{'pass' if one.holds else 'FAIL'}<td>{escape(at_once(one))}"
            for one in tested.criteria
        ]
    head = "<tr><th>criterion<th>measured<th>worst seed<th>expected<th>seeds<th><th>at once"
    return f"<table>{head}{''.join(rows)}</table><small>{NOTE}</small>"


def _pictures(tested: Finding) -> str:
    drawn = next((run for run in tested.runs if run.course), None)
    if drawn is None:
        return ""
    course = [it for it in drawn.course if it.at_s >= 0]
    fleet: list[Line] = [
        ("there", [(it.at_s, float(it.there)) for it in course]),
        ("ready", [(it.at_s, float(it.ready)) for it in course]),
        ("wanted", [(it.at_s, float(it.wanted)) for it in course if it.wanted]),
    ]
    queue: list[Line] = [("waiting", [(it.at_s, float(it.queued)) for it in course])]
    rates: list[Line] = [
        ("arrived", [(it.at_s, it.arrived_per_s) for it in drawn.points]),
        ("failed", [(it.at_s, it.failed_per_s) for it in drawn.points]),
    ]
    times: list[Line] = [("p95", [(it.at_s, it.e2e_p95_s) for it in drawn.points if it.e2e_p95_s])]
    return "".join(
        [
            f"<h2>{escape(title_of(tested))}</h2><small>seed {drawn.seed}</small>",
            figure("Replicas", fleet),
            figure("Requests a second", rates),
            figure("Calls that wait in the gateway", queue),
            figure("End to end, p95 of what ended at each moment, seconds", times),
        ]
    )


def figure(title: str, lines: Sequence[Line]) -> str:
    """Lines over time."""
    top = roof(max((y for _, line in lines for _, y in line), default=0.0))
    end = max((x for _, line in lines for x, _ in line), default=0.0)
    if not top or not end:
        return ""
    high = _HEIGHT - _BOTTOM

    def place(line: Iterable[tuple[float, float]]) -> str:
        return " ".join(
            f"{_LEFT + (_WIDTH - _LEFT) * x / end:.1f},{high * (1 - y / top):.1f}" for x, y in line
        )  # fmt: skip

    paths = "".join(
        f'<polyline fill=none stroke="{COLOURS[at]}" stroke-width=1.5 points="{place(line)}"/>'
        for at, (_, line) in enumerate(lines)
    )
    marks = "".join(
        f"<text x={_LEFT - 6} y={high * (1 - part) + 4:.0f} text-anchor=end font-size=11>{top * part:.3g}</text>"
        for part in (0.0, 0.5, 1.0)
    )
    times = "".join(
        f"<text x={_LEFT + (_WIDTH - _LEFT) * part:.0f} y={_HEIGHT - 6} text-anchor=middle font-size=11>"
        f"{after(end * part)}</text>"
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    legend = "".join(f'<i style="background:{COLOURS[at]}"></i>{name}' for at, (name, _) in enumerate(lines))
    return (
        f'<figure><figcaption>{title}{legend}</figcaption><svg viewBox="0 -8 {_WIDTH + 20} {_HEIGHT + 8}">'
        f"{marks}{times}{paths}</svg></figure>"
    )
