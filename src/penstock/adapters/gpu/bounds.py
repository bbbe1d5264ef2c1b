"""Which numbers of a GPU can be true, in units of one: whatever cannot is None.

Sources mark what they do not know by words ([N/A]) or by numbers no device has (DCGM's blanks: 2147483632 and up,
140737488355328, 9223372036854775792 and up; dcgm_structs.h): bounds find the second kind, and broken sensors too.
"""

MAX_BYTES = 1 << 44
"""16 TiB; the largest device has less than half a TiB."""
MAX_W = 20_000.0
MIN_C, MAX_C = -60.0, 200.0

MIB = 1 << 20


def percent(value: float | None) -> float | None:
    """A share 0..1 from 0..100."""
    return value / 100 if value is not None and 0 <= value <= 100 else None


def mebibytes(value: float | None) -> int | None:
    """Bytes from MiB."""
    return nbytes(value * MIB) if value is not None else None


def nbytes(value: float | None) -> int | None:
    """Bytes."""
    return int(value) if value is not None and 0 <= value <= MAX_BYTES else None


def celsius(value: float | None) -> float | None:
    """A temperature in °C."""
    return float(value) if value is not None and MIN_C <= value <= MAX_C else None


def watts(value: float | None) -> float | None:
    """A power in W."""
    return float(value) if value is not None and 0 <= value <= MAX_W else None
