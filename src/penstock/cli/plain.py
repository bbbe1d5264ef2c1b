"""What commands print for people: a console without mark-up, and what a gateway says turned into our own structs."""

import sys
from typing import TypeVar

import msgspec
from rich.console import Console

from penstock.cli.admin import AdminError

PLAIN_WIDTH = 160
WIDE_WIDTH = 200

Said = TypeVar("Said")


def plain_console(width: int = PLAIN_WIDTH) -> Console:
    """Mark-up is off, as a model may be called [bold]; no colours of ours, so that a pipe reads what a person reads.
    `width` holds where nobody's terminal does."""
    return Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else width)


def understood(found: object, kind: type[Said]) -> Said:
    """The admin API's JSON as the struct that it was made from. Raises AdminError where another version speaks."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as wrong:
        text = f"the gateway says it in a form that this version does not know ({wrong}); --json shows it"
        raise AdminError(text) from None
