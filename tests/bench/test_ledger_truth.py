"""The ledger beside an engine's own counters: an emulated engine's always, a real one's where there is one."""

import os
from pathlib import Path
from typing import Any

import pytest

from bench.ledger_truth import Known, Row, account, measure
from tests.helpers.processes import Emulators, ending
from tests.helpers.traffic import SLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def holds(found: dict[str, Any]) -> None:
    """What is promised."""
    whole, leaving = found["whole"], found["leaving"]
    assert whole["ledger"] == whole["engine"], whole
    assert whole["cache"]["hit"] > 0
    assert whole["cache"]["coalesced"] > 0
    for phase in (whole, leaving):
        wrong = "usages_that_differ", "given_that_cost", "completed_that_are_estimated", "left_less_than_delivered"
        assert [phase[name] for name in wrong] == [0] * 4, phase
        assert phase["usages_told"] > 0 or phase is leaving
    assert leaving["left"] > 0
    assert leaving["ledger"]["completion"] <= leaving["engine"]["completion"], leaving


def test_an_emulated_engine_agrees(tmp_path: Path) -> None:
    """Whole answers to the token; of those that were left at most what was generated."""
    with ending(engine := Emulators(tmp_path, SLOW * 5)):
        holds(measure(engine.urls[0], 60, 1, tmp_path))


@pytest.mark.real_engine
def test_a_real_engine_agrees(tmp_path: Path) -> None:
    """The same of the first real engine."""
    engines = os.environ.get("PENSTOCK_REAL_ENGINES", "").split()
    if not engines:
        pytest.skip("needs an engine in PENSTOCK_REAL_ENGINES")
    holds(measure(engines[0], 150, 1, tmp_path))


def test_what_does_not_fit_is_seen() -> None:
    """A row that has other tokens than its client was told, one that was given and costs, one that has less than was
    delivered: each is counted."""
    rows = [
        Row("a", 5, 7, 0, "ok", "bypass"), Row("b", 5, 7, 0, "ok", "hit"), Row("c", 5, 2, 1, "client_gone", "bypass"),
    ]  # fmt: skip
    known = {
        "a": Known("whole", "whole", True, 0, (5, 8)), "b": Known("whole", "question", True, 0, None),
        "c": Known("whole", "leaves in time", False, 3, None),
    }  # fmt: skip
    found = account("whole", (20, 20), rows, known)
    names = ("usages_that_differ", "given_that_cost", "left_less_than_delivered")
    assert [found[name] for name in names] == [1, 1, 1]
    assert found["gap"] == 0.225
