"""A notice, and the ways to write one: lines of a file, and the JSON of AWS's instance metadata."""

import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from penstock.base.errors import ConfigError

EVERYBODY = "*"
"""Instead of a replica's name: all spot replicas of the pool."""
MOST_LINES = 10_000


class Notice(Struct, frozen=True):
    """Somebody is taken back."""

    unit: str
    """Which replica; EVERYBODY: all of the pool's that are spot."""
    at: float | None
    """When, in seconds since 1970; None: it does not say."""


class _Action(Struct, frozen=True):
    """AWS's `spot/instance-action`. Source: Amazon EC2 user guide, Spot Instance interruption notices."""

    action: Literal["stop", "terminate", "hibernate"]
    time: str


class Posted(Struct, frozen=True, forbid_unknown_fields=True):
    """A notice as the admin API takes it; neither of the two times: the pool's `spot.notice`."""

    unit: Annotated[str, Meta(min_length=1, max_length=512)]
    time: str | None = None
    within_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None


def posted(raw: object, wall: float) -> tuple[str, float | None]:
    """A notice as somebody posts it (decoded JSON): whom it is about, and in how many seconds he is gone, if it says
    so. Raises ConfigError."""
    try:
        told = msgspec.convert(raw, Posted)
        if told.time is not None and told.within_s is not None:
            raise ValueError("found `time` and `within_s`, expected one of the two at most")
        at = None if told.time is None else unix_time(told.time)
    except ValueError as wrong:  # a ValidationError is one
        raise ConfigError([f"the notice: {wrong}"]) from None
    return told.unit, told.within_s if at is None else max(0.0, at - wall)


def unix_time(text: str) -> float:
    """Of a time like 2026-11-25T17:00:00Z; without a zone it is UTC. Raises ValueError."""
    found = datetime.datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    return found.timestamp()


def in_lines(text: str) -> list[Notice]:
    """One notice a line: a replica's name or *, and a time if it is known. Empty lines and what is behind # count for
    nothing. Raises ValueError that says which line is wrong."""
    found: list[Notice] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if number > MOST_LINES:
            raise ValueError(f"more than {MOST_LINES:,} lines")
        try:
            # a pool's name may have spaces in it, and so may its replicas'
            at = unix_time(words[-1]) if len(words) > 1 else None
        except ValueError:
            at = None
        name = " ".join(words if at is None else words[:-1])
        if at is None and len(words) > 1 and words[-1][:1].isdigit():
            raise ValueError(f"line {number}: {words[-1][:50]!r} is no time like 2026-11-25T17:00:00Z")
        found.append(Notice(name, at))
    return found


def of_metadata(body: bytes) -> Notice:
    """What the page `spot/instance-action` says: of the machine, so of everybody. Raises ValueError."""
    try:
        told = msgspec.json.decode(body, type=_Action)
    except msgspec.DecodeError as wrong:
        raise ValueError(f"not a page like spot/instance-action: {wrong}") from None
    return Notice(EVERYBODY, unix_time(told.time))
