"""The console for people, and what a gateway says turned into structs."""

import pytest
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from penstock.cli.admin import AdminError
from penstock.cli.plain import PLAIN_WIDTH, plain_console, understood
from penstock.telemetry.explained import Short


def test_names_that_look_like_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A model called [bold] is printed, not obeyed."""
    plain_console().print("model [bold] :smile:")
    assert capsys.readouterr().out == "model [bold] :smile:\n"


def test_a_pipe_gets_lines_as_long_as_promised(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no terminal a line is broken at the given width, and nowhere before."""
    monkeypatch.delenv("COLUMNS", raising=False)
    for width in (PLAIN_WIDTH, 40):
        plain_console(width).print(Text("x" * 200))
        assert max(map(len, capsys.readouterr().out.splitlines())) == width


def calls() -> Table:
    """A table of two calls, 57 columns wide, one of whose columns says nothing."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("id", "replica"):
        table.add_column(name)
    for name in ("time to first token", "cost"):
        table.add_column(name, justify="right")
    table.add_row("4da-600", "10.0.0.1:28301", "28.44 s", "-")
    table.add_row("4da-601", "10.0.0.2:28302", "1.5 s", "")
    return table


@pytest.mark.parametrize("width, lines", [(60, 2), (50, 2), (40, 2), (36, 2), (30, 4)])
def test_a_wide_table_loses_no_facts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, lines: int
) -> None:
    """It keeps to COLUMNS: empty columns go, headers are broken at spaces, and only then are long words folded."""
    monkeypatch.setenv("COLUMNS", str(width))
    plain_console().print(calls())
    shown = capsys.readouterr().out.rstrip().splitlines()
    assert max(map(len, shown)) <= width
    assert ("cost" in "".join(shown)) == (width == 60)
    assert "…" not in "".join(shown)
    below = shown[next(at for at, line in enumerate(shown) if "──" in line) + 1 :]
    assert (len(below), "28.44 s" in below[0]) == (lines, True)


def test_what_another_version_says_is_told_with_the_way_out() -> None:
    """An answer of another form is an error that names the place and --json, not a traceback."""
    with pytest.raises(AdminError, match=r"form that this version does not know .*\$\[0\].*--json shows it"):
        understood([{"id": 3}], list[Short])
