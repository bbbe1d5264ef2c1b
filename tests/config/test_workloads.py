"""Workload files are read with their mistakes located, and the files that they name are found beside them."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from msgspec import inspect as ty

from penstock.base.errors import ConfigError
from penstock.config.shape import options
from penstock.config.workloads import SHIPPED, File, open_workload, read_workload, reader
from penstock.workload.combine import Merge, Trace
from penstock.workload.formats import read_trace
from penstock.workload.lines import TraceError
from penstock.workload.sessions import Sessions
from tests.tidy.sources import ROOT

ROWS = b"at_s,prompt_tokens,output_tokens\n0,5,1\n2,6,1\n"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped(name: str) -> None:
    """Every shipped trace opens by its name."""
    assert sum(1 for _ in open_workload(name, 0)) >= 500


def test_units_and_nesting() -> None:
    """Durations have units, also where none is allowed, and workloads may be made of workloads."""
    file = read_workload(
        """
seed: 7
workload:
  kind: merge
  of:
    - {kind: sessions, arrivals: {kind: poisson, rate: 1}, duration: 1m30s, think: 500ms}
    - {kind: trace, file: azure}
""",
        "w.yaml",
    )
    assert file.seed == 7
    assert isinstance(file.workload, Merge)
    sessions, trace = file.workload.of
    assert isinstance(sessions, Sessions)
    assert (sessions.duration_s, sessions.think_s) == (90.0, 0.5)
    assert trace == Trace(file="azure")


def test_files_are_seen_from_the_yaml(tmp_path: Path) -> None:
    """A relative path is seen from the folder of the file that names it; the file's seed counts before the caller's."""
    (tmp_path / "rows.csv").write_bytes(ROWS)
    (tmp_path / "w.yaml").write_text("seed: 3\nworkload: {kind: trace, file: rows.csv}")
    work = open_workload(str(tmp_path / "w.yaml"), 9)
    assert [request.prompt_tokens for request in work] == [5, 6]
    assert work.seed == 3
    assert open_workload(str(tmp_path / "rows.csv"), 9).seed == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workload: {kind: nothing}", "workload.kind (w.yaml, line 1): found 'nothing', expected one of synthetic"),
        ("workload:\n  kind: trace", "workload.file (w.yaml, line 2): missing"),
        (
            "workload:\n  kind: loop\n  times: 2\n  of:\n    kind: trace\n    flie: a",
            "workload.of.flie (w.yaml, line 6): ",
        ),
        (
            "workload:\n  kind: sessions\n  duration: soon\n  arrivals: {kind: constant, rate: 1}",
            "workload.duration (w.yaml, line 3): found 'soon', expected a duration",
        ),
        (
            "workload: {kind: synthetic, arrivals: {kind: poisson, rate: 1}}",
            "w.yaml: needs requests or duration to end",
        ),
        ("- a", "w.yaml: expected a mapping with the field `workload`"),
        ("a: [", "w.yaml: line 1"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    """A mistake is told with its path and line, and a hint where there is one."""
    with pytest.raises(ConfigError) as caught:
        read_workload(text, "w.yaml")
    assert any(mistake.startswith(said) for mistake in caught.value.mistakes), caught.value.mistakes


def test_all_mistakes_at_once() -> None:
    """Every mistake is told, not only the first."""
    with pytest.raises(ConfigError) as caught:
        read_workload("workload: {kind: merge, of: [{kind: trace}, {kind: trace, fil: a}]}", "w.yaml")
    assert len(caught.value.mistakes) == 3


def test_missing_files(tmp_path: Path) -> None:
    """A file that is not there is told with the shipped names; so is a workload file."""
    with pytest.raises(TraceError, match=r"none\.csv: No such file or directory; shipped traces: azure, mooncake"):
        list(reader(tmp_path)("none.csv"))
    with pytest.raises(ConfigError, match="cannot be read"):
        open_workload(str(tmp_path / "none.yaml"), 0)


PAGE = (ROOT / "docs/reference/workloads.md").read_text()


def _specs() -> Iterator[ty.StructType]:
    """Every struct of a workload file, once."""
    found: dict[type, ty.StructType] = {}

    def visit(kind: ty.Type) -> None:
        for member in options(kind):
            if isinstance(member, ty.StructType) and member.cls not in found:
                found[member.cls] = member
                for field in member.fields:
                    visit(field.type)
            elif isinstance(member, ty.VarTupleType):
                visit(member.item_type)

    visit(ty.type_info(File))
    yield from found.values()


def test_the_page_tells_everything() -> None:
    """The reference page names every kind and every field."""
    for spec in _specs():
        assert spec.tag is None or f"`{spec.tag}`" in PAGE or f"### {spec.tag}\n" in PAGE, spec.tag
        for field in spec.fields:
            assert f"`{field.encode_name}`" in PAGE, (spec.cls, field.encode_name)


def test_the_pages_examples_hold() -> None:
    """The YAML and the CSV of the reference page are read."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert read_workload(text, "page").seed == 7
    (rows,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    assert [request.tenant for request in read_trace(rows.encode(), "page")] == ["acme", "globex"]


@pytest.mark.parametrize("path", sorted((ROOT / "examples/workloads").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    """Every example is read, and gives requests where it needs no file that does not ship."""
    work = open_workload(str(path), 1)
    if path.stem not in ("arxiv", "servegen"):
        assert len(list(islice(work, 50))) == 50
