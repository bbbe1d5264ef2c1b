"""`penstock pressure`: the ten tests as a command."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from penstock.base.errors import ConfigError
from penstock.cli.main import app
from penstock.cli.pressure import _chosen

CONFIG = """
pools:
  - name: chat
    models: [m]
    scale: {min: 2, max: 5, actuator: {kind: dry_run}, replica: {max_concurrent_requests: 16}}
"""


def run(*options: str) -> Result:
    """The command, one seed of each test in its small size."""
    return CliRunner().invoke(app, ["pressure", "--quick", "--seeds", "1", "--quiet", *options])


def test_tests_are_chosen_by_number_or_name() -> None:
    """In the order of the tests; an unknown one is told with those that there are."""
    assert [drill.number for drill in _chosen("burst, 1")] == [1, 8]
    assert len(_chosen(None)) == 10
    with pytest.raises(ConfigError, match="'12' is none of the tests: there are 1 spike, 2 half-die"):
        _chosen("1,12")


@pytest.mark.slow
def test_mistakes_in_what_is_asked() -> None:
    """An unknown mistake, and options that need a configuration."""
    for options, text in ((["--mistake", "none"], "--mistake: 'none'"), (["--load", "2"], "go with --config")):
        done = run("--only", "5", *options)
        assert isinstance(done.exception, ConfigError)
        assert text in str(done.exception)


@pytest.mark.slow
def test_it_ends_in_a_table_a_page_and_json(tmp_path: Path) -> None:
    """The exit status is the verdict; runs that are kept are not played again."""
    page, data, keep = tmp_path / "a.html", tmp_path / "a.json", tmp_path / "runs.jsonl"
    options = ("--only", "cold-start", "--html", str(page), "--json", str(data), "--keep", str(keep))
    done = run(*options)
    assert done.exit_code == 0, done.output
    assert "first_answer_s" in done.output
    assert "1 of 1 passed" in done.output
    assert page.read_text().count("<svg") >= 3
    (tested,) = json.loads(data.read_text())["tests"]
    assert [one["held"] for one in tested["criteria"]] == [1] * 5
    lines = keep.read_text().splitlines()
    assert len(lines) == 2, "the run and its bound"
    assert run(*options).exit_code == 0
    assert keep.read_text().splitlines() == lines


@pytest.mark.slow
def test_a_mistake_fails() -> None:
    """Played with it, the status says so; asked whether it is found, that it is."""
    assert run("--only", "5", "--mistake", "cpu_only").exit_code == 1
    done = run("--only", "5", "--mistake", "matching", "--json", "-")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["tests"][0]["mistake"] == "cpu_only"


@pytest.mark.slow
def test_processes_give_the_same(tmp_path: Path) -> None:
    """Two processes at once: the same numbers as one after the other."""
    found = [json.loads(run("--only", "5", "--jobs", jobs, "--json", "-").stdout)["tests"] for jobs in ("1", "2")]
    assert found[0][0]["runs"] == found[1][0]["runs"]


@pytest.mark.slow
def test_a_fleet_of_ones_own(tmp_path: Path) -> None:
    """A configuration's pool stands in for the test's: five replicas at most, which the head tells."""
    file = tmp_path / "mine.yaml"
    file.write_text(CONFIG)
    done = run("--only", "8", "--config", str(file), "--load", "0.02", "--startup", "5", "--json", "-")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    said = json.loads(done.stdout)
    assert "mine.yaml; 0.02 times" in said["head"][1]
    assert said["tests"][0]["runs"][0]["numbers"]["replicas_peak"] <= 5
