"""The command line as a whole: help, version, laziness, and how mistakes are told."""

import subprocess
import sys
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from penstock import __version__
from penstock.base.errors import ConfigError
from penstock.cli import main as cli


def run(*args: str) -> str:
    """What the command line prints for these arguments; it must end well."""
    result = CliRunner().invoke(cli.app, list(args))
    assert result.exit_code == 0, result.output
    return result.output


def install(monkeypatch: pytest.MonkeyPatch, function: object) -> None:
    """Put a command of our own in the place of `penstock serve`."""
    module = ModuleType("penstock.cli.serve")
    module.serve = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "penstock.cli.serve", module)


def ends(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """The exit status of the whole program."""
    monkeypatch.setattr(sys, "argv", ["penstock", *args])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert isinstance(ending.value.code, int)
    return ending.value.code


def test_version() -> None:
    """`--version` tells the package's version."""
    assert run("--version").strip() == f"penstock {__version__}"


def test_help_lists_commands_and_examples() -> None:
    """`--help` names every command and shows how to begin."""
    text = run("--help")
    for name in cli.COMMANDS:
        assert name in text
    assert "penstock serve --config penstock.yaml" in text


def test_help_imports_no_command() -> None:
    """`penstock --help` is fast because no command's file, and so no gateway, is imported for it."""
    code = (
        "import sys; from typer.testing import CliRunner; from penstock.cli.main import app, COMMANDS\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([n for n in COMMANDS if 'penstock.cli.' + n in sys.modules], 'starlette' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["[]", "False"], done.stderr


def test_command_gets_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is found by its name, and its function's parameters are its options."""
    seen: list[str] = []

    def serve(config: str = "none") -> None:
        """Serve something."""
        seen.append(config)

    install(monkeypatch, serve)
    run("serve", "--config", "a.yaml")
    assert seen == ["a.yaml"]
    assert "--config" in run("serve", "--help")


def test_help_breaks_lines_where_the_terminal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paragraphs of a docstring flow; a table in it keeps its lines."""

    def serve() -> None:
        """Serve something.

        A first line of the source
        and a second one.

        \b
        kind   one
        """

    install(monkeypatch, serve)
    text = run("serve", "--help")
    assert "A first line of the source and a second one." in text
    assert "kind   one" in text


def test_unknown_command_suggests(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped command ends with status 2 and the nearest name."""
    assert ends(monkeypatch, "sevre") == cli.MISTAKE
    assert "serve" in capsys.readouterr().err


def test_config_mistakes_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A ConfigError shows every mistake on a line of its own, without a traceback, and ends with status 2."""

    def serve() -> None:
        raise ConfigError(["$.listen: no port", "$.pools[0].name: missing"])

    install(monkeypatch, serve)
    assert ends(monkeypatch, "serve") == cli.MISTAKE
    text = capsys.readouterr().err
    assert "2 mistakes" in text
    assert "  - $.listen: no port\n  - $.pools[0].name: missing" in text
    assert "Traceback" not in text


def test_system_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the system refuses (a port in use, a missing file) is told in one line and ends with status 1."""

    def serve() -> None:
        raise FileNotFoundError(2, "No such file or directory", "penstock.yaml")

    install(monkeypatch, serve)
    assert ends(monkeypatch, "serve") == cli.FAILED
    assert capsys.readouterr().err == "penstock: No such file or directory: penstock.yaml\n"


def test_traceback_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """PENSTOCK_TRACEBACK lets the error through, for those who look for a bug."""

    def serve() -> None:
        raise ConfigError(["$.listen: no port"])

    install(monkeypatch, serve)
    monkeypatch.setenv("PENSTOCK_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["penstock", "serve"])
    with pytest.raises(ConfigError):
        cli.main()


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other exception is a bug and keeps its traceback."""

    def serve() -> None:
        raise ZeroDivisionError

    install(monkeypatch, serve)
    monkeypatch.setattr(sys, "argv", ["penstock", "serve"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_mistakes_of_a_file_name_it() -> None:
    """Who starts a gateway by a script has to know which file is meant."""
    assert cli.explain(ConfigError(["a", "b"], "/etc/p.yaml")).startswith("/etc/p.yaml: 2 mistakes\n  - a\n")
    assert cli.explain(ConfigError(["a"], "p.yaml")).startswith("p.yaml: 1 mistake\n")


def test_one_mistake_is_singular() -> None:
    """A single mistake is not counted."""
    assert cli.explain(ConfigError(["$.listen: no port"])).startswith("There is a mistake:\n  - ")


def test_every_command_has_a_function() -> None:
    """Each name in the list of commands is a file with a function of that name, and can be turned into a command."""
    for name in cli.COMMANDS:
        assert cli.load(name).name == name


def test_app_is_a_typer() -> None:
    """Shell completion finds the application under its name."""
    assert isinstance(cli.app, typer.Typer)
