"""What a process has spent of shared limits, on a sheet that outlives it: memory that it shares with a file.

A number that is written to mapped memory stands there when its process is killed the next instant: the pages are the
kernel's. So another process of this machine can read what a dead one had spent to the last call, for a tenth of a
microsecond a call. (When the machine dies both do.) Rows have names, in a second file; a name is there before its row
is used.
"""

import mmap
import os
from pathlib import Path
from typing import Final

import msgspec

from penstock.base.leases import AccountKey

ROWS: Final = 1 << 16
"""Limits of accounts; what is spent of others is not noted. The file has holes: a page is taken when it is used."""
_BYTES: Final = 8
_names = msgspec.json.Decoder(tuple[AccountKey, str])


class LeaseSheet:
    """A process' own."""

    def __init__(self, path: str, rows: int = ROWS) -> None:
        """Raises OSError where there can be none."""
        self._rows = rows
        self._known: dict[tuple[AccountKey, str], int] = {}
        self._names = _names_of(path)
        cells = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(cells, rows * _BYTES)
            memory = mmap.mmap(cells, rows * _BYTES)
        finally:
            os.close(cells)
        Path(self._names).write_bytes(b"")
        self._cells = memoryview(memory).cast("q")

    def open(self, account: AccountKey, what: str) -> int:
        """See `Sheet`."""
        name = account, what
        row = self._known.get(name)
        if row is None:
            if len(self._known) >= self._rows:
                return -1
            with Path(self._names).open("ab") as names:  # seldom: once for each limit of an account
                names.write(msgspec.json.encode(name) + b"\n")
            row = self._known[name] = len(self._known)
        return row

    def add(self, row: int, amount: int) -> None:
        """See `Sheet`."""
        self._cells[row] += amount


def spent_on(path: str) -> dict[tuple[AccountKey, str], int]:
    """What stands on a sheet, by account and limit; nothing where there is none."""
    try:
        lines = Path(_names_of(path)).read_bytes().split(b"\n")[:-1]  # what follows the last is no whole name
        cells = memoryview(Path(path).read_bytes()).cast("q")
    except OSError:
        return {}
    return {_names.decode(line): cells[row] for row, line in enumerate(lines)}


def remove_sheet(path: str) -> None:
    """It has been read."""
    Path(path).unlink(missing_ok=True)
    Path(_names_of(path)).unlink(missing_ok=True)


def _names_of(path: str) -> str:
    return f"{path}.names"
