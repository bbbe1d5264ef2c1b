"""What a pool has spent, on disk: one JSON file beside what its actuator must not forget, replaced as a whole."""

import threading
from pathlib import Path
from urllib.parse import quote

import msgspec

from penstock.adapters.actuators.written import written
from penstock.core.scale.budget import Purse

NAME = "spent.json"


class PurseFile:
    """One pool's."""

    def __init__(self, directory: str, pool: str) -> None:
        self.path = Path(directory).absolute() / quote(pool, safe="") / NAME
        self._lock = threading.Lock()

    def read(self) -> Purse | None:
        """What was kept; None: nothing. Raises OSError where it cannot be read: to begin with nothing spent would be to
        spend it twice."""
        try:
            purse = msgspec.json.decode(self.path.read_bytes(), type=Purse)
            months = [int(month) for month in purse.spent]
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, ValueError) as wrong:
            text = f"{self.path} cannot be read ({wrong}): it says what was spent this month; mend it, or remove it"
            raise OSError(text) from None
        return purse if months else None

    def write(self, purse: Purse) -> None:
        """Keep it. Raises OSError, and then what was kept before is still there. Writes wait for each other, so that a
        disk that is slow does not mix two of them up."""
        with self._lock:
            written(self.path, msgspec.json.format(msgspec.json.encode(purse), indent=1))
