"""The worlds of the comparison of scaling: gaps are filled for all and hidden from forecasts; offices have hours."""

from collections import Counter
from pathlib import Path

import pytest

from bench.scaling_worlds import busy, filled, gap_windows, gaps_of, masked, office, rows_of, totals, world_of
from penstock.base.rand import Rand
from penstock.core.scale.history import Past
from penstock.workload.request import NS

HEAD = "client_id,t_s,rate_rps,interarrival_cv,arrival_pattern,param_shape,param_scale\n"
TABLE = HEAD + "".join(
    f"{client},{at},{rate},1,Gamma,1,1\n"
    for client, rates in ((1, {0: 2.0, 600: 3.0, 1800: 4.0}), (2, {600: 5.0, 1200: 0.001, 1800: 1.0}))
    for at, rate in rates.items()
)


def test_a_gap_is_filled_with_the_window_before() -> None:
    """Where next to nothing was recorded everybody goes on as before, and every time is there once."""
    assert gaps_of(totals(rows_of(TABLE.encode()))) == [1200]
    rows = rows_of(filled([TABLE.encode()]))
    assert totals(rows) == {0: 2.0, 600: 8.0, 1200: 8.0, 1800: 5.0}
    assert [(row["client_id"], row["t_s"]) for row in rows][:4] == [
        ("1", "0"),
        ("1", "600"),
        ("1", "1200"),
        ("1", "1800"),
    ]


def test_what_was_filled_in_is_not_learnt(tmp_path: Path) -> None:
    """A forecast's past has gaps where the record has."""
    import gzip

    (tmp_path / "servegen_m-mid").mkdir()
    (tmp_path / "servegen_m-mid" / "client_rates.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    assert gap_windows(tmp_path) == {4, 5}
    past = masked(Past(first=3, calls=(1.0, 2.0, 3.0, 4.0), rates=(0.1, 0.2, 0.3, 0.4)), tmp_path)
    assert (past.calls, past.rates) == ((1.0, None, None, 4.0), (0.1, None, None, 0.4))


def test_an_office_fills_and_empties() -> None:
    """Nobody at night, everybody at noon, half of it at a quarter past eight."""
    assert (busy(3.0), busy(8.25), busy(12.0), busy(17.75), busy(23.0)) == (0.0, 0.5, 1.0, 0.5, 0.0)


@pytest.mark.slow
def test_arrivals_of_an_office() -> None:
    """A Monday's noon is several times its night, a Saturday is quieter, and the same seed is the same day."""
    monday, saturday = (
        Counter(int(request.at_ns // NS // 3600) for request in office(Rand(1), day, 0.55)) for day in (0.0, 5.0)
    )
    assert monday[12] > 5 * monday[2]
    assert sum(saturday.values()) < 0.7 * sum(monday.values())
    again = [request.at_ns for request in office(Rand(1), 0.0, 0.02)]
    assert again == [request.at_ns for request in office(Rand(1), 0.0, 0.02)]


def test_azure_is_an_hour() -> None:
    """It needs nothing but the trace."""
    world = world_of("azure", Path("x"))
    assert world.group.startup_s == 120.0
    assert world.days == 1 / 24
