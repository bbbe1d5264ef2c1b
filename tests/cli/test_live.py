"""Live pressure tests: what their numbers mean, how they are judged, which there are; and one of them, for real."""

import json

import pytest
from typer.testing import CliRunner

from penstock.base.errors import ConfigError
from penstock.cli.live import LIVE, Live, chosen, judged, numbers_of, quicker
from penstock.cli.main import app
from penstock.config.scenarios import Expect
from penstock.loadgen.answer import Answer


def answer(started: float, ended: float, error: str = "") -> Answer:
    """One answer; the first content comes in its middle."""
    made = Answer(started)
    made.first_content_at = None if error else (started + ended) / 2
    made.ended_at, made.error = ended, error
    return made


def test_what_failed_counts_as_the_whole_time() -> None:
    """Nobody improves a percentile by failing: failed and lost requests are as long as the test."""
    well = [answer(10.0, 11.0) for _ in range(9)]
    numbers = numbers_of([*well, answer(10.0, 10.1, "502")], 0, [], 2, 10.0, None)
    assert (numbers["failed"], numbers["failed_share"], numbers["latency_p95_s"]) == (1.0, 0.1, 1.0)
    assert numbers_of(well, 9, [], 2, 5.0, None)["latency_p95_s"] == 6.0
    assert numbers_of(well, 9, [], 2, 5.0, None)["failed_share"] == 0.5


def test_when_it_grew_and_first_answered() -> None:
    """From the beginning of the load; what was before it does not count, and what never came is as late as the end."""
    rows = [answer(10.0, 14.0), answer(11.0, 20.0)]
    seen = [(9.0, 2, 5), (10.5, 2, 2), (12.0, 2, 3), (15.0, 3, 3)]
    numbers = numbers_of(rows, 0, seen, 2, 10.0, None)
    assert (numbers["first_answer_s"], numbers["first_scale_s"], numbers["ready_peak"]) == (2.0, 2.0, 3.0)
    assert numbers_of(rows, 0, seen[:2], 2, 10.0, None)["first_scale_s"] == 10.0


def test_what_an_event_costs() -> None:
    """Until the last failure after it, of the calls that it met, and until all capacity is back."""
    rows = [
        answer(1.0, 2.0, "old"),
        answer(9.0, 10.5, "died"),
        *(answer(10.0, 12.0) for _ in range(3)),
        answer(200.0, 201.0),
    ]
    seen = [(9.9, 4, 4), (10.2, 2, 4), (13.0, 4, 4)]
    numbers = numbers_of(rows, 0, seen, 4, 0.0, 10.0)
    assert (numbers["failover_s"], numbers["storm_failed_share"], numbers["capacity_back_s"]) == (0.5, 0.25, 3.0)
    assert numbers_of(rows, 0, seen[:2], 4, 0.0, 10.0)["capacity_back_s"] == 191.0
    assert numbers_of(rows, 0, seen[:1], 4, 0.0, 10.0)["capacity_back_s"] == 0.0


def test_each_criterion_can_fail() -> None:
    """A number beyond its bound fails the test; at the bound it holds."""
    live = Live(1, "x", 1, 2, 1.0, 1.0, 1.0, (Expect(metric="a", at_most=1.0), Expect(metric="b", at_least=2.0)))
    assert judged(live, 5, 0.0, {"a": 1.0, "b": 2.0}).passed
    assert not judged(live, 5, 0.0, {"a": 1.01, "b": 2.0}).passed
    assert [one.holds for one in judged(live, 5, 0.0, {"a": 0.0, "b": 1.9}).verdicts] == [True, False]
    for one in LIVE:
        awful = judged(one, 1, 0.0, {rule.metric: 1e9 if rule.at_most is not None else -1.0 for rule in one.rules})
        assert not any(verdict.holds for verdict in awful.verdicts)


def test_which_there_are() -> None:
    """By their numbers, which are the simulated ones'; an unknown one is a mistake; a quick one is shorter."""
    assert [one.number for one in chosen("8,1")] == [1, 8]
    assert chosen(None) == list(LIVE)
    with pytest.raises(ConfigError, match="'3' is no test that runs live: there are 1, 2, 5, 6, 8"):
        chosen("3")
    burst = chosen("8")[0]
    assert quicker(burst).at_once == 500
    assert quicker(burst).rules == burst.rules


@pytest.mark.slow
def test_from_none_for_real() -> None:
    """A gateway over none starts its first replica for the first call; the criteria hold, and the command says so."""
    result = CliRunner().invoke(app, ["pressure", "--live", "--quick", "--only", "5", "--json", "-"])
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["requests"] > 10
    assert [verdict["holds"] for verdict in found["verdicts"]] == [True, True]


def test_options_that_make_no_sense_live() -> None:
    """A mistake of the simulator, or another fleet, is refused."""
    with pytest.raises(ConfigError, match="--live goes with"):
        CliRunner().invoke(app, ["pressure", "--live", "--mistake", "fifo"], catch_exceptions=False)
