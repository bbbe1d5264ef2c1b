"""From measurements to tables: medians over the repetitions, as ratios to nginx of the same run, and the goals."""

import statistics
from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]
REFERENCE = "nginx"
GOALS: tuple[tuple[str, str, float, float], ...] = (
    ("requests", "cpu_us", 3.0, 2.2),
    ("paced", "cpu_us_chunk", 1.5, 1.2),
)
"""(scenario, number, at most × nginx, goal × nginx)."""
ADDED_P50_US = 300.0
"""Added latency at one connection."""
KIB_PER_STREAM = 20.0
GROWTH_KIB = 4096
"""What "flat" means over a million requests: the allocator's own breathing."""


def tables(rows: list[Row]) -> str:
    """All measurements as Markdown."""
    parts = [
        _requests(rows, "requests", "Requests, not streamed, 64 connections, closed loop"),
        _requests(rows, "requests8k", "The same with bodies of 8 KB"),
        _requests(rows, "requests400k", "The same with bodies of 400 KB"),
        _latency(rows),
        _chunks(rows, "paced", "Streams, 64 at once, 5 ms between chunks"),
        _chunks(rows, "fast", "Streams, 64 at once, no pause between chunks"),
        _streams(rows),
        _million(rows),
        _start(rows),
        _goals(rows),
        _failures(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _of(rows: Iterable[Row], scenario: str, gateway: str) -> list[Row]:
    return [r for r in rows if r["scenario"] == scenario and r["gateway"] == gateway and "failed" not in r]


def _gateways(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["gateway"] for row in rows))


def middle(rows: list[Row], number: str) -> float | None:
    """The median of a number over the repetitions; None: there is none."""
    values = [row[number] for row in rows if number in row]
    return statistics.median(values) if values else None


def _spread(rows: list[Row], number: str, digits: int) -> str:
    values = [row[number] for row in rows if number in row]
    if not values:
        return "–"
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _ratio(rows: list[Row], scenario: str, gateway: str, number: str) -> str:
    ratio = ratio_to_reference(rows, scenario, gateway, number)
    return "–" if ratio is None else f"{ratio:.2f}"


def ratio_to_reference(rows: list[Row], scenario: str, gateway: str, number: str) -> float | None:
    """This gateway's median over nginx's; None where one of them was not measured."""
    ours, theirs = middle(_of(rows, scenario, gateway), number), middle(_of(rows, scenario, REFERENCE), number)
    return ours / theirs if ours and theirs else None


def _table(title: str, head: list[str], rows: list[Row], line: Callable[[str], list[str] | None]) -> str:
    lines = [(name, line(name)) for name in _gateways(rows)]
    body = ["| " + " | ".join([name, *cells]) + " |" for name, cells in lines if cells]
    if not body:
        return ""
    return "\n".join(
        [f"### {title}", "", "| gateway | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|", *body]
    )


def _requests(rows: list[Row], scenario: str, title: str) -> str:
    def line(name: str) -> list[str] | None:
        r = _of(rows, scenario, name)
        if not r:
            return None
        numbers = [_spread(r, "cpu_us", 1), _ratio(rows, scenario, name, "cpu_us")]
        shown = [_spread(r, "per_s", 0), _spread(r, "p50_us", 0), _spread(r, "p99_us", 0)]
        return [*numbers, *shown, _spread(r, "system_share", 2), str(sum(x["errors"] for x in r)), str(len(r))]

    head = ["CPU µs/request", "× nginx", "requests/s", "p50 µs", "p99 µs", "of CPU in the kernel", "errors", "runs"]
    return _table(title, head, rows, line)


def _latency(rows: list[Row]) -> str:
    base = _of(rows, "latency", "direct")

    def line(name: str) -> list[str] | None:
        r = _of(rows, "latency", name)
        if not r or name == "direct" or not base:
            return None
        cells = [
            f"{r[-1][f'{load}_{q}_us'] - base[-1][f'{load}_{q}_us']:.0f}"
            for load in ("one", "sixteen", "open200")
            for q in ("p50", "p99")
        ]
        return [*cells, str(r[-1]["errors"])]

    head = ["1 conn p50", "p99", "16 conn p50", "p99", "200 req/s p50", "p99", "errors"]
    return _table("Added latency, µs over asking the upstream directly", head, rows, line)


def _chunks(rows: list[Row], scenario: str, title: str) -> str:
    def line(name: str) -> list[str] | None:
        r = _of(rows, scenario, name)
        if not r:
            return None
        numbers = [_spread(r, "cpu_us_chunk", 2), _ratio(rows, scenario, name, "cpu_us_chunk")]
        shown = [_spread(r, n, 0) for n in ("chunks_per_s", "ttft_p50_us", "transit_p50_us", "transit_p99_us")]
        return [*numbers, *shown, str(sum(x["errors"] for x in r))]

    head = ["CPU µs/chunk", "× nginx", "chunks/s", "TTFT p50 µs", "chunk transit p50 µs", "p99 µs", "errors"]
    return _table(title, head, rows, line)


def _streams(rows: list[Row]) -> str:
    def line(name: str) -> list[str] | None:
        r = _of(rows, "streams", name)
        if not r:
            return None
        x = r[-1]
        memory = [f"{x['rss_before_kib'] / 1024:.0f}", f"{x['rss_peak_kib'] / 1024:.0f}", f"{x['kib_per_stream']:.1f}"]
        return [
            f"{x['ok']}/{x['streams']}",
            str(x["errors"]),
            *memory,
            f"{x['cpu_us_chunk']:.1f}",
            f"{x['transit_p99_us']:.0f}",
        ]

    head = ["complete", "errors", "RSS before MiB", "peak MiB", "KiB/stream", "CPU µs/chunk", "transit p99 µs"]
    return _table("9,000 streams at once, a chunk a second", head, rows, line)


def _million(rows: list[Row]) -> str:
    def line(name: str) -> list[str] | None:
        r = _of(rows, "million", name)
        if not r:
            return None
        x = r[-1]
        return [
            f"{x['requests']:,}",
            str(x["errors"]),
            str(x["rss_before_kib"]),
            str(x["rss_after_kib"]),
            str(x["growth_kib"]),
        ]

    head = ["requests", "errors", "RSS after 100,000, KiB", "RSS at the end, KiB", "growth KiB"]
    return _table("Memory over a million requests", head, rows, line)


def _start(rows: list[Row]) -> str:
    def line(name: str) -> list[str] | None:
        r = [x for x in _of(rows, "start", name) if "start_s" in x]
        if not r:
            return None
        cells = [_spread(r, "start_s", 2), _spread(r, "start_cpu_s", 2), f"{r[-1]['idle_rss_kib'] / 1024:.0f}"]
        return [*cells, str(r[-1]["threads"]), f"{r[-1]['idle_cpu_ms_per_s']:.1f}"]

    return _table(
        "Start and idle", ["first answer after s", "CPU s", "idle RSS MiB", "threads", "idle CPU ms/s"], rows, line
    )


def verdicts(rows: list[Row], gateway: str = "penstock") -> list[tuple[str, str, bool]]:
    """(what, measured and allowed, whether it holds) for each number that this project promises."""
    found: list[tuple[str, str, bool]] = []
    for scenario, number, limit, goal in GOALS:
        ratio = ratio_to_reference(rows, scenario, gateway, number)
        if ratio is not None:
            text = f"{ratio:.2f} × nginx (at most {limit}, goal {goal})"
            found.append((f"{scenario}: {number}", text, ratio <= limit))
    ours, direct = _of(rows, "latency", gateway), _of(rows, "latency", "direct")
    if ours and direct:
        added = ours[-1]["one_p50_us"] - direct[-1]["one_p50_us"]
        found.append(
            ("added latency, 1 connection, p50", f"{added:.0f} µs (under {ADDED_P50_US:.0f})", added < ADDED_P50_US)
        )
    for x in _of(rows, "streams", gateway)[-1:]:
        fine = x["kib_per_stream"] <= KIB_PER_STREAM and not x["errors"] and x["ok"] == x["streams"]
        text = f"{x['kib_per_stream']:.1f} KiB a stream (at most {KIB_PER_STREAM:.0f}), {x['errors']} errors"
        found.append(("9,000 streams", text, fine))
    for x in _of(rows, "million", gateway)[-1:]:
        text = f"grew by {x['growth_kib']} KiB (at most {GROWTH_KIB}), {x['errors']} errors"
        found.append(("a million requests", text, x["growth_kib"] <= GROWTH_KIB and not x["errors"]))
    return found


def _goals(rows: list[Row]) -> str:
    lines = [f"- {'holds' if fine else 'MISSED'}: {what}: {text}" for what, text, fine in verdicts(rows)]
    return "\n".join(["### What the project promises", "", *lines]) if lines else ""


def _failures(rows: list[Row]) -> str:
    lines = [f"- {r['gateway']}, {r['scenario']}: {r['failed']}" for r in rows if "failed" in r]
    return "\n".join(["### Failures", "", *dict.fromkeys(lines)]) if lines else ""
