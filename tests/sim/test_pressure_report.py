"""The page about pressure tests."""

import pytest

from penstock.sim.pressure import Judged, Played
from penstock.sim.pressure_report import Finding, at_once, expected, figure, page, shown, title_of
from penstock.sim.stress import Moment


def judged(**fields: object) -> Judged:
    """A criterion that held with both seeds."""
    plain = {
        "metric": "latency_p95_s", "expected": "at most 3", "mean": 1.5, "worst": 2.0, "held": 2, "seeds": 2,
        "bound": 1.0, "bound_holds": True,
    }  # fmt: skip
    return Judged(**{**plain, **fields})  # type: ignore[arg-type]


def finding(*criteria: Judged, mistake: str) -> Finding:
    """A test with a picture."""
    course = [Moment(at_s=at, there=2, ready=1, wanted=3, queued=4) for at in (-1.0, 1.0, 2.0)]
    return Finding(
        number=1, name="spike", told="a <spike>", mistake=mistake, requests=10.0, criteria=list(criteria), bound=None,
        runs=[Played(seed=7, numbers={}, outcomes={}, course=course)], cpu_s=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("latency_p95_s", 1.5, "1.5 s"),
        ("failed_share", 0.013, "1.3 %"),
        ("reversals", 3.0, "3"),
        ("failed", 12345.0, "12,345"),
    ],
)
def test_numbers_have_units(metric: str, value: float, text: str) -> None:
    """Times, shares and counts, as their names end."""
    assert shown(metric, value) == text


def test_what_is_expected_has_them_too() -> None:
    """Words stay, numbers get their unit."""
    assert expected(judged()) == "at most 3 s"


def test_a_bound_that_misses_tells_the_head_room() -> None:
    """With a first fleet that would be enough, or none; a dash where nothing was asked."""
    assert at_once(judged()) == "1 s"
    assert at_once(judged(bound=None, bound_holds=None)) == "–"
    assert (
        at_once(judged(bound=9.0, bound_holds=False, head_room=17)) == "9 s: misses too; it takes 17 replicas at first"
    )
    assert at_once(judged(bound=9.0, bound_holds=False)).endswith("no first fleet is enough")


def test_a_test_passes_with_all_its_criteria() -> None:
    """One criterion that misses one seed is a failure."""
    assert finding(judged(), judged(), mistake="").passed
    assert not finding(judged(), judged(held=1), mistake="").passed


def test_the_page() -> None:
    """Each criterion with its verdict, pictures from the workload's start on, texts escaped, nothing from elsewhere."""
    text = page(["head & more"], [finding(judged(), judged(metric="failed", held=1), mistake="fifo")])
    assert "head &amp; more" in text
    assert "a &lt;spike&gt;, with the mistake fifo" in text
    assert text.count("class=yes>pass") == 1
    assert text.count("class=no>FAIL") == 1
    assert text.count("<svg") == 2, "replicas and the queue; nothing arrived in this one"
    assert "http" not in text
    assert title_of(finding(mistake="")) == "1 a <spike>"


def test_a_figure_of_nothing_is_none() -> None:
    """Neither where there are no lines nor where all are zero."""
    assert figure("a", []) == ""
    assert figure("a", [("b", [(1.0, 0.0)])]) == ""
