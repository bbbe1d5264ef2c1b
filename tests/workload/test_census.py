"""The census counts what is there."""

import pytest

from penstock.workload.census import Census
from penstock.workload.request import NS, Request


def counted(*requests: Request) -> Census:
    """A census of these."""
    census = Census()
    for request in requests:
        census.add(request)
    return census


def test_table() -> None:
    """Requests, time, rate, variation of the gaps, lengths within 1 %, and how many names there are."""
    rows = [Request(at * NS, tokens, 7, tenant=f"t{at % 3}") for at, tokens in enumerate(range(1, 1002))]
    table = counted(*rows).table()
    assert (table["requests"], table["span_s"], table["mean_rate"], table["tenants"]) == (1001, 1000, 1.0, 3)
    assert table["gaps_cv"] == pytest.approx(0.0, abs=1e-6)
    assert table["prompt_tokens"] == pytest.approx(
        {"mean": 501, "p50": 501, "p90": 901, "p99": 991, "max": 1001}, rel=0.01
    )
    assert table["output_tokens"]["p50"] == 7
    assert "sessions" not in table


def test_few() -> None:
    """None and one are counted without a rate; answers of no tokens are lengths as well."""
    assert counted().table()["requests"] == 0
    table = counted(Request(5, 1, 0)).table()
    assert (table["mean_rate"], table["output_tokens"]["p99"]) == (0.0, 0)


def test_gaps_vary() -> None:
    """Gaps of 0 and 2 seconds in turn vary by as much as their mean."""
    rows = [Request(at // 2 * 2 * NS, 1, 1) for at in range(1001)]
    assert counted(*rows).table()["gaps_cv"] == pytest.approx(1.0, rel=0.01)
