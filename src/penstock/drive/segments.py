"""Segments: a journal of records on disk that outlives the process, until a reader has dealt with each of them.

One side appends, on the path of calls: records wait for the end of a turn and then go out in one write, so a process
that is killed loses nothing of a turn that was committed. The other side reads, in a thread of its own, as far as was
committed, and removes a segment once all of it is dealt with elsewhere. What an earlier process left is read first.

A record is one line: eight hex digits of its CRC-32, a space, a letter for its kind, its bytes (no line feed), a line
feed. A line that is not whole or not right is never taken for a record. Everything is bounded: segments, all of them
together, and what waits in memory while the disk takes nothing; beyond that, records are lost and counted.
"""

import fcntl
import logging
import os
import time
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from zlib import crc32

log = logging.getLogger("penstock.ledger")

RETRY_S: Final = 0.5
"""How long after a failed write the next is tried."""
MOST_WAITING_BYTES: Final = 64 << 20
"""What waits in memory while the disk takes nothing."""
READ_BYTES: Final = 1 << 20
_SUFFIX: Final = ".log"
_DAMAGED: Final = ".damaged"


class Record(NamedTuple):
    """One record."""

    kind: bytes
    """One letter."""
    payload: bytes


def framed(kind: bytes, payload: bytes) -> bytes:
    """A record as it stands in a segment."""
    return b"%08x %b%b\n" % (crc32(payload, crc32(kind)), kind, payload)


def unframed(line: bytes) -> Record | None:
    """The record of a line without its line feed; None: it is damaged."""
    record = line[9:]
    try:
        right = int(line[:8], 16) == crc32(record)
    except ValueError:
        return None
    return Record(record[:1], record[1:]) if right and record and line[8:9] == b" " else None


class Segments:
    """The side that appends. Raises OSError where the folder cannot be had, or another process has it."""

    def __init__(
        self, folder: Path, segment_bytes: int = 4 << 20, max_bytes: int = 4 << 30, fsync: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._lock = _locked(folder)
        self.sealed = {number: path.stat().st_size for number, path in segments_in(folder)}
        """Segments that nothing more is written to -> their bytes. A reader takes out those that it has removed."""
        kept = [number for number, _ in segments_in(folder, _DAMAGED)]
        self._number = max([*self.sealed, *kept], default=0)
        self._file = -1
        self._bytes = 0
        self.first = self._number + 1
        """The first segment that is this process's own: what is before it an earlier one has left."""
        self.committed = (0, 0)
        """Segment and bytes of it up to which a reader may read."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._retry_at = 0.0
        self.lost = 0
        """Records that are nowhere, because neither disk nor memory had room."""
        self.errors = 0
        """Writes that failed."""
        self.failing = ""
        """Why the last write failed; empty: it did not."""
        try:
            self._begin_segment()
        except OSError:
            self.close()
            raise

    @property
    def size_bytes(self) -> int:
        """On disk, not dealt with yet."""
        return sum(list(self.sealed.values())) + self._bytes

    @property
    def waiting(self) -> int:
        """Records that are not on disk yet."""
        return len(self._waiting)

    def put(self, kind: bytes, payload: bytes) -> bool:
        """Take a record, to be written with the next commit. False: there is no room, it is lost."""
        line = framed(kind, payload)
        if self._waiting_bytes + len(line) > MOST_WAITING_BYTES:
            self.lost += 1
            return False
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        return True

    def commit(self) -> bool:
        """Write what waits. Afterwards it survives the end of this process, and with `fsync` the machine's. False: the
        disk takes nothing; it waits in memory, and the next commit tries again."""
        if not self._waiting:
            return True
        if self.failing and time.monotonic() < self._retry_at:
            return False
        block = b"".join(self._waiting)
        try:
            if self._file < 0 or self._bytes >= self._segment_bytes:
                self._begin_segment()
            self._write(block)
        except OSError as error:
            self._trouble(error)
            return False
        if self.failing:
            log.warning("the ledger's journal is written again")
            self.failing = ""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._bytes += len(block)
        self.committed = (self._number, self._bytes)
        return True

    def _write(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            view = view[os.write(self._file, view) :]
        if self._fsync:
            os.fdatasync(self._file)

    def _trouble(self, error: OSError) -> None:
        self.errors += 1
        self._retry_at = time.monotonic() + RETRY_S
        if not self.failing:
            log.error("the ledger's journal cannot be written, calls are remembered in memory: %s", error)
        self.failing = str(error)
        if self._file >= 0 and os.fstat(self._file).st_size != self._bytes:
            try:
                os.ftruncate(self._file, self._bytes)  # a write may have stopped within a line
            except OSError:
                self._seal()

    def _begin_segment(self) -> None:
        self._seal()
        for number in list(self.sealed):  # whoever reads may be another process
            if not path_of(self.folder, number).exists():
                self.sealed.pop(number, None)
        # a reader deals with a segment once there is a later one: however small the bound is, that one may begin
        if len(self.sealed) > 1 and self.size_bytes > self._max_bytes:
            raise OSError(f"the journal has reached its bound of {self._max_bytes:,} bytes")
        self._number += 1
        path = path_of(self.folder, self._number)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._bytes = 0
        self.committed = (self._number, 0)
        if self._fsync:
            _sync_folder(self.folder)

    def _seal(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self.sealed[self._number] = self._bytes
            self._bytes = 0

    def close(self) -> None:
        """Write what waits, let go of the folder."""
        if self._lock >= 0:
            self.commit()
            if self._file >= 0:
                os.close(self._file)
            os.close(self._lock)
            self._file = self._lock = -1


class Written(Protocol):
    """What a reader needs to know of the side that appends."""

    @property
    def folder(self) -> Path: ...
    @property
    def first(self) -> int: ...
    @property
    def committed(self) -> tuple[int, int]: ...
    @property
    def sealed(self) -> dict[int, int]: ...


class Reader:
    """The side that reads. Of one thread."""

    def __init__(self, segments: Written) -> None:
        self._segments = segments
        self._number = 0
        self._file = -1
        self._at = 0
        self._rest = b""
        self._records: list[Record] = []
        self._taken = self._given = 0
        self._finished: list[tuple[int, int]] = []
        """Segments that were read to their end, and how many records there had been by then."""
        self._damaged: dict[int, int] = {}
        self.damaged = 0
        """Lines that were no records."""

    def read(self, most: int, former: bool = False) -> list[Record]:
        """The next records, at most so many; empty: there are none yet. `former`: only what earlier processes have
        left. What was read before counts as dealt with only when `done` says so. Raises OSError."""
        while len(self._records) < most and self._read_on(former):
            pass
        found, self._records = self._records[:most], self._records[most:]
        self._given += len(found)
        return found

    def _read_on(self, former: bool) -> bool:
        """Read a piece; False: there is nothing more."""
        if self._file < 0 and not self._open_next(former):
            return False
        number, committed = self._segments.committed
        end = committed if number == self._number else self._segments.sealed.get(self._number, committed)
        data = os.pread(self._file, min(READ_BYTES, end - self._at), self._at) if end > self._at else b""
        if data:
            self._take(data)
        elif self._number < number:
            self._finish()
        else:
            return False
        return True

    def _take(self, data: bytes) -> None:
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        records = [record for record in map(unframed, lines) if record is not None]
        self._records += records
        self._taken += len(records)
        if damaged := len(lines) - len(records):
            self.damaged += damaged
            self._damaged[self._number] = self._damaged.get(self._number, 0) + damaged

    def _open_next(self, former: bool) -> bool:
        current = self._segments.committed[0]
        later = [number for number in [*self._segments.sealed, current] if number > self._number]
        if not later or (former and min(later) >= self._segments.first):
            return False
        number = min(later)
        try:
            self._file = os.open(path_of(self._segments.folder, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._number = number  # it will not come back: the next try is at the one behind it
            raise
        self._number, self._at = number, 0
        return True

    def _finish(self) -> None:
        os.close(self._file)
        self._file = -1
        self._rest = b""  # half a line of a process that ended within a write
        self._finished.append((self._number, self._taken))

    def done(self) -> None:
        """All that `read` gave is dealt with: segments of which nothing is left are removed. Raises OSError."""
        while self._finished and self._finished[0][1] <= self._given:
            number = self._finished[0][0]
            path = path_of(self._segments.folder, number)
            if damaged := self._damaged.pop(number, 0):
                log.error("%s: %d lines are damaged, and are missing in the ledger; the file is kept", path, damaged)
                path.replace(path.with_suffix(_DAMAGED))
            else:
                path.unlink(missing_ok=True)
            self._segments.sealed.pop(number, None)
            self._finished.pop(0)

    def close(self) -> None:
        """Read no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def path_of(folder: Path, number: int) -> Path:
    """A segment's file."""
    return folder / f"{number:012d}{_SUFFIX}"


def segments_in(folder: Path, suffix: str = _SUFFIX) -> list[tuple[int, Path]]:
    """The segments of a folder, oldest first."""
    found = [path for path in folder.glob(f"*{suffix}") if path.stem.isascii() and path.stem.isdigit()]
    return sorted((int(path.stem), path) for path in found)


def _locked(folder: Path) -> int:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise OSError(error.errno, f"{folder}: another process writes its ledger there") from None
    return handle


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
