"""Units as they are written in configuration files: durations and sizes.

Inside the program a duration is always a float of seconds (`…_s`) and a size an int of bytes (`…_bytes`). A spec
declares its field `Seconds` or `Bytes`; the configuration loader reads the unit from the annotation and accepts "30s"
or "32MiB" there. The annotations are plain `float` and `int` at run time, so the hot path pays nothing for them.
"""

import re
from typing import Annotated

from msgspec import Meta

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3,
    "ki": 1024, "kib": 1024, "mi": 1024**2, "mib": 1024**2, "gi": 1024**3, "gib": 1024**3,
}  # fmt: skip
_NUMBER = re.compile(r"-?(?:\d{1,15}\.?\d*|\.\d+)(?:e[+-]?\d{1,2})?")  # not float's own taste: nan, infinity, 1_000
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")

Seconds = Annotated[
    float,
    Meta(
        ge=0,
        extra={"unit": "seconds"},
        extra_json_schema={"type": ["number", "string"], "examples": ["30s", "500ms", "1m30s"]},
    ),
]
Bytes = Annotated[
    int,
    Meta(
        ge=0,
        extra={"unit": "bytes"},
        extra_json_schema={"type": ["integer", "string"], "examples": ["64KiB", "32MiB"]},
    ),
]
Fraction = Annotated[float, Meta(ge=0, le=1)]


def parse_seconds(text: str) -> float:
    """Seconds from "30s", "500ms", "1m30s" or a bare number. Raises ValueError that shows the accepted forms."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    total, at = 0.0, 0
    while at < len(text) or not text:
        part = _PART.match(text, at)
        if part is None or part[2] not in _SECONDS:
            raise ValueError(f"{text!r} is not a duration: write a number of seconds, or like 30s, 500ms, 1m30s")
        total += float(part[1]) * _SECONDS[part[2]]
        at = part.end()
    return total


def parse_bytes(text: str) -> int:
    """Bytes from "64KiB", "32MB" or a bare number. Raises ValueError that shows the accepted forms."""
    part = _PART.fullmatch(text.strip())
    if part is None or part[2].lower() not in _BYTES:
        raise ValueError(f"{text!r} is not a size: write a number of bytes, or like 64KiB, 32MiB, 1GiB")
    return int(float(part[1]) * _BYTES[part[2].lower()])


def show_seconds(value_s: float) -> str:
    """A duration for people: 0.0123 -> "12.3 ms"."""
    if value_s < 0.9995e-3:
        return f"{value_s * 1e6:.0f} µs"
    if value_s < 0.9995:
        return f"{value_s * 1e3:.3g} ms"
    if value_s < 119.5:
        return f"{value_s:.3g} s"
    return f"{value_s / 60:.3g} min" if value_s < 59_970 else f"{value_s / 3600:.3g} h"
