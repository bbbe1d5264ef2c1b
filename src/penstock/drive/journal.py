"""The journal: what a machine was told and what it ordered, turn by turn, from which everything else is read.

A ring in memory, a fan-out to readers (metrics, logs, explain), and a file where one is wanted. It is generic: the file
is written and read with whatever vocabularies the caller names. Facts and orders carry no prompt and no key, so neither
does a journal.

A journal file is JSON lines: a header (an object), then turns (arrays `[now, event, effects]`), and a gap (an object)
where the disk could not keep up. It grows to a bound, then becomes FILE.1 and a new one begins, with its own header.
A process that starts appends: one file may hold several lives, each from a header of part 0 on.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from penstock.drive.pump import raise_bug
from penstock.drive.spool import Spool

Event = TypeVar("Event")
Effect = TypeVar("Effect")

RING: Final = 10_000
"""Turns kept in memory."""

_encode = msgspec.json.Encoder().encode


class Header(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first line of a journal file: what is needed to turn the same machine again."""

    version: str
    """Penstock's."""
    seed: int = 0
    spec: msgspec.Raw = msgspec.Raw(b"null")
    """The machine's specification at that time, as JSON."""
    world: msgspec.Raw = msgspec.Raw(b"null")
    """What the machine was last told of its world as a whole, as JSON: who reads only this part needs it."""
    part: int = 0
    """How many files the process has filled before this one: with 0 the machine is new."""


class Gap(msgspec.Struct, frozen=True, tag=True):
    """So many turns are missing here, because the disk was too slow or full."""

    turns: int


class Turn(msgspec.Struct, Generic[Event, Effect], frozen=True, array_like=True):
    """One turn of a machine."""

    now: float
    event: Event
    effects: list[Effect]


class Place(NamedTuple):
    """Where a line stands."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


def header(version: str, seed: int, spec: object, world: object = None) -> Header:
    """A header for this specification, and for what the machine knows of its world."""
    return Header(version=version, seed=seed, spec=msgspec.Raw(_encode(spec)), world=msgspec.Raw(_encode(world)))


class Journal(Generic[Event, Effect]):
    """The ring and the fan-out. Its `observe` is the pump's observer."""

    __slots__ = ("_append", "_on_bug", "_ring", "observers")

    def __init__(self, capacity: int = RING, on_bug: Callable[[object, Exception], None] = raise_bug) -> None:
        """`on_bug` hears of a reader's exceptions; the default raises them again."""
        self._on_bug = on_bug
        self._ring: deque[tuple[float, Event, list[Effect]]] = deque(maxlen=capacity)
        self._append = self._ring.append
        self.observers: list[Callable[[float, Event, list[Effect]], None]] = []
        """Readers, called with every turn in this order; they must be quick and must not tell facts."""

    def observe(self, now: float, event: Event, effects: list[Effect]) -> None:
        """Take one turn."""
        self._append((now, event, effects))
        for observer in self.observers:
            try:
                observer(now, event, effects)
            except Exception as error:  # a reader's bug must cost neither a call nor another reader
                self._on_bug(self, error)

    def turns(self) -> list[tuple[float, Event, list[Effect]]]:
        """The last turns, oldest first."""
        return list(self._ring)

    def lines(self) -> bytes:
        """The last turns as they would stand in a file: what is compared when two runs must be the same."""
        return b"".join(_encode(turn) + b"\n" for turn in self._ring)


class FileSink:
    """A reader of the journal that keeps it in a file. Serving pays for the encoding only; a thread writes.

    Raises OSError when the file cannot be opened. Later trouble with the disk costs lines, which are counted and told
    in the file by a gap; it never costs calls.
    """

    def __init__(
        self,
        path: Path,
        head: Header,
        max_bytes: int = 256 << 20,
        keep: int = 1,
        pending_bytes: int = 32 << 20,
        interval_s: float = 0.5,
    ) -> None:
        self.head = head
        """Written at the top of each next file: to be replaced when the specification changes."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._missing = 0  # turns that found the spool full
        self._lost = 0  # turns that could not be written
        self._part = 0
        self._file, self._bytes = self._open()
        self._spool: Spool[bytes] = Spool(self._write, pending_bytes, interval_s, len)

    def observe(self, now: float, event: object, effects: list[Any]) -> None:
        """Take one turn."""
        if self._missing:
            if not self._spool.put(_encode(Gap(self._missing)) + b"\n"):
                self._missing += 1
                return
            self._missing = 0
        if not self._spool.put(_encode((now, event, effects)) + b"\n"):
            self._missing += 1

    @property
    def dropped(self) -> int:
        """Turns that are not in the file because the disk could not keep up."""
        return self._spool.dropped

    @property
    def errors(self) -> int:
        """Writes that failed."""
        return self._spool.errors

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all turns so far are handed to the operating system. False: not in time."""
        return self._spool.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left, bounded in time."""
        if self._spool.close(timeout_s):
            self._file.close()

    def _open(self) -> tuple[BinaryIO, int]:
        _cut_torn_line(self._path)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        file = os.fdopen(handle, "ab", buffering=0)
        line = _encode(replace(self.head, part=self._part)) + b"\n"
        file.write(line)
        return file, file.tell()

    def _write(self, lines: list[bytes]) -> None:
        block = b"".join(lines)
        if self._lost:
            block = _encode(Gap(self._lost)) + b"\n" + block
        try:
            if self._file.closed or self._bytes + len(block) > self._max_bytes:
                self._rotate()
            view = memoryview(block)
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            self._lost += len(lines)
            self._take_back()
            raise
        self._bytes += len(block)
        self._lost = 0

    def _take_back(self) -> None:
        """A write may have stopped within a line (a full disk): the file ends with its last whole block again."""
        if not self._file.closed:
            os.ftruncate(self._file.fileno(), self._bytes)

    def _rotate(self) -> None:
        if self._file.closed:
            self._file, self._bytes = self._open()
            return
        self._file.close()
        self._part += 1
        for number in range(self._keep, 0, -1):
            older = _part(self._path, number - 1)
            if older.exists():
                older.replace(_part(self._path, number))
        if self._keep == 0:
            self._path.unlink(missing_ok=True)
        self._file, self._bytes = self._open()


def _part(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


def _cut_torn_line(path: Path) -> None:
    """A process that was killed may leave half a line at the end: cut it off, so that appending starts a line."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return
    with file:
        end = file.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            start = max(0, at - 65536)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            if newline >= 0:
                at = start + newline + 1
                break
            at = start
        if at < end:
            file.truncate(at)


def read_placed(path: Path, event_type: Any, effect_type: Any) -> Iterator[tuple[Place, Header | Gap | Turn[Any, Any]]]:
    """The lines of one journal file with their places; half a line at the very end is left out.

    Raises ValueError with the place of a line that cannot be read, and OSError.
    """
    turns = msgspec.json.Decoder(Turn[event_type, effect_type])
    others: msgspec.json.Decoder[Header | Gap] = msgspec.json.Decoder(Header | Gap)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Place(path, number), turns.decode(line) if line.startswith(b"[") else others.decode(line)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path}: line {number}: {error}") from error


def read(path: Path, event_type: Any, effect_type: Any) -> Iterator[Header | Gap | Turn[Any, Any]]:
    """The same without places."""
    return (row for _, row in read_placed(path, event_type, effect_type))


def parts(path: Path) -> list[Path]:
    """All parts of a journal that has rotated, oldest first."""
    number = 1
    while _part(path, number).exists():
        number += 1
    return [_part(path, part) for part in range(number - 1, -1, -1)]


def read_all(path: Path, event_type: Any, effect_type: Any) -> Iterator[Header | Gap | Turn[Any, Any]]:
    """The lines of all parts, oldest first."""
    for part in parts(path):
        yield from read(part, event_type, effect_type)
