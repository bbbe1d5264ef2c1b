"""What was asked of a pool, on disk: one JSON file beside the pool's other state, replaced as a whole, some 30 KB.

It is written by a thread now and then, and read at a start. Whoever loses it forecasts nothing for a while, no more.
"""

from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from penstock.adapters.actuators.written import written
from penstock.core.scale.history import Past

NAME = "demand.json"


def file_of(directory: str, pool: str) -> Path:
    """Where a pool's stands."""
    return Path(directory).absolute() / quote(pool, safe="") / NAME


def keep(path: Path, past: Past) -> None:
    """Write it down. Raises OSError, and then what was there before is there still."""
    written(path, msgspec.json.encode(replace(past, calls=_short(past.calls), rates=_short(past.rates))))


def kept(path: Path) -> Past | None:
    """What was written down; None: nothing. Raises OSError where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Past)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as wrong:
        raise OSError(f"{path} cannot be read ({wrong})") from None


def _short(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
    """Four digits are more than anybody knows."""
    return tuple(None if value is None else float(f"{value:.4g}") for value in values)
