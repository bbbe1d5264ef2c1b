"""Reading segments that another process writes, and several journals as one.

A segment with a later one beside it is not written any more. Of the last one a reader may see a record before it is
whole, or before its write has failed and is repeated: the bytes at a place never change, so half a line is read on
later, and a record may be read twice only where whoever reads it again after a crash would read it too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from penstock.drive.segments import Reader, Record, segments_in


class Following:
    """The segments of a folder, as a `Reader` needs them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.first = max(self._sizes(), default=0) + 1
        """The first segment that was not there yet: what is before it an earlier process has left."""

    @property
    def committed(self) -> tuple[int, int]:
        """The last segment, and how long it is."""
        return max(self._sizes().items(), default=(0, 0))

    @property
    def sealed(self) -> dict[int, int]:
        """The others."""
        sizes = self._sizes()
        sizes.pop(max(sizes, default=0), None)
        return sizes

    @property
    def size_bytes(self) -> int:
        """On disk, not dealt with yet."""
        return sum(self._sizes().values())

    def _sizes(self) -> dict[int, int]:
        sizes: dict[int, int] = {}
        for number, path in segments_in(self.folder):
            try:
                sizes[number] = path.stat().st_size
            except FileNotFoundError:
                continue  # dealt with meanwhile
        return sizes


class Reads(Protocol):
    """What the clerk needs of who reads."""

    @property
    def damaged(self) -> int: ...
    def read(self, most: int, former: bool = False) -> list[Record]: ...
    def done(self) -> None: ...
    def close(self) -> None: ...


class Joined:
    """Several readers as one."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = list(readers)
        self._first = 0
        self._found: list[Record] = []
        """What was read and not given, because a reader after it failed."""

    @property
    def damaged(self) -> int:
        """Lines that were no records."""
        return sum(reader.damaged for reader in self._readers)

    def read(self, most: int, former: bool = False) -> list[Record]:
        """See `Reader.read`. Each gets its turn."""
        found = self._found
        readers = self._readers[self._first :] + self._readers[: self._first]
        for reader in readers:
            if len(found) < most:
                found += reader.read(most - len(found), former)
        self._first = (self._first + 1) % len(self._readers)
        self._found = []
        return found

    def done(self) -> None:
        """See `Reader.done`."""
        for reader in self._readers:
            reader.done()

    def close(self) -> None:
        """Read no more."""
        for reader in self._readers:
            reader.close()
