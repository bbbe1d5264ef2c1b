"""What a pool must not forget, on disk: one JSON file a part, beside what its actuator must not forget, each replaced
as a whole. What was spent is a few bytes; what was asked some 30 KB.
"""

import threading
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from penstock.adapters.actuators.written import written
from penstock.core.scale.budget import Purse
from penstock.core.scale.history import Past
from penstock.core.scale.words import Part

NAMES: dict[type[Part], str] = {Purse: "spent.json", Past: "demand.json"}
SO = {Purse: ": it says what was spent this month; mend it, or remove it", Past: ""}
"""What to do about one that cannot be read."""

Kind = TypeVar("Kind", Purse, Past)


class MemoryFiles:
    """One pool's."""

    def __init__(self, directory: str, pool: str) -> None:
        self.folder = Path(directory).absolute() / quote(pool, safe="")
        self._lock = threading.Lock()

    def path(self, kind: type[Part]) -> Path:
        """Where a part stands."""
        return self.folder / NAMES[kind]

    def read(self, kind: type[Kind]) -> Kind | None:
        """What was written down; None: nothing. Raises OSError where it cannot be read."""
        path = self.path(kind)
        try:
            part: Part = msgspec.json.decode(path.read_bytes(), type=kind)
            if isinstance(part, Purse) and not [int(month) for month in part.spent]:
                return None
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, ValueError) as wrong:
            raise OSError(f"{path} cannot be read ({wrong}){SO[kind]}") from None
        assert isinstance(part, kind)
        return part

    def write(self, part: Part) -> None:
        """Write it down. Raises OSError, and then what was there before is there still. Writes wait for each other, so
        that a disk that is slow does not mix two of them up."""
        with self._lock:
            written(self.path(type(part)), msgspec.json.encode(_shortened(part)))


def _shortened(part: Part) -> Part:
    """Of what was asked four digits are more than anybody knows; money is written to the last cent."""
    if isinstance(part, Purse):
        return part
    return replace(part, calls=_short(part.calls), rates=_short(part.rates))


def _short(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
    return tuple(None if value is None else float(f"{value:.4g}") for value in values)
