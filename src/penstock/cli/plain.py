"""What commands print for people: a console without mark-up, and what a gateway says turned into our own structs."""

import os
import sys
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from penstock.cli.admin import AdminError

PLAIN_WIDTH = 100
WIDE_WIDTH = 200
_NOTHING = ("", "-")
_LEAST = 6
"""Columns are not broken into smaller pieces, as long as that is enough."""

Said = TypeVar("Said")


class Plain(Console):
    """Tables that are too wide for it are made narrower without cutting anything off."""

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich's."""
        super().print(*(fitted(one, self) if isinstance(one, Table) else one for one in objects), **settings)


def plain_console(width: int = PLAIN_WIDTH) -> Console:
    """Mark-up is off, as a model may be called [bold]; no colours of ours, so that a pipe reads what a person reads.
    `width` holds where nobody's terminal does."""
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and int(columns) > 0 else width
    return Plain(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else width)


def fitted(table: Table, console: Console) -> Table:
    """The table, where it is wider than the console: columns that say nothing go, the space between columns shrinks,
    and then texts are broken at their spaces, the widest first. Where that is not enough, so are their longest words,
    and last the numbers: nothing is cut off."""
    if _natural(table) <= console.width:
        return table
    table.collapse_padding, table.padding = False, (0, 1, 0, 0)
    kept = [column for column in table.columns if not all(_plain(cell) in _NOTHING for cell in column.cells)]
    if len(kept) > 1:
        table.columns = [replace(column, _index=at) for at, column in enumerate(kept)]
    widths = [_widest(column) for column in table.columns]
    over = sum(widths) + _between(table) - console.width
    for least in (_unbroken, _folded, lambda column: 1):
        floors = [least(column) for column in table.columns]
        while over > 0 and any(width > floor for width, floor in zip(widths, floors, strict=True)):
            widths[max((width, at) for at, width in enumerate(widths) if width > floors[at])[1]] -= 1
            over -= 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width, column.overflow = width, "fold"
    return table


def _natural(table: Table) -> int:
    return sum(_widest(column) for column in table.columns) + _between(table)


def _between(table: Table) -> int:
    """What lies between the columns of such tables and around them."""
    around = table.padding[1] + table.padding[3]
    inner = len(table.columns) - 1
    lines = 0 if table.box is None else inner + 2
    return inner * (1 if table.collapse_padding else around) + (around if table.pad_edge else 0) + lines


def _widest(column: Column) -> int:
    return max(cell_len(line) for text in _texts(column) for line in text.split("\n"))


def _unbroken(column: Column) -> int:
    """What it needs where texts are broken at spaces only, and numbers stay with their units."""
    numbers = map(_plain, column.cells) if column.justify == "right" else ()
    words = (word for text in _texts(column) for word in text.split())
    return max(map(cell_len, (*numbers, *words)), default=1)


def _folded(column: Column) -> int:
    """What it needs where words of its texts, but for its name, are broken as well."""
    words = map(cell_len, _plain(column.header).split())
    return _unbroken(column) if column.justify == "right" else max(_LEAST, *words, 0)


def _texts(column: Column) -> list[str]:
    return [_plain(column.header), *map(_plain, column.cells)]


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def understood(found: object, kind: type[Said]) -> Said:
    """The admin API's JSON as the struct that it was made from. Raises AdminError where another version speaks."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as wrong:
        text = f"the gateway says it in a form that this version does not know ({wrong}); --json shows it"
        raise AdminError(text) from None
