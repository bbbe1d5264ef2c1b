"""What goes into the ledger's journal (how calls ended, what was spent beside them, what the fleet was), and what is
read from it at a start."""

from typing import Final

from msgspec import Struct

from penstock.base.nouns import CallRow, Purchase

CALL: Final = b"c"
OVERHEAD: Final = b"o"
UPKEEP: Final = b"u"
"""Kinds of records, a letter each."""


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """One call. Its id is the only one of its kind, in this process and any other."""

    row: CallRow
    region: str = ""
    """Where its replica stands."""


class Overhead(Struct, frozen=True, array_like=True, gc=False):
    """An attempt that cost an engine something, and its tenant nothing: it failed, or lost against another."""

    call: str
    attempt: int
    at: float
    """When it was sent."""
    seconds: float
    """Until it failed or was stopped."""
    tenant: str
    key: str
    model: str
    """As the client named it."""
    pool: str
    replica: str
    region: str
    what: str
    """The label of its failure; hedge_lost; left: its client did, and it was not the one that is billed."""


class Kept(Struct, frozen=True, array_like=True, gc=False):
    """One replica that was kept for a while, and what that cost."""

    replica: str
    pool: str
    region: str
    purchase: Purchase
    hourly_cost: float


class Used(Struct, frozen=True, array_like=True, gc=False):
    """What somebody had used of his limits before this process began."""

    tenant: str
    key: str
    model: str
    """As the client named it."""
    at: float
    requests: int = 0
    tokens: int = 0
    """Of a quarter of an hour that ends then."""
    day: int = 0
    month: int = 0
    """Money, in billionths, since that day or month (UTC) began."""


class Upkeep(Struct, frozen=True, array_like=True):
    """The fleet of one gateway in one span of time."""

    id: str
    at: float
    """When the span began."""
    seconds: float
    kept: tuple[Kept, ...]
