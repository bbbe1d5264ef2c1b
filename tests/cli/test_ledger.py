"""`penstock ledger`, as it is called, over a ledger of today's calls."""

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.adapters.stores.history import user_named
from penstock.base.nouns import Usage
from penstock.cli.main import app
from penstock.workload.formats import read_trace
from tests.adapters.stores.ledgers import call, database, write


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where it is."""
    now = time.time() - 5
    with database(tmp_path) as base:
        write(
            base,
            call("a", tenant="acme", key="web", at=now, usage=Usage(1000, 50, 10), cost=1.25, latency_s=1.5),
            call(
                "b",
                tenant="lab",
                key="lab",
                at=now + 1,
                usage=Usage(10, 5),
                cost=0.00012,
                client_id="theirs",
                user=user_named("jo"),
            ),
        )
        yield tmp_path


def run(folder: Path, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    environment = {"COLUMNS": "200", "TERM": "dumb", "PENSTOCK_LEDGER": str(folder)}
    result = CliRunner().invoke(app, ["ledger", *words], env=environment)
    return result.exit_code, result.stdout, result.stderr


def test_its_questions_are_listed(folder: Path) -> None:
    """Help names each of them."""
    status, out, _ = run(folder, "--help")
    assert status == 0
    for name in ("top", "latency", "fleet", "calls", "show", "export"):
        assert name in out


def test_top(folder: Path) -> None:
    """A line each, the dearest first; the same as JSON; by several names."""
    status, out, _ = run(folder, "top")
    assert status == 0
    lines = [line.split() for line in out.splitlines() if line.split()[:1] in (["acme"], ["lab"])]
    assert lines == [
        ["acme", "1", "0", "0", "1,000", "10", "50", "1.2500", "1.5", "s"],
        ["lab", "1", "0", "0", "10", "0", "5", "0.00012", "2.1", "s"],
    ]  # fmt: skip
    found = json.loads(run(folder, "top", "--by", "tenant, key", "--json")[1])
    assert [one["names"] for one in found] == [{"tenant": "acme", "key": "web"}, {"tenant": "lab", "key": "lab"}]
    assert time.strftime("%Y-", time.gmtime()) in run(folder, "top", "--by", "day")[1]
    (first, *_) = json.loads(run(folder, "top", "--by", "day", "--json")[1])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", first["names"]["day"]), "a day is a date, and no number"
    assert "nothing" in run(folder, "top", "--tenant", "nobody")[1]


def test_latency_and_fleet(folder: Path) -> None:
    """Quantiles by tenant or model; pools with their tokens though nothing of their cost is known."""
    out = run(folder, "latency")[1]
    assert "acme" in out
    assert "p95" in out
    assert json.loads(run(folder, "latency", "--by", "model", "--json")[1])[0]["calls"] == 2
    (pool,) = json.loads(run(folder, "fleet", "--json")[1])
    assert (pool["pool"], pool["tokens"], pool["per_million_tokens"]) == ("p", 1065, None)
    assert "1,065" in run(folder, "fleet")[1]


def test_calls_page_by_page(folder: Path) -> None:
    """The newest first, and how to go on."""
    status, out, _ = run(folder, "calls", "-n", "1", "--since", "1h")
    assert status == 0
    assert "theirs" in out
    place = out.rpartition("--before ")[2].strip()
    out = run(folder, "calls", "-n", "1", "--before", place)[1]
    assert "acme" in out
    assert "--before" not in out
    (found,) = json.loads(run(folder, "calls", "--user", "jo", "--json")[1])["calls"]
    assert found["client_id"] == "theirs"
    assert run(folder, "calls", "--user", "jo", "--tenant", "acme", "--json")[1].strip() == '{"calls":[],"next":null}'


def test_one_call(folder: Path) -> None:
    """By the id that its client saw; one that is not there is told."""
    out = run(folder, "show", "theirs")[1]
    assert "lab" in out
    assert json.loads(run(folder, "show", "a", "--json")[1])["call"]["prompt_tokens"] == 1000
    status, _, err = run(folder, "show", "none")
    assert (status, "no call 'none'" in err) == (1, True)


def test_export(folder: Path, tmp_path: Path) -> None:
    """To a file or to standard output; a trace is one that our own readers take."""
    assert run(folder, "export")[1].count("\n") == 3
    out = tmp_path / "trace.csv"
    status, said, told = run(folder, "export", "--as", "trace", "--out", str(out))
    assert (status, said, told) == (0, "", f"2 calls written to {out}\n")
    assert [one.prompt_tokens for one in read_trace(out.read_bytes(), "t")] == [1000, 10]


@pytest.mark.slow
def test_export_as_parquet(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only to a file; without its extra it is told which one is missing."""
    out = tmp_path / "calls.parquet"
    assert run(folder, "export", "--as", "parquet")[0] == 2
    assert run(folder, "export", "--as", "parquet", "--out", str(out))[0] == 0
    assert out.read_bytes()[:4] == b"PAR1"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    status, _, err = run(folder, "export", "--as", "parquet", "--out", str(out))
    assert (status, "penstock[parquet]" in err) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("top", "--by", "x"), ("top", "--order", "x"), ("top", "--since", "x"), ("latency", "--by", "key"),
        ("calls", "--before", "x"), ("export", "--as", "x"), ("top", "--db", "nosuch://host/db"),
    ],
)  # fmt: skip
def test_mistakes_are_told(folder: Path, words: tuple[str, ...]) -> None:
    """With status 2, and what would have been right."""
    assert run(folder, *words)[0] == 2


def test_what_was_meant_is_told(folder: Path) -> None:
    """A word that is mistyped by a letter."""
    assert "did you mean `tenant`?" in run(folder, "top", "--by", "tenat")[2]


def test_where_there_is_no_ledger(folder: Path, tmp_path: Path) -> None:
    """A folder without one, and a file that is none: status 1 and a reason."""
    status, _, err = run(folder, "top", "--db", str(tmp_path / "elsewhere"))
    assert (status, "there is no ledger" in err) == (1, True)
    other = tmp_path / "other.db"
    other.write_bytes(b"this is no database at all, but long enough to be taken for one" * 20)
    status, _, err = run(folder, "top", "--db", str(other))
    assert status == 1
    assert "not a database" in err
