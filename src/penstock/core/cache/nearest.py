"""Which kept question is most similar to another one: vectors by frame, bounded, the last ones kept. Pure arithmetic.

Whether that is similar enough the Gate decides; here is only looked for. Needs numpy, which comes with the extra
`semantic`: nobody imports this file without it.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.core.cache.marks import Marks, differs

Vector = NDArray[np.float32]
MOST_TRIED: Final = 16
"""Candidates that are looked at, the most similar first, until one is found whose marks do not differ."""
_FIRST: Final = 8


def unit(values: Collection[float]) -> Vector | None:
    """A vector of the length 1; None: it has no direction, or is none."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            vector = np.asarray(values, dtype=np.float32)
            length = float(np.linalg.norm(vector))
    except (ValueError, TypeError, OverflowError):
        return None
    if vector.ndim != 1:
        return None
    return vector / np.float32(length) if 0 < length < float("inf") else None


class _Frame:
    """The questions of one frame, in the order in which they came."""

    __slots__ = ("keys", "marks", "rows", "vectors")

    def __init__(self, dimensions: int) -> None:
        self.vectors = np.empty((_FIRST, dimensions), dtype=np.float32)
        self.keys: list[str] = []
        """By row."""
        self.marks: list[Marks | None] = []
        self.rows: dict[str, int] = {}
        """Key -> row, the oldest first."""

    def add(self, key: str, vector: Vector, marks: Marks | None) -> None:
        row = len(self.keys)
        if row == len(self.vectors):
            self.vectors = np.concatenate((self.vectors, np.empty_like(self.vectors)))
        self.vectors[row] = vector
        self.keys.append(key)
        self.marks.append(marks)
        self.rows[key] = row

    def remove(self, key: str) -> None:
        """Its place is taken by the last one."""
        row, last = self.rows.pop(key), len(self.keys) - 1
        if row != last:
            self.vectors[row] = self.vectors[last]
            self.keys[row], self.marks[row] = self.keys[last], self.marks[last]
            self.rows[self.keys[row]] = row
        self.keys.pop()
        self.marks.pop()


class Nearest:
    """The kept questions."""

    __slots__ = ("_compared", "_frames", "_of")

    def __init__(self, compared: int) -> None:
        """So many of a frame at most."""
        self._compared = compared
        self._frames: dict[str, _Frame] = {}
        self._of: dict[str, str] = {}
        """Key -> its frame."""

    def __len__(self) -> int:
        return len(self._of)

    def add(self, key: str, frame: str, vector: Vector, marks: Marks | None = None) -> None:
        """Keep a question; of its frame the oldest goes where there are too many."""
        self.drop((key,))
        rows = self._frames.get(frame)
        if rows is not None and rows.vectors.shape[1] != len(vector):  # another model: it cannot be compared
            self.drop(tuple(rows.keys))
            rows = None
        if rows is None:
            rows = self._frames[frame] = _Frame(len(vector))
        elif len(rows.keys) >= self._compared:
            self.drop((next(iter(rows.rows)),))
            rows = self._frames.setdefault(frame, rows)
        rows.add(key, vector, marks)
        self._of[key] = frame

    def drop(self, keys: tuple[str, ...]) -> None:
        """Let go of these."""
        for key in keys:
            frame = self._of.pop(key, None)
            if frame is not None:
                self._frames[frame].remove(key)
                if not self._frames[frame].keys:
                    del self._frames[frame]

    def find(self, frame: str, vector: Vector, marks: Marks | None = None) -> tuple[str, float]:
        """The most similar one and its cosine; where there are marks, among those that do not differ in them. An empty
        key: there is none."""
        rows = self._frames.get(frame)
        if rows is None or rows.vectors.shape[1] != len(vector):
            return "", 0.0
        found = rows.vectors[: len(rows.keys)] @ vector
        for _ in range(min(MOST_TRIED, len(found))):
            row = int(found.argmax())
            known = rows.marks[row]
            if marks is None or known is None or not differs(known, marks):
                return rows.keys[row], min(1.0, float(found[row]))
            found[row] = -2.0
        return "", 0.0
