"""Calibration from a benchmark: an engine that is known is found again, and slips in a file are told."""

import pytest

from penstock.engine.batcher import EngineSpec
from penstock.engine.measured import Point, calibrated, read_points, told
from penstock.engine.modelled import read_modelled, written
from penstock.engine.perf import StepCost
from penstock.engine.roofline import Roofline

REAL = StepCost(base_s=0.01, prefill_token_s=50e-6, decode_sequence_s=400e-6, context_token_s=50e-9)
HEAD = "concurrency,prompt_tokens,output_tokens,ttft_s,tpot_s,requests\n"


def points(outside_s: float = 0.02) -> list[Point]:
    """What a benchmark of that engine would tell."""
    made = []
    for prompt, answer in ((100, 20), (400, 50), (1500, 20), (1500, 100), (50, 100), (800, 60)):
        for clients in (1, 4, 16):
            plan = Point(clients, prompt, answer, 1.0, 1.0, 3 * clients)
            ttft_s, tpot_s = told(plan, EngineSpec(cost=REAL), outside_s)
            made.append(plan._replace(ttft_s=ttft_s, tpot_s=tpot_s))
    return made


@pytest.mark.slow
def test_a_known_engine_is_found_again() -> None:
    """From its own benchmark alone, settings that were held back are met within 3 % at the median."""
    found = calibrated(points(), EngineSpec(), "known")
    assert found.held_back is not None
    assert found.held_back.points == 6
    assert found.held_back.tpot_median < 0.03
    assert found.held_back.ttft_median < 0.03
    assert isinstance(found.cost, Roofline)
    assert read_modelled(written(found)) == found
    assert found.cost.base_s == pytest.approx(REAL.base_s, rel=0.1)


def test_lengths_that_were_drawn_are_drawn_when_played() -> None:
    """What is told are means: played with a spread, prompts are about as long at the mean."""
    even, drawn = Point(1, 1000, 10, 1.0, 1.0, 100), Point(1, 1000, 10, 1.0, 1.0, 100, 0.5)
    (one, _), (other, _) = (told(point, EngineSpec(cost=REAL), 0.0) for point in (even, drawn))
    assert other == pytest.approx(one, rel=0.05)
    assert other != one


def test_too_few_settings_are_refused() -> None:
    """Without something to hold back nothing is made."""
    with pytest.raises(ValueError, match="expected 3 or more: one in 3 is held back"):
        calibrated(points()[:6], EngineSpec(), "few")


def test_a_file_is_read_with_or_without_its_last_column() -> None:
    """Requests may be left out: then there were ten of each client."""
    assert read_points((HEAD + "4,100,20,0.1,0.01,40\n").splitlines()) == [Point(4, 100, 20, 0.1, 0.01, 40)]
    short = "concurrency,prompt_tokens,output_tokens,ttft_s,tpot_s\n4,100,20,0.1,0.01\n"
    assert read_points(short.splitlines()) == [Point(4, 100, 20, 0.1, 0.01, 0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("concurrency,ttft_s\n", "line 1: it has no prompt_tokens, output_tokens, tpot_s"),
        (HEAD + "4,100,20,0.1,soon,\n", "line 2: expected three whole numbers"),
        (HEAD + "4,100,20,0.1\n", "line 2: expected three whole numbers"),
        (HEAD + "4,100,1,0.1,0.01,\n", "line 2: an answer of one token"),
        (HEAD + "0,100,20,0.1,0.01,\n", "line 2: expected at least one client"),
        (HEAD + "4,100,20,-0.1,0.01,\n", "line 2: expected times above 0"),
        (HEAD + "4,100,20,nan,0.01,\n", "line 2: expected times above 0"),
        (HEAD + "4,100,20,0.1,0.01,10001\n", "line 2: more than 10,000 requests"),
        (HEAD[:-1] + ",spread\n4,100,20,0.1,0.01,,1\n", "line 2: expected a spread from 0 to below 1"),
        (HEAD + "4,100,20,0.1,0.01,\n" * 501, "more than 500 measurements"),
    ],
)
def test_slips_are_told_with_their_line(text: str, said: str) -> None:
    """Whatever is wrong, the message says where and what was expected."""
    with pytest.raises(ValueError, match=said):
        read_points(text.splitlines())
