"""The benchmark of the simulator runs what it says and judges by what was promised."""

from pathlib import Path

import pytest

from bench.simulator_cost import AZURE, CASES, HOUR, MARKS, measure, verdicts


@pytest.mark.parametrize("name", CASES)
def test_every_request_is_answered_and_counted(name: str) -> None:
    """As many requests as asked for go through, and memory is read on the way."""
    found = measure(CASES[name], "round_robin", 40, None)
    assert (found["requests"], found["ok"]) == (40, 40)
    assert len(found["resident_mb"]) == len(MARKS)
    assert found["us_per_request"] > 0


def test_a_trace_takes_the_place_of_the_sample(tmp_path: Path) -> None:
    """What the file says comes, and the promise is scaled to it."""
    trace = tmp_path / "two.csv"
    trace.write_text("at_s,prompt_tokens,output_tokens\n0,100,7\n1,100,9\n")
    found = measure(AZURE, "round_robin", 40, trace)
    assert (found["requests"], found["prompt_mean"], found["output_mean"]) == (2, 100, 8.0)


def test_promises_are_judged() -> None:
    """Time is scaled to the requests that were made; memory is not, and must not grow over the second half."""
    half = {"requests": 900_000, "cpu_s": 119.0, "wall_s": 121.0, "peak_mb": 900.0, "resident_mb": [1, 2, 3, 20]}
    said = list(verdicts(HOUR, half))
    assert [line.split(":")[0] for line in said] == ["holds", "MISSED", "holds", "MISSED"]
    assert said[1] == "MISSED: wall 121 of 120 s"
    assert len(list(verdicts(AZURE, half))) == 2
