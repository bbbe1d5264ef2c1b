"""`penstock check`, as it is called."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli.check import check
from penstock.config.reference import markdown, schema_text

ROOT = Path(__file__).resolve().parents[2]
app = typer.Typer()
app.command()(check)


def run(*words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    result = CliRunner().invoke(app, list(words), env=env)
    return result.exit_code, result.stdout, result.stderr


def test_a_good_file_is_summed_up() -> None:
    """Exit 0, the pools and replicas, and the hash of the plain key."""
    status, out, _ = run(str(ROOT / "examples/penstock.yaml"))
    assert status == 0
    assert "no mistakes" in out
    assert "http://127.0.0.1:18302" in out
    assert "warning: keys[0] (demo): the key stands in the file in plain text; write `hash: 'sha256:" in out


def test_sources_have_a_table_of_their_own(tmp_path: Path) -> None:
    """What is found at run time is told beside the replicas of the file."""
    file = tmp_path / "penstock.yaml"
    file.write_text("pools: [{name: p, models: [m], discover: [{kind: dns, name: a.test, port: 1}]}]")
    status, out, _ = run(str(file))
    assert status == 0
    assert "more replicas are found by" in out
    assert "dns a a.test:1" in out


SCALED = "{name: p, models: [m], scale: {max_hourly_cost: 9, actuator: {kind: dry_run}, replica: {hourly_cost: 1}}}"


@pytest.mark.parametrize(("pools", "bound"), [(SCALED, True), (SCALED.replace("max_hourly_cost: 9, ", ""), False)])
def test_a_bound_that_a_scaled_pool_lacks_is_no_word(tmp_path: Path, pools: str, bound: bool) -> None:
    """Where no pool has one its column is left out; beside one that has, the cell is empty and not None."""
    file = tmp_path / "penstock.yaml"
    other = "{name: q, models: [n], scale: {actuator: {kind: dry_run}}}"
    file.write_text(f"pools: [{pools}, {other}]")
    status, out, _ = run(str(file), env={"COLUMNS": "160"})
    assert status == 0
    assert "pools that scale themselves" in out
    assert ("max_hourly_cost" in out) == bound
    assert "None" not in out


def test_all_mistakes_are_printed(tmp_path: Path) -> None:
    """Exit 2, every mistake on a line of its own, on standard error."""
    file = tmp_path / "wrong.yaml"
    file.write_text("quue: {}\nlisten: x\npools: [{name: p}]\n")
    status, out, err = run(str(file))
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        f"{file}: 2 mistakes",
        "  - quue (line 1): there is no such field here; did you mean `queue`?",
        "  - listen (line 2): found 'x', expected host:port, like 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses",
    ]


@pytest.mark.parametrize("text, status", [("pools: [{name: p}]", 0), ("pools: 3", 2)])
def test_json_is_one_object(tmp_path: Path, text: str, status: int) -> None:
    """Machines read the same facts."""
    file = tmp_path / "file.yaml"
    file.write_text(text)
    got, out, _ = run("--json", str(file))
    found = json.loads(out)
    assert (got, found["ok"], "mistakes" in found) == (status, status == 0, status == 2)


def test_the_environment_counts(tmp_path: Path) -> None:
    """Overrides are checked as they would hold for serve."""
    file = tmp_path / "file.yaml"
    file.write_text("pools: [{name: p}]")
    status, _, err = run(str(file), env={"PENSTOCK__QUEU": "1"})
    assert status == 2
    assert "PENSTOCK__QUEU: the file has no field 'queu'; did you mean PENSTOCK__QUEUE?" in err


def test_schema_and_reference_are_printed() -> None:
    """The shipped pages are made by these."""
    assert run("--schema") == (0, schema_text(), "")
    assert run("--reference") == (0, markdown(), "")
