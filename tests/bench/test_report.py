"""The benchmark's tables: medians, ratios within a run, and verdicts that can fail."""

from bench.report import middle, ratio_to_reference, tables, verdicts

Row = dict[str, object]


def requests(gateway: str, cpu_us: float, rep: int = 0) -> Row:
    """A measurement of the scenario `requests`."""
    numbers = {"cpu_us": cpu_us, "per_s": 1e6 / cpu_us, "p50_us": 100, "p99_us": 200, "system_share": 0.5, "errors": 0}
    return {"gateway": gateway, "scenario": "requests", "rep": rep, **numbers}


def streams(kib: float, errors: int = 0) -> Row:
    """A measurement of the scenario `streams`."""
    numbers = {"streams": 9000, "ok": 9000 - errors, "errors": errors, "rss_before_kib": 50_000, "rss_peak_kib": 90_000}
    more = {"kib_per_stream": kib, "cpu_us_chunk": 20.0, "transit_p99_us": 1}
    return {"gateway": "penstock", "scenario": "streams", "rep": 0, **numbers, **more}


def test_ratio_is_of_medians() -> None:
    """One outlier among the repetitions does not move the ratio to nginx."""
    rows = [requests("nginx", 16, 0), requests("nginx", 17, 1), requests("nginx", 90, 2), requests("penstock", 34)]
    assert ratio_to_reference(rows, "requests", "penstock", "cpu_us") == 2.0


def test_no_reference_no_ratio() -> None:
    """Without nginx in the run there is no ratio, and so no verdict."""
    rows = [requests("penstock", 34)]
    assert ratio_to_reference(rows, "requests", "penstock", "cpu_us") is None
    assert verdicts(rows) == []
    assert "| penstock | 34.0 | – |" in tables(rows)


def test_failed_measurements_do_not_count() -> None:
    """A scenario that failed has no numbers, and the report says why it failed."""
    rows: list[Row] = [{"gateway": "penstock", "scenario": "requests", "rep": 0, "failed": "it exited"}]
    assert middle([], "cpu_us") is None
    assert "- penstock, requests: it exited" in tables(rows)


def test_verdicts_hold_and_miss() -> None:
    """A promise holds at its limit and is missed above it."""
    rows = [requests("nginx", 10), requests("penstock", 30)]
    assert [fine for _, _, fine in verdicts(rows)] == [True]
    rows = [requests("nginx", 10), requests("penstock", 30.1)]
    assert [fine for _, _, fine in verdicts(rows)] == [False]
    assert "MISSED: requests" in tables(rows)


def test_streams_with_errors_miss() -> None:
    """Little memory does not make up for a stream that failed."""
    assert verdicts([streams(5.0)])[0][2]
    assert not verdicts([streams(5.0, errors=1)])[0][2]
    assert not verdicts([streams(20.1)])[0][2]


def test_latency_is_what_was_added() -> None:
    """Added latency is the difference to asking the upstream directly."""
    names = [f"{load}_{q}_us" for load in ("one", "sixteen", "open200") for q in ("p50", "p99")]
    rows: list[Row] = [
        {"gateway": "direct", "scenario": "latency", "rep": 0, "errors": 0, **dict.fromkeys(names, 20)},
        {"gateway": "penstock", "scenario": "latency", "rep": 0, "errors": 0, **dict.fromkeys(names, 150)},
    ]
    assert verdicts(rows) == [("added latency, 1 connection, p50", "130 µs (under 300)", True)]
    assert "| penstock | 130 | 130 | 130 | 130 | 130 | 130 | 0 |" in tables(rows)


def test_memory_that_grows_misses() -> None:
    """Memory over a million requests must be flat."""
    row: Row = {"gateway": "penstock", "scenario": "million", "rep": 0, "requests": 1_000_000, "errors": 0}
    flat = {**row, "rss_before_kib": 50_000, "rss_after_kib": 51_000, "growth_kib": 1000}
    grown = {**row, "rss_before_kib": 50_000, "rss_after_kib": 80_000, "growth_kib": 30_000}
    assert verdicts([flat])[0][2]
    assert not verdicts([grown])[0][2]
    assert "| 1,000,000 | 0 | 50000 | 51000 | 1000 |" in tables([flat])
