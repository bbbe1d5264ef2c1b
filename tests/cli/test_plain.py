"""The console for people, and what a gateway says turned into structs."""

import pytest
from rich.text import Text

from penstock.cli.admin import AdminError
from penstock.cli.plain import PLAIN_WIDTH, plain_console, understood
from penstock.telemetry.explained import Short


def test_names_that_look_like_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A model called [bold] is printed, not obeyed."""
    plain_console().print("model [bold] :smile:")
    assert capsys.readouterr().out == "model [bold] :smile:\n"


def test_a_pipe_gets_lines_as_long_as_promised(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal a line is broken at the given width, and nowhere before."""
    for width in (PLAIN_WIDTH, 40):
        plain_console(width).print(Text("x" * 200))
        assert max(map(len, capsys.readouterr().out.splitlines())) == width


def test_what_another_version_says_is_told_with_the_way_out() -> None:
    """An answer of another form is an error that names the place and --json, not a traceback."""
    with pytest.raises(AdminError, match=r"form that this version does not know .*\$\[0\].*--json shows it"):
        understood([{"id": 3}], list[Short])
