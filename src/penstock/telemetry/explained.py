"""What an explanation consists of, as the admin API shows it and `penstock explain` reads it."""

from typing import Any, Literal

from msgspec import Struct, field

from penstock.base.nouns import Usage
from penstock.core.profile import Profile

Unexplained = Literal["off", "forgotten", "unknown"]
"""Why nobody knows of a call: it is not asked for, it is too long ago, or there was none."""


class Weight(Struct, frozen=True):
    """A scorer and what it counts."""

    name: str
    weight: float


class Candidate(Struct, frozen=True, kw_only=True):
    """One replica that could have had the call."""

    replica: str
    chosen: bool
    total: float | None
    """The weighted sum; None: nothing was scored."""
    scores: dict[str, float]


class LeftOut(Struct, frozen=True):
    """One replica that could not have it."""

    replica: str
    reason: str


class Choice(Struct, frozen=True, kw_only=True):
    """Why an attempt went where it went."""

    attempt: int
    at_s: float
    """After the arrival."""
    replica: str
    pool: str
    model: str
    strategy: str
    how: str
    picker: str
    scorers: list[Weight]
    candidates: list[Candidate]
    """The best first, where they were scored."""
    tied: int
    """So many shared the highest score; the picker decided between them."""
    usable: int
    left_out: list[LeftOut]
    left_out_count: int
    note: list[str | float]
    doubt: str = ""
    """Why the replica is not well, where it was asked because its pool panics."""


class Moment(Struct, frozen=True, kw_only=True):
    """One step of the call's way."""

    at_s: float
    what: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)


class Short(Struct, frozen=True, kw_only=True):
    """A call in a list."""

    id: str
    client_id: str
    at: float
    model: str
    tenant: str
    pool: str
    replica: str
    outcome: str
    status: int
    attempts: int
    queue_s: float
    ttft_s: float | None
    latency_s: float


class Explanation(Struct, frozen=True, kw_only=True):
    """Everything that is remembered of a call."""

    id: str
    client_id: str
    over: bool
    at: float
    tenant: str
    model: str
    path: str
    pool: str
    replica: str
    outcome: str
    status: int
    attempts: int
    queue_s: float
    ttft_s: float | None
    latency_s: float
    usage: Usage | None
    profile: Profile
    summary: str
    """In plain words."""
    timeline: list[Moment]
    choices: list[Choice]
