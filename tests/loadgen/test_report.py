"""The report says what was counted, as values, JSON and tables."""

import msgspec
import pytest
from rich.console import Console

from penstock.loadgen.report import Report, Spread, render, report_of, to_json
from penstock.loadgen.tally import Samples, Slo, Tally
from penstock.workload.request import Request
from tests.loadgen.test_tally import ROW, answer


def tally(stream: bool = True) -> Tally:
    """Four requests in ten seconds: two good ones, a slow one, a refused one; and one that was not sent."""
    made = Tally(Slo(), stream=stream, planned=5)
    for at in range(4):
        made.began(10.0 + at, 0.02)
    made.ended(ROW, answer(0.5, 0.6, ended_at=12.0, prompt=100, output=4, cached=60, replica="a"))
    made.ended(ROW, answer(0.5, ended_at=13.0, output=1, replica="b"))
    made.ended(ROW, answer(1.5, ended_at=20.0, output=5, replica="b"))
    refused = answer(ended_at=14.0, error="429 queue_full")
    refused.said = "[bold]full[/bold]"
    made.ended(ROW, refused)
    made.not_sent = 1
    made.clipped = 2
    made.over(21.0, reconnects=1)
    return made


def report(made: Tally) -> Report:
    """The report of this tally."""
    return report_of(made, target="http://x", trace="azure", model="tiny", mode="open loop, speed × 1")


def shown(made: Tally) -> str:
    """What people see."""
    console = Console(width=140, force_terminal=False)
    with console.capture() as capture:
        console.print(render(report(made)))
    return capture.get()


def test_spread() -> None:
    """A spread has the literal percentiles of its samples, and there is none without samples."""
    samples = Samples("x")
    assert Spread.of(samples) is None
    for value in range(101):
        samples.add(value)
    assert Spread.of(samples) == Spread(count=101, mean=50, p50=50, p90=90, p95=95, p99=99, max=100)


def test_report() -> None:
    """Rates are per second of the whole run; the request that was not sent, and the refused one, are misses."""
    got = report(tally())
    assert (got.sent, got.done, got.ok, got.failed, got.not_sent, got.cut) == (4, 4, 3, 1, 1, 0)
    assert got.wall_s == 10.0
    assert (got.good, got.goodput_share, got.goodput_per_s, got.requests_per_s) == (2, 0.4, 0.2, 0.3)
    assert (got.prompt_tokens_per_s, got.output_tokens_per_s, got.cached_share) == (30.0, 1.0, 0.2)
    assert got.ttft_s is not None
    assert got.ttft_s.p50 == pytest.approx(0.5)
    assert [(row.kind, row.requests, row.share) for row in got.errors] == [("429 queue_full", 1, 0.25)]
    assert [(row.replica, row.requests, row.share, row.errors) for row in got.replicas] == [
        ("-", 1, 0.25, 1), ("a", 1, 0.25, 0), ("b", 2, 0.5, 0),
    ]  # fmt: skip
    assert got.replicas[2].mean_ttft_s == pytest.approx(1.0)


def test_tenants() -> None:
    """Where requests name their tenants each has a row and a line; else there is no such table."""
    made = tally()
    assert "Per tenant" not in shown(made)
    made.ended(Request(0, 100, 10, tenant="search"), answer(0.25, output=3))
    (row,) = report(made).tenants
    assert (row.tenant, row.requests, row.share, row.errors, row.good_share) == ("search", 1, 0.2, 0, 1.0)
    assert row.ttft_s is not None
    assert (row.ttft_s.p95, row.output_tokens) == (0.25, 3)
    assert "Per tenant" in shown(made)
    assert "search" in shown(made)


def test_json_round_trip() -> None:
    """The JSON holds the whole report."""
    got = report(tally())
    assert msgspec.json.decode(to_json(got), type=Report) == got


def test_tables() -> None:
    """The tables show every part, and a target's words as they are, not as markup."""
    text = shown(tally())
    for part in (
        "4 sent of 5, 3 ok, 1 failed, 1 not sent", "40.0% good (TTFT ≤ 1 s, per token ≤ 100 ms)", "time to first token",
        "inter-token", "end to end", "generator's lateness", "429 queue_full", "[bold]full[/bold]", "Load per replica",
        "(none)", "20.0% of the prompt tokens", "sent late (p99 20 ms)", "2 made shorter", "1 asked again",
    ):  # fmt: skip
        assert part in text


def test_tables_without_streaming() -> None:
    """Without streaming there are no token times, neither measured nor wanted."""
    text = shown(tally(stream=False))
    assert "first token" not in text
    assert "good (no error)" in text


def test_nothing_done() -> None:
    """A run that was stopped before its first answer has a report, without times and without a division by zero."""
    made = Tally(Slo(), planned=10)
    made.interrupted = True
    made.over(5.0, 0)
    got = report(made)
    assert (got.ttft_s, got.e2e_s, got.goodput_share, got.wall_s) == (None, None, 0.0, 0.0)
    assert "stopped early" in shown(made)
    made.began(1.0, 0.0)
    made.over(5.0, 0)
    assert "1 in flight were cut" in shown(made)
