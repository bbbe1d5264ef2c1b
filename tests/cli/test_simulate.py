"""`penstock simulate`: a scenario in, a table, JSON and a page out."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from penstock.base.errors import ConfigError
from penstock.cli.main import app
from penstock.cli.simulate import _policies
from penstock.config.scenarios import read_scenario
from penstock.sim.opponents import OPPONENTS
from penstock.sim.report import BESIDE

SCENARIO = """
workload: {kind: synthetic, arrivals: {kind: poisson, rate: 50}, requests: 60}
fleet: [{count: 2, cost: fast, seats: 4}]
seeds: [1, 2]
"""


def run(tmp_path: Path, *options: str, more: str = "") -> Result:
    """The command on a small scenario."""
    file = tmp_path / "try.yaml"
    file.write_text(SCENARIO + more)
    return CliRunner().invoke(app, ["simulate", str(file), "--quiet", *options])


def test_a_scenario_ends_in_a_table(tmp_path: Path) -> None:
    """Its own policy alone: the default strategy, with its percentiles."""
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert "adaptive" in done.output
    assert "TTFT, p95" in done.output


@pytest.mark.slow
def test_strategies_stand_side_by_side(tmp_path: Path) -> None:
    """Two strategies and a page with plots."""
    page = tmp_path / "report.html"
    done = run(tmp_path, "--strategies", "round_robin,least_loaded", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "round_robin" in done.output
    assert "the best of its row" in done.output
    assert "<svg" in page.read_text()


@pytest.mark.slow
def test_a_gateways_own_file_can_be_compared(tmp_path: Path) -> None:
    """Two configurations, named by their files."""
    for name, strategy in (("today", "round_robin"), ("tomorrow", "least_connections")):
        text = f"pools: [{{name: a, strategy: {strategy}, replicas: [{{url: 'http://h:1'}}]}}]\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [part for name in ("today", "tomorrow") for part in ("--compare", str(tmp_path / f"{name}.yaml"))]
    done = run(tmp_path, *files, "--json", "-")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [column["policy"] for column in found["comparison"]["columns"]] == ["today", "tomorrow"]
    assert found["comparison"]["columns"][0]["numbers"]["requests"]["mean"] == 60.0


@pytest.mark.slow
def test_mistakes_and_oracles_stand_beside_a_policy(tmp_path: Path) -> None:
    """All opponents after the scenario's own strategy, and the yardsticks in the table, the page and the JSON; what is
    expected is not expected of opponents."""
    page, file = tmp_path / "report.html", tmp_path / "all.json"
    options = ("--strategies", "opponents", "--oracle", "--seeds", "1", "--html", str(page), "--json", str(file))
    done = run(tmp_path, *options, more="expect: [{metric: ok, at_least: 60}]\n")
    assert done.exit_code == 0, done.output
    found = json.loads(file.read_text())
    names = [column["policy"] for column in found["comparison"]["columns"]]
    assert names == ["adaptive", *(f"opponent:{name}" for name in OPPONENTS)]
    assert [yardstick["name"] for yardstick in found["comparison"]["yardsticks"]] == ["oracle", "bound"]
    assert [verdict["policy"] for verdict in found["expected"]] == ["adaptive"]
    assert BESIDE.split(".")[0] in done.output
    assert "<th>oracle<th>bound" in page.read_text()


def test_several_gateways_stand_beside_one(tmp_path: Path) -> None:
    """Each strategy with each number of them; how they share limits is what the scenario says."""
    done = run(tmp_path, "--seeds", "1", "--gateways", "1,3", "--json", "-", more="gateways: {limits: shared}\n")
    found = json.loads(done.stdout)
    names = [column["policy"] for column in found["comparison"]["columns"]]
    assert names == ["adaptive, 1 gateway", "adaptive, 3 gateways"]
    assert [column["numbers"]["ok"]["mean"] for column in found["comparison"]["columns"]] == [60.0, 60.0]


def test_variants_stand_beside_the_policy(tmp_path: Path) -> None:
    """Unless the command says what is to be tried."""
    more = "variants: {patient: {queue: {timeout: 1m}}, alike: {strategy: round_robin}}\n"
    found = json.loads(run(tmp_path, "--seeds", "1", "--json", "-", more=more).stdout)
    assert [column["policy"] for column in found["comparison"]["columns"]] == ["adaptive", "patient", "alike"]
    told = run(tmp_path, "--seeds", "1", "--strategies", "random", "--json", "-", more=more)
    assert [column["policy"] for column in json.loads(told.stdout)["comparison"]["columns"]] == ["random"]


def test_a_missed_expectation_fails_the_command(tmp_path: Path) -> None:
    """For a team's continuous integration: the exit status says it."""
    done = run(tmp_path, "--seeds", "3", more="expect: [{metric: ttft_p95_s, at_most: 0.0000001}]\n")
    assert done.exit_code == 1
    assert "MISSED adaptive: ttft_p95_s" in done.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strategies", "psychic"], "'psychic' is none: there are round_robin"),
        (["--strategies", "adaptiv"], "'adaptiv' is none: did you mean `adaptive`?"),
        (["--strategies", "opponent:me"], "'opponent:me' is none: there are opponent:single_instance"),
        (["--seeds", "one"], "expected whole numbers"),
        (["--compare", "/nowhere.yaml"], "cannot be read"),
        (["--replicas", "two"], "--replicas: 'two': expected whole numbers"),
        (["--replicas", "0"], "expected numbers from 1"),
        (["--gateways", "1,0"], "--gateways: 0: expected numbers from 1 to 64"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, options: list[str], said: str) -> None:
    """What was given that cannot be used."""
    done = run(tmp_path, *options)
    assert done.exit_code != 0
    assert said in str(done.exception)


def test_fleets_of_several_sizes_stand_side_by_side(tmp_path: Path) -> None:
    """Each policy with each number of replicas, and a page with their loads."""
    page = tmp_path / "report.html"
    done = run(tmp_path, "--replicas", "1,3", "--seeds", "1", "--json", "-", "--html", str(page))
    assert done.exit_code == 0, done.output
    columns = json.loads(done.stdout)["comparison"]["columns"]
    assert [column["policy"] for column in columns] == ["adaptive x1", "adaptive x3"]
    assert [len(column["runs"][0]["replicas"]) for column in columns] == [1, 3]
    assert "<title>r2: " in page.read_text()


@pytest.mark.slow
def test_strategies_and_sizes_end_in_one_table_with_an_answer(tmp_path: Path) -> None:
    """Six columns fit beside it, ten are left to the page; what costs something is priced."""
    file = tmp_path / "try.yaml"
    priced = SCENARIO.replace("seats: 4", "seats: 4, hourly_cost: 2")
    file.write_text(priced + "expect: [{metric: goodput, at_least: 0.9}]\n")
    for sizes, whole in (("1,2,3", True), ("1,2,3,4,5", False)):
        options = ["--strategies", "round_robin,adaptive", "--replicas", sizes, "--seeds", "1", "--quiet"]
        done = CliRunner().invoke(app, ["simulate", str(file), *options])
        assert done.exit_code == 0, done.output
        assert "Enough, and the cheapest that is (2 an hour): round_robin x1, adaptive x1." in done.output
        assert ("TTFT, p99" in done.output) is whole
        assert ("All other numbers are in the page" in done.output) is not whole


def test_models_of_several_pools_have_rows_of_their_own(tmp_path: Path) -> None:
    """In the table, in the page and in the JSON."""
    file, page, everything = tmp_path / "try.yaml", tmp_path / "report.html", tmp_path / "all.json"
    file.write_text("""
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate: 50}
  model: {kind: weighted, weights: {small: 1, large: 1}}
  requests: 60
fleet: [{cost: fast, pool: a}, {cost: fast, pool: b}]
pools: {a: {models: [small]}, b: {models: [large]}}
seeds: [1]
""")
    command = ["simulate", str(file), "--quiet", "--html", str(page), "--json", str(everything)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "large: TTFT, p95" in done.output
    assert "small: goodput" in page.read_text()
    models = json.loads(everything.read_text())["comparison"]["columns"][0]["models"]
    assert models["small"]["requests"]["mean"] + models["large"]["requests"]["mean"] == 60


def test_a_strategy_by_name_keeps_the_scenarios_own_settings(tmp_path: Path) -> None:
    """Naming the scenario's own strategy tries it as it is configured there."""
    scenario = read_scenario(SCENARIO + "policy: {strategy: {kind: adaptive, prefix: 0}}\n", "s.yaml")
    assert _policies(scenario, "adaptive, random", [])["adaptive"] == scenario.policy
    assert list(_policies(scenario, "adaptive, random", [])) == ["adaptive", "random"]


@pytest.mark.parametrize(
    ("more", "options", "said"),
    [
        ("expect: [{metric: ttft}]\n", [], "'ttft' is no number of a result"),
        ("faults: [{kind: die, at: 1s, replicas: [1]}]\n", ["--replicas", "1"], "there is no replica 1"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(
    tmp_path: Path, more: str, options: list[str], said: str
) -> None:
    """A slip costs no simulation."""
    done = run(tmp_path, *options, more=more)
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
