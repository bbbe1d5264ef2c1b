"""Equal seeds are equal runs: the digest of each golden scenario's journal is what it was, wherever it is computed."""

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.golden import SCENARIOS, run

ROOT = Path(__file__).resolve().parents[2]
GOLDEN: dict[str, str] = json.loads((ROOT / "tests/agreement/data/golden.json").read_text())


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_digest_is_what_it_was(name: str) -> None:
    """On every version of Python that we support. Was the change meant? `tests.helpers.golden` writes them anew."""
    assert run(name).journal == GOLDEN[name]


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_a_digest_does_not_depend_on_how_texts_are_hashed(hash_seed: str) -> None:
    """Another process with another PYTHONHASHSEED finds the same: no decision hangs on the order of a set."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.golden"], cwd=ROOT, env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == GOLDEN


@pytest.mark.slow
def test_nothing_adds_floats_by_a_rule_that_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12 made `sum` of floats more exact, so that its last bits differ from 3.11's: `math.fsum` is the same
    everywhere."""
    plain = sum

    def checked(values: Iterable[Any], /, start: Any = 0) -> Any:
        found = plain(values, start)
        assert not isinstance(found, float), "use math.fsum for floats"
        return found

    monkeypatch.setattr(builtins, "sum", checked)
    with pytest.raises(AssertionError, match="fsum"):
        sum([0.1, 0.2])
    for name in SCENARIOS:
        run(name)


@pytest.mark.slow
def test_the_scenarios_meet_what_they_are_for() -> None:
    """Sessions, failures that were survived, hedges, refusals: what could differ does happen."""
    outcomes = {name: run(name).result for name in SCENARIOS}
    assert outcomes["everything goes wrong"].attempts > 1
    assert outcomes["second attempts"].attempts > 1
    assert set(outcomes["a crowd that must wait"].outcomes) >= {"ok", "queue_timeout"}
    assert all(result.ok for result in outcomes.values())
    assert len(set(GOLDEN.values())) == len(GOLDEN) == len(SCENARIOS)
