"""The three steps against a real engine, here over an emulated one: their files fit together. Timing is not judged."""

import json
from pathlib import Path

import pytest

from bench.vllm_reality import Seen, asked, beside, measured, predicted, requests_of
from penstock.engine.measured import read_points
from penstock.engine.modelled import NAMED, written
from penstock.loadgen.run import Plan
from penstock.workload.request import Request
from tests.helpers.processes import Emulators, ending


def test_arrivals_are_handed_on_as_they_were() -> None:
    """Times of sending and the engine's own counts; no times of answers."""
    (made,) = requests_of([Seen(1.5, 70, 9, 0.1, 0.4)])
    assert (made.at_s, made.prompt_tokens, made.output_tokens) == (1.5, 70, 9)


def test_the_simulator_stands_beside_what_was_seen(tmp_path: Path) -> None:
    """An engine that is its model: a lone request takes round trip, time outside and one step."""
    cost = NAMED["fast"].cost
    ttft_s = 0.001 + cost.step_s(100, 0, 0)
    seen = [Seen(float(number), 100, 2, ttft_s, ttft_s + cost.step_s(0, 1, 101)) for number in range(20)]
    (tmp_path / "model.json").write_bytes(written(NAMED["fast"]))
    told = predicted(seen, tmp_path / "model.json", 1, 8, 0.001)
    assert told["ttft_p50_s"] == pytest.approx(ttft_s, rel=0.02)
    rows = list(beside(seen, told))
    assert len(rows) == 10
    assert rows[1].startswith("| ttft mean | 1.2 ms | 1.2 ms |")


@pytest.mark.slow
def test_measurements_are_what_calibrate_reads(tmp_path: Path) -> None:
    """Points of one engine in closed loops, and requests in open loop, each with the engine's own counts."""
    with ending(Emulators(tmp_path, 1.0, preset="fast")) as (engines,):
        assert isinstance(engines, Emulators)
        points = list(measured(engines.urls[0], ((40, 5), (80, 10)), (1, 2), 0.2, seed=1))
        seen = asked(engines.urls[0], [Request(number * 10**6, 50, 3) for number in range(10)], Plan(seed=2))
    lines = [",".join(points[0]._fields), *(",".join(map(str, point)) for point in points)]
    assert [point.concurrency for point in read_points(lines)] == [1, 2, 1, 2]
    assert all(point.requests >= point.concurrency for point in points)
    assert [one.output_tokens for one in seen] == [3] * 10
    assert Seen(**json.loads(json.dumps(seen[0]._asdict()))) == seen[0]
