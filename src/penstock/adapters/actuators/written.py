"""Files that are replaced as a whole: whoever reads one finds what was written last, or what was there before it."""

import os
from pathlib import Path


def written(path: Path, data: bytes) -> None:
    """Replace a file. Raises OSError, and then what was there before is there still, also after a loss of power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    other = path.with_suffix(".new")
    with other.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    other.replace(path)
