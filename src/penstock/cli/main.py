"""The `penstock` command: the list of commands, what help says of them, and how mistakes are told.

It knows the commands by name only. A command's file is imported when it is run, so that `penstock --help` and shell
completion do not pay for a gateway.
"""

import os
import sys
from importlib import import_module
from inspect import cleandoc
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from penstock import __version__
from penstock.base.errors import ConfigError

COMMANDS = {
    "serve": "Run the gateway: from a file, from replica URLs, or over three emulated replicas.",
    "emulate": "Run an emulated vLLM replica: OpenAI API, timing, metrics and faults of an engine, without a GPU.",
    "check": "Check a configuration file: every mistake at once, with its path and a way out.",
    "keys": "The API keys of a configuration: who may use what, and until when; and new ones.",
    "explain": "Why a request went where it went, and what it waited for; or a list of the last calls.",
    "pools": "The pools that start and stop replicas by themselves, and what they decided last.",
    "ledger": "Who spent how much, which calls there were, what the fleet costs.",
    "cache": "The answers that a gateway keeps: numbers, putting some out of use, filling it beforehand.",
    "top": "The fleet, its queues and rates, live in the terminal.",
    "simulate": "Try policies on a workload in virtual time: the gateway's own decisions over modelled engines.",
    "pressure": "Ten pressure tests of a fleet that scales itself, in virtual time, with a verdict for a CI.",
    "calibrate": "Make a model of an engine from measurements of it, for `simulate` and `emulate`.",
    "load": "Replay a request trace against any OpenAI endpoint and show latencies, goodput and errors.",
    "workload": "Tell what a trace or a made-up workload consists of, and write it as a trace of our own format.",
}
"""Command -> what help says of it. `penstock.cli.NAME` holds a function NAME; its parameters are the options.
Or NAME is a group of such functions."""

EPILOG = """
[bold]Examples[/bold]

  penstock serve                          [dim]try it: three emulated replicas[/dim]

  penstock serve --url http://gpu1:8000 --url http://gpu2:8000

  penstock serve --config penstock.yaml   [dim]the whole configuration[/dim]

  penstock check penstock.yaml            [dim]before you deploy or reload it[/dim]

  penstock load --url http://gpu1:8080    [dim]replay a real trace through it[/dim]

`penstock COMMAND --help` tells a command's options.

Exit status: 0 done, 1 failed, 2 a mistake in what you gave.
"""

MISTAKE, FAILED = 2, 1


class LazyCommands(TyperGroup):
    """Lists commands by their one-line help; imports a command's file when that command is run or completed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, text in COMMANDS.items():
            self.add_command(TyperCommand(name, help=text), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begins with, now with its options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, (load(name) if name else command), rest


def load(name: str) -> Any:
    """The command of this name, made from the function of the same name in `penstock.cli.NAME`; or a group of commands,
    where there is one of that name."""
    function = getattr(import_module(f"penstock.cli.{name}"), name)
    if isinstance(function, typer.Typer):
        return _flowing(typer.main.get_command(function))
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    single.command(name)(function)
    return _flowing(typer.main.get_command(single))


def _flowing(command: Any) -> Any:
    """The command and those in it, with the paragraphs of their help as one line each: a terminal breaks lines where it
    ends, and shows those of the source as well. Paragraphs that begin with \\b, and lists, keep theirs."""
    for one in (command, *getattr(command, "commands", {}).values()):
        paragraphs = cleandoc(one.help or "").split("\n\n")
        one.help = "\n\n".join(text if _kept(text) else " ".join(text.split()) for text in paragraphs)
    return command


def _kept(paragraph: str) -> bool:
    return paragraph.startswith("\b") or any(line.startswith((" ", "- ")) for line in paragraph.split("\n"))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"penstock {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="penstock",
    cls=LazyCommands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


@app.callback()
def penstock(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Penstock: one endpoint in front of many LLM replicas."""


def explain(error: ConfigError) -> str:
    """Mistakes, of a configuration or another file, as people read them: counted, one a line."""
    count = len(error.mistakes)
    head = "There is a mistake:" if count == 1 else f"There are {count} mistakes:"
    if error.file:
        head = f"{error.file}: {count} mistake{'' if count == 1 else 's'}"
    return "\n".join([head, *(f"  - {mistake}" for mistake in error.mistakes)])


def said(error: OSError) -> str:
    """What the system refused, and of which file, without its number for that."""
    where = "" if error.filename is None else f": {error.filename}"
    return f"{error.strerror}{where}" if error.strerror else str(error)


def main() -> None:
    """Run the command line and exit. PENSTOCK_TRACEBACK=1 shows where in the code an error came from."""
    try:
        app(prog_name="penstock")
    except ConfigError as error:
        _give_up(error, explain(error), MISTAKE)
    except OSError as error:
        _give_up(error, f"penstock: {said(error)}", FAILED)


def _give_up(error: Exception, text: str, status: int) -> NoReturn:
    if os.environ.get("PENSTOCK_TRACEBACK"):
        raise error
    typer.echo(text, err=True)
    sys.exit(status)
