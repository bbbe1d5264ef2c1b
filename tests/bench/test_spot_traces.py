"""The benchmark over recorded spot series reads them, picks the hardest day, and loses nothing where there was
notice."""

import gzip
import os
from pathlib import Path

import pytest

from bench.spot_traces import SERIES, Change, day_of, measure, offers, read, table, together

HEAD = "kind,nodes,start_date,zone_and_gpu,t_s,duration_s,available\n"
ZONES = {zone: None for series in SERIES for zone in series.zones}


def recorded(folder: Path) -> Path:
    """All series that are wanted, in little: each zone has its nodes for an hour, none for half of one, by turns."""
    with gzip.open(folder / "spot_runs.csv.gz", "wt") as file:
        file.write(HEAD)
        for kind, date, zone in ZONES:
            for turn in range(6):
                most = 4 if kind == "preemption" else 1
                file.write(f"{kind},n,{date},{zone},{turn * 5400},3600,{most}\n")
                file.write(f"{kind},n,{date},{zone},{turn * 5400 + 3600},1800,0\n")
    return folder


def test_series_are_read(tmp_path: Path) -> None:
    """By kind, date and zone."""
    found = read(recorded(tmp_path))
    assert set(found) == set(ZONES)
    assert found[SERIES[0].zones[0]][:3] == [Change(0.0, 1), Change(3600.0, 0), Change(5400.0, 1)]


def test_zones_are_added_up() -> None:
    """At any time what each has then; where nothing changes in all, nothing is told."""
    one = [Change(0.0, 1), Change(10.0, 0), Change(30.0, 1)]
    other = [Change(0.0, 0), Change(10.0, 1), Change(20.0, 2)]
    assert together([one, other]) == [Change(0.0, 1), Change(20.0, 2), Change(30.0, 3)]


def test_the_day_with_most_falls_is_played() -> None:
    """It begins ten minutes before its first fall, with what there was before."""
    quiet = [Change(0.0, 3), Change(10.0, 2), Change(20.0, 3)]
    wild = [Change(10_000.0 + 10.0 * number, number % 2) for number in range(10)]
    start, day = day_of([*quiet, *wild, Change(50_000.0, 1)], 1000.0)
    assert start == 10_000.0
    assert day[:3] == [Change(0.0, 3), Change(600.0, 0), Change(610.0, 1)]
    assert [offer.replicas for offer in offers(day, 3)][:3] == [7, 0, 2]


@pytest.mark.slow
def test_with_notice_nothing_is_lost(tmp_path: Path) -> None:
    """Through falls to none, calls that take some twenty seconds all end; without notice some are broken off, so there
    was something to lose; and it costs less than all on demand."""
    rows = list(measure(recorded(tmp_path), 0.3, 1.5, 1))
    assert len(rows) == 3 * len(SERIES)
    for spot, unsaid, dear in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert spot["notices"] == unsaid["notices"] >= 7
        assert spot["failed"] == dear["failed"] == 0
        assert unsaid["failed"] > 0
        assert spot["cost_share"] < 0.95 < dear["cost_share"]
    assert table(rows).count("\n") == len(rows) + 1


@pytest.mark.slow
def test_the_recorded_series_lose_nothing() -> None:
    """The real ones, three hours of each: set SPOT_TRACES_FOLDER to the folder that has them."""
    folder = os.environ.get("SPOT_TRACES_FOLDER", "")
    if not folder:
        pytest.skip("SPOT_TRACES_FOLDER names no folder with spot_runs.csv.gz")
    rows = list(measure(Path(folder), 0.2, 3.0, 1))
    assert [row["failed"] for row in rows if row["pool"] == "spot"] == [0] * len(SERIES)
    assert all(row["cost_share"] < 0.95 for row in rows if row["pool"] == "spot")
