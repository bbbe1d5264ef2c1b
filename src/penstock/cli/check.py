"""`penstock check`: every mistake of a configuration at once, or what it amounts to."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from penstock.base.errors import ConfigError
from penstock.cli.plain import WIDE_WIDTH, plain_console
from penstock.config.check import report
from penstock.config.load import load_file
from penstock.config.reference import markdown, schema_text

MISTAKE = 2


def check(
    file: Annotated[
        Path, typer.Argument(envvar="PENSTOCK_CONFIG", help="The configuration, YAML.", show_default=True)
    ] = Path("penstock.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file, for editors.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="Print the reference page, Markdown.")] = False,
) -> None:
    """Check a configuration file: every mistake at once, with its path and a way out.

    Variables of the environment count as they would for `penstock serve`. Exit status: 0 it can be used, 2 it cannot.
    """
    if schema or reference:
        sys.stdout.write(schema_text() if schema else markdown())
        return
    try:
        settings = load_file(file, os.environ)
    except ConfigError as error:
        _print_mistakes(file, error.mistakes, as_json)
        raise typer.Exit(MISTAKE) from None
    found = report(settings)
    if as_json:
        typer.echo(json.dumps({"ok": True, "file": str(file), **found}, ensure_ascii=False))
    else:
        _print_report(file, found)


def _print_mistakes(file: Path, mistakes: list[str], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"ok": False, "file": str(file), "mistakes": mistakes}, ensure_ascii=False))
        return
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    typer.echo(f"{file}: {count}", err=True)
    for mistake in mistakes:
        typer.echo(f"  - {mistake}", err=True)


def _print_report(file: Path, found: dict[str, Any]) -> None:
    console = plain_console(WIDE_WIDTH)
    who = "everybody who can reach it" if found["open"] else f"{len(found['keys'])} API key(s)"
    console.print(f"{file}: no mistakes", soft_wrap=True)
    console.print(f"  serves   {found['listen']}, open to {who}", soft_wrap=True)
    console.print(f"  admin    {found['admin'] or 'off'}", soft_wrap=True)
    console.print(f"  metrics  {found['metrics'] or 'at the admin API'}", soft_wrap=True)
    console.print(_table("pools", found["pools"]))
    if found["replicas"]:
        console.print(_table("replicas", found["replicas"]))
    if found["sources"]:
        console.print(_table("more replicas are found by", found["sources"]))
    if found["scaled"]:
        console.print(_table("pools that scale themselves", found["scaled"]))
    if found["limits"]:
        console.print(_table("limits", found["limits"]))
    if found["prices"]:
        console.print(_table("prices of a million tokens", found["prices"]))
    for name, target in found["aliases"].items():
        console.print(f"  {name} stands for {target}", soft_wrap=True)
    for name, targets in found["fallback"].items():
        console.print(f"  {name} falls back to {', '.join(targets)}", soft_wrap=True)
    for name, shares in found["splits"].items():
        said = ", ".join(f"{other} {share}" for other, share in shares.items())
        console.print(f"  {name} is split: {said}", soft_wrap=True)
    for warning in found["warnings"]:
        console.print(f"warning: {warning}", soft_wrap=True)


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    table = Table(title=title, title_justify="left", title_style="", header_style="", box=SIMPLE_HEAD, pad_edge=False)
    names = [name for name in rows[0] if any(row[name] for row in cells)]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in names))
    return table


def _cell(value: Any) -> str:
    """A value as it stands in a table; empty where it says nothing, so that a column of them is left out."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else ""
        case list():
            return ", ".join(value)
        case dict():
            return ", ".join(key if key == to else f"{key} = {_cell(to)}" for key, to in value.items())
        case float():
            return f"{value:g}"
    return str(value)
