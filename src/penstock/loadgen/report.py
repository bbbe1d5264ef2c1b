"""What a run of load found, as values (and so as JSON) and as tables for people.

Knows tallies and rich; decides nothing about sending.
"""

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.base.units import show_seconds
from penstock.loadgen.tally import Samples, Slo, Tally

LATE_S = 0.01
"""A generator later than this (p99) adds its own slowness to what it measures, and says so."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution of times, in seconds. Percentiles are of a fair sample beyond a million values."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, samples: Samples) -> "Spread | None":
        """The spread of these samples; None where there are none."""
        if not samples.count:
            return None
        p50, p90, p95, p99 = samples.percentiles(0.5, 0.9, 0.95, 0.99)
        return cls(count=samples.count, mean=samples.mean, p50=p50, p90=p90, p95=p95, p99=p99, max=samples.max)


class ErrorRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which requests failed; `loadgen.client` lists the kinds."""

    kind: str
    requests: int
    share: float
    """Of all requests that ended."""
    said: str
    """What the target said of it the first time."""


class ReplicaRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica did; its name is what the target says in `x-penstock-replica`, else "-"."""

    replica: str
    requests: int
    share: float
    """Of all requests that ended."""
    errors: int
    prompt_tokens: int
    output_tokens: int
    mean_ttft_s: float | None


class TenantRow(msgspec.Struct, frozen=True, kw_only=True):
    """How one tenant fared, where requests name theirs."""

    tenant: str
    requests: int
    share: float
    """Of all requests that ended."""
    errors: int
    good_share: float
    """Of its requests that ended."""
    output_tokens: int
    ttft_s: Spread | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Times in seconds, rates per second of `wall_s` (first sending to last ending)."""

    target: str
    trace: str
    model: str
    mode: str
    wall_s: float
    planned: int | None
    sent: int
    done: int
    ok: int
    failed: int
    not_sent: int
    """Left out because too many were in flight."""
    cut: int
    """In flight when the run was stopped."""
    clipped: int
    reconnects: int
    interrupted: bool
    ttft_s: Spread | None
    """Sending to first content, of every answer that had content; None: there were none, or no streaming."""
    inter_token_s: Spread | None
    """Between content events as they were read, over all answers."""
    e2e_s: Spread | None
    """Sending to end, of answers without error."""
    lateness_s: Spread | None
    """How late the generator itself sent; None in closed loop."""
    stream: bool
    slo: Slo
    good: int
    goodput_share: float
    """Good ones among all that ended or were not sent: errors and refusals are misses."""
    goodput_per_s: float
    requests_per_s: float
    prompt_tokens: int
    output_tokens: int
    prompt_tokens_per_s: float
    output_tokens_per_s: float
    cached_share: float | None
    """Of the prompt tokens, where the target says so."""
    errors: list[ErrorRow]
    replicas: list[ReplicaRow]
    tenants: list[TenantRow]
    notes: list[str]


def report_of(tally: Tally, *, target: str, trace: str, model: str, mode: str) -> Report:
    """The finished tally as a report."""
    wall_s = tally.wall_s
    lateness = Spread.of(tally.lateness)
    return Report(
        target=target, trace=trace, model=model, mode=mode, wall_s=wall_s,
        planned=tally.planned, sent=tally.sent, done=tally.done, ok=tally.ok, failed=tally.done - tally.ok,
        not_sent=tally.not_sent, cut=tally.cut, clipped=tally.clipped, reconnects=tally.reconnects,
        interrupted=tally.interrupted,
        stream=tally.stream,
        ttft_s=Spread.of(tally.ttft),
        inter_token_s=Spread.of(tally.itl),
        e2e_s=Spread.of(tally.e2e),
        lateness_s=lateness,
        slo=tally.slo, good=tally.good,
        goodput_share=_ratio(tally.good, tally.done + tally.not_sent),
        goodput_per_s=_ratio(tally.good, wall_s), requests_per_s=_ratio(tally.ok, wall_s),
        prompt_tokens=tally.prompt_tokens, output_tokens=tally.output_tokens,
        prompt_tokens_per_s=_ratio(tally.prompt_tokens, wall_s),
        output_tokens_per_s=_ratio(tally.output_tokens, wall_s),
        cached_share=_ratio(tally.cached_tokens, tally.prompt_tokens) if tally.cache_told else None,
        errors=_error_rows(tally),
        replicas=_replicas(tally),
        tenants=_tenants(tally),
        notes=_notes(tally, lateness),
    )  # fmt: skip


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _error_rows(tally: Tally) -> list[ErrorRow]:
    """The most frequent first."""
    return [
        ErrorRow(kind=kind, requests=count, share=_ratio(count, tally.done), said=tally.said[kind])
        for kind, count in sorted(tally.errors.items(), key=lambda item: (-item[1], item[0]))
    ]


def _replicas(tally: Tally) -> list[ReplicaRow]:
    return [
        ReplicaRow(
            replica=name,
            requests=row.requests,
            share=_ratio(row.requests, tally.done),
            errors=row.errors,
            prompt_tokens=row.prompt_tokens,
            output_tokens=row.output_tokens,
            mean_ttft_s=row.ttft_sum_s / row.ttft_count if row.ttft_count else None,
        )
        for name, row in sorted(tally.replicas.items())
    ]


def _tenants(tally: Tally) -> list[TenantRow]:
    return [
        TenantRow(
            tenant=name,
            requests=row.requests,
            share=_ratio(row.requests, tally.done),
            errors=row.errors,
            good_share=_ratio(row.good, row.requests),
            output_tokens=row.output_tokens,
            ttft_s=Spread.of(row.ttft),
        )
        for name, row in sorted(tally.tenants.items())
    ]


def _notes(tally: Tally, lateness: Spread | None) -> list[str]:
    notes = []
    if tally.interrupted:
        notes.append(f"stopped early: {tally.cut} in flight were cut and count nowhere else")
    if tally.not_sent:
        notes.append(f"{tally.not_sent} not sent, as --concurrency were in flight: they count as misses")
    if tally.clipped:
        notes.append(f"{tally.clipped} made shorter than the trace says (--max-prompt-tokens, --max-output-tokens)")
    if tally.reconnects:
        notes.append(f"{tally.reconnects} asked again on a new connection, as the target had closed the kept one")
    if lateness is not None and lateness.p99 > LATE_S:
        late = show_seconds(lateness.p99)
        notes.append(f"this generator sent late (p99 {late}): the load was less regular than the trace")
    if set(tally.replicas) == {"-"}:
        notes.append("load per replica is unknown: the target names none (x-penstock-replica)")
    return notes


def to_json(report: Report) -> bytes:
    """The report as indented JSON with a line end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


# ===== for people =====


def render(report: Report) -> RenderableType:
    """The report as tables."""
    parts: list[RenderableType] = [_summary(report), _times(report)]
    if report.errors:
        parts.append(_errors(report))
    if report.replicas and [row.replica for row in report.replicas] != ["-"]:
        parts.append(_load(report))
    if report.tenants:
        parts.append(_fared(report))
    parts += [Text(f"note: {note}", style="yellow") for note in report.notes]
    return Group(*parts)


def _plain_table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _summary(report: Report) -> Table:
    table = Table(title="Load", title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    slo = report.slo
    bounds = [("TTFT", slo.ttft_s), ("per token", slo.itl_s), ("end to end", slo.e2e_s)]
    if not report.stream:
        del bounds[:2]
    wanted = ", ".join(f"{name} ≤ {show_seconds(bound)}" for name, bound in bounds if bound is not None) or "no error"
    rows = [
        ("target", f"{report.target}   model {report.model}"),
        ("trace", f"{report.trace}, {report.mode}"),
        ("requests", _counts(report)),
        ("throughput", _throughput(report)),
        ("goodput", f"{report.goodput_share:.1%} good ({wanted}), {report.goodput_per_s:.2f} requests/s"),
    ]
    if report.cached_share is not None:
        rows.append(("prefix cache", f"{report.cached_share:.1%} of the prompt tokens"))
    for name, text in rows:
        table.add_row(name, Text(text))
    return table


def _counts(report: Report) -> str:
    of = "" if report.planned is None else f" of {report.planned:,}"
    parts = [f"{report.sent:,} sent{of}", f"{report.ok:,} ok", f"{report.failed:,} failed"]
    parts += [f"{report.not_sent:,} not sent"] if report.not_sent else []
    parts += [f"{report.cut:,} cut"] if report.cut else []
    return f"{', '.join(parts)}, in {show_seconds(report.wall_s)}"


def _throughput(report: Report) -> str:
    return (
        f"{report.requests_per_s:.2f} requests/s, {report.prompt_tokens_per_s:,.0f} prompt and "
        f"{report.output_tokens_per_s:,.0f} output tokens/s"
    )


def _times(report: Report) -> Table:
    table = _plain_table("Times", "", "p50", "p90", "p95", "p99", "mean", "max", "n")
    spreads = (
        ("time to first token", report.ttft_s),
        ("inter-token", report.inter_token_s),
        ("end to end", report.e2e_s),
        ("generator's lateness", report.lateness_s),
    )
    for name, spread in spreads:
        if spread is not None:
            values = (spread.p50, spread.p90, spread.p95, spread.p99, spread.mean, spread.max)
            table.add_row(name, *map(show_seconds, values), f"{spread.count:,}")
    return table


def _errors(report: Report) -> Table:
    table = _plain_table("Errors", "kind", "requests", "share")
    table.add_column("said", overflow="fold")
    for row in report.errors:
        table.add_row(Text(row.kind), f"{row.requests:,}", f"{row.share:.1%}", Text(row.said))
    return table


def _load(report: Report) -> Table:
    columns = ("replica", "requests", "share", "errors", "tokens in", "out", "mean TTFT")
    table = _plain_table("Load per replica", *columns)
    for row in report.replicas:
        ttft = "" if row.mean_ttft_s is None else show_seconds(row.mean_ttft_s)
        tokens = (f"{row.prompt_tokens:,}", f"{row.output_tokens:,}")
        name = Text("(none)" if row.replica == "-" else row.replica)
        table.add_row(name, f"{row.requests:,}", f"{row.share:.1%}", f"{row.errors:,}", *tokens, ttft)
    return table


def _fared(report: Report) -> Table:
    columns = ("tenant", "requests", "share", "errors", "good", "tokens out", "TTFT p50", "p95", "p99")
    table = _plain_table("Per tenant", *columns)
    for row in report.tenants:
        spread = row.ttft_s
        times = ("", "", "") if spread is None else map(show_seconds, (spread.p50, spread.p95, spread.p99))
        counts = (f"{row.requests:,}", f"{row.share:.1%}", f"{row.errors:,}", f"{row.good_share:.1%}")
        table.add_row(Text(row.tenant), *counts, f"{row.output_tokens:,}", *times)
    return table
