"""`penstock simulate --from-journal`: what it says, and with what status it ends."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from penstock.base.errors import ConfigError
from penstock.cli.main import app
from tests.helpers.journals import write_run, write_story
from tests.sim.support import request, steady

LIMITS = "tiers: {standard: {requests_per_minute: 1}}\n"
CONFIG = LIMITS + "pools: [{name: a, strategy: least_loaded, replicas: [{url: 'http://h:1'}]}]\n"


def simulate(*words: object) -> Result:
    """The command."""
    return CliRunner().invoke(app, ["simulate", *map(str, words), "--quiet"])


def recorded(folder: Path) -> Path:
    """The journal of a run."""
    path = folder / "journal"
    write_run(path, [*steady(40, 0.005, prompt_tokens=600), request(0.3, 80, 300, tenant="late")])
    return path


@pytest.mark.slow
def test_a_journal_that_replays_is_identical(tmp_path: Path) -> None:
    """Status 0, with the numbers of facts and orders, and how many parts there were."""
    path = tmp_path / "journal"
    turns = write_story(path, 1, max_bytes=20_000, calls=20)
    done = simulate("--from-journal", path)
    assert done.exit_code == 0, done.output
    orders = sum(len(each) for _, _, each in turns)
    assert f"identical: {len(turns):,} facts gave the same {orders:,} orders again" in done.output
    assert "process of 2023-11-14 22:30:00 UTC" in done.output


def test_a_difference_is_told_and_fails(tmp_path: Path) -> None:
    """Status 1, the place, the fact, and both sides; as JSON too."""
    path = tmp_path / "journal"
    write_story(path, 1, calls=20)
    path.write_bytes(path.read_bytes().replace(b'"seed":1,', b'"seed":3,', 1))
    done = simulate("--from-journal", path)
    assert done.exit_code == 1, done.output
    assert "DIFFERENT: " in done.output
    assert ", line " in done.output
    assert "  recorded: [" in done.output
    assert "  replayed: [" in done.output
    told = simulate("--from-journal", path, "--json", "-")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["difference"]["place"].startswith(str(path))
    kept = tmp_path / "found.json"
    assert simulate("--from-journal", path, "--json", kept).exit_code == 1
    assert json.loads(kept.read_text()) == json.loads(told.stdout)


@pytest.mark.slow
def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """A life without its beginning: how many facts could not be replayed."""
    path = tmp_path / "journal"
    write_story(path, 1, max_bytes=20_000, calls=20)
    path.rename(tmp_path / "end")
    done = simulate("--from-journal", tmp_path / "end")
    assert done.exit_code == 0, done.output
    assert "of a process whose first file is gone, and cannot be replayed" in done.output
    assert "nothing could be replayed" in done.output


def test_its_traffic_meets_other_policies(tmp_path: Path) -> None:
    """What was measured, the same simulated, a gateway's other file and another strategy side by side, and a page."""
    path, config, page = recorded(tmp_path), tmp_path / "tomorrow.yaml", tmp_path / "report.html"
    config.write_text(CONFIG)
    words = ("--from-journal", path, "--what-if", config, "--strategies", "random", "--cost", "fast", "--seeds", "1,2")
    done = simulate(*words, "--html", page)
    assert done.exit_code == 0, done.output
    assert "journal: 41 calls of pool sim, " in done.output
    assert "workload recorded; replicas: 2 × fast (speed 1)" in done.output
    head = next(line for line in done.output.splitlines() if "measured" in line)
    assert head.split("  ")[-1].strip() == "tomorrow"
    assert "as it was" in head
    assert "<svg" in page.read_text()
    columns = json.loads(simulate(*words, "--json", "-").stdout)["comparison"]["columns"]
    assert [column["policy"] for column in columns] == ["measured", "as it was", "random", "tomorrow"]
    assert [column["measured"] for column in columns] == [True, False, False, False]
    assert columns[3]["numbers"]["ok"]["mean"] == 41, "limits are not tried"
    assert columns[0]["runs"][0]["ttft_mean_s"] == pytest.approx(columns[1]["runs"][0]["ttft_mean_s"])


def test_engines_may_be_computed_from_model_and_gpu(tmp_path: Path) -> None:
    """`--cost` takes what a scenario takes; who knows everything, and the bound, may stand beside."""
    words = ("--from-journal", recorded(tmp_path), "--cost", "{model: llama-3.1-8b, gpu: h100}", "--seeds", "1")
    done = simulate(*words, "--oracle")
    assert done.exit_code == 0, done.output
    assert "2 × llama-3.1-8b" in done.output.lower()
    head = next(line for line in done.output.splitlines() if "measured" in line)
    assert head.split() == ["measured", "as", "it", "was", "oracle", "bound"]


def test_a_scenario_gives_fleet_and_expectations(tmp_path: Path) -> None:
    """Its workload and policy are the journal's; more replicas can be tried; what was measured is not judged."""
    path, file = recorded(tmp_path), tmp_path / "try.yaml"
    file.write_text(
        "workload: {kind: trace, file: azure}\nfleet: [{cost: demo, seats: 4}]\nseeds: [1]\n"
        "expect: [{metric: ok, at_least: 42}]\n"
    )
    done = simulate(file, "--from-journal", path, "--replicas", "1,2")
    assert done.exit_code == 1, done.output
    assert "MISSED as it was x1: ok 41" in done.output
    assert "MISSED as it was x2: ok 41" in done.output
    assert "MISSED measured" not in done.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give a scenario, or --from-journal FILE"),
        (["--cost", "fast"], "--what-if and --cost go with --from-journal"),
        (["--from-journal", "/nowhere/journal"], "/nowhere/journal: cannot be read"),
        (["--from-journal", "JOURNAL", "--strategies", "random"], "give --cost, or a scenario"),
        (["--from-journal", "JOURNAL", "--strategies", "random", "--cost", "gold"], "'gold' is no cost model"),
        (["SCENARIO", "--from-journal", "JOURNAL", "--cost", "fast"], "--cost: the scenario's fleet says"),
        (["--from-journal", "EMPTY"], "EMPTY: it is empty"),
        (["--from-journal", "EMPTY", "--what-if", "x", "--cost", "fast"], "EMPTY: it is empty"),
        (["--from-journal", "QUIET", "--replicas", "2", "--cost", "fast"], "no call of pool 'a' is in it"),
        (["--from-journal", "SCENARIO"], "line 1"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, words: list[str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given that does not fit together, or is no journal."""
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path).rename("JOURNAL")
    Path("SCENARIO").write_text("workload: {kind: trace, file: azure}\nfleet: [{}]\n")
    Path("EMPTY").write_bytes(b"")
    write_story(Path("QUIET"), 1, calls=0)
    done = simulate(*words)
    assert isinstance(done.exception, ConfigError), done.output
    assert why in str(done.exception)
