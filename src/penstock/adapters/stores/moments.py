"""Times as people ask for them: how long ago, or a day."""

from datetime import UTC, datetime

from penstock.base.units import parse_seconds


def moment(text: str, now: float) -> float:
    """Seconds since the epoch of `30d` or `12h` ago, or of the beginning of a day like 2026-01-31 (UTC). Raises
    ValueError."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        pass
    try:
        return max(0.0, now - parse_seconds(text))
    except ValueError:
        raise ValueError(f"{text[:50]!r} is neither like 30d or 12h nor a day like 2026-01-31") from None
