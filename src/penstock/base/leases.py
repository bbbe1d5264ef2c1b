"""What a gateway and the store of shared limits say to each other.

A gateway spends amounts of requests, tokens and money that the store has granted it: its lease. What it claims is told
as a whole every time, only what was used is told in steps; a message that is told twice, or comes too late, does no
harm (see `core.limits.book`).
"""

from msgspec import Struct

AccountKey = tuple[str, str, str]
"""tenant, key or everybody; its name; the one model that its limits are for, or nothing."""


class Want(Struct, frozen=True, array_like=True):
    """What a gateway says of one limit of an account."""

    what: str
    """The limit, as "tokens per minute", "budget per day" (in billionths) or "calls at once"."""
    limit: int
    used: tuple[tuple[int, int], ...] = ()
    """Which stretch of time, and how much was used in it that was not told before; less than none where it is taken
    back."""
    kept: int = 0
    """What it holds for calls in flight, and what it has used and not told yet."""
    least: int = 0
    """The least of what calls that wait for it need; 0: none waits."""
    due: int = 0
    """What all that wait need."""
    ahead: int = 0
    """What it would like to have beside that, so that calls to come need not wait."""


class Ask(Struct, frozen=True, array_like=True):
    """What it says of an account."""

    account: AccountKey
    batch: int
    """The number of the message in which this `used` was told first: it counts once."""
    wants: tuple[Want, ...]


class Question(Struct, frozen=True, array_like=True):
    """A message to the store."""

    peer: str
    """Which process asks: a name that no other ever has."""
    number: int
    """Of its messages; the store forgets those that are overtaken."""
    lasts_s: float
    """How long what is granted may be used without asking again."""
    asks: tuple[Ask, ...]


class Grant(Struct, frozen=True, array_like=True, gc=False):
    """How one limit stands."""

    what: str
    granted: int
    """What the asking process now has of it in all, with what it keeps for calls in flight."""
    used: int
    """Taken by everybody: used in the window that ends now, and granted."""
    held: int
    """The part of it that is granted, to anybody, and may be given back."""
    fits_s: float
    """Until the least that was asked for fits if nobody gives anything back; 0: it was granted."""
    free_s: float
    """Until all of the limit is there again if nothing more is used."""


class Answer(Struct, frozen=True, array_like=True):
    """How an account stands."""

    account: AccountKey
    epoch: float
    """When the store began to know this account: another one means that it has forgotten what it was told."""
    grants: tuple[Grant, ...]


class Reply(Struct, frozen=True, array_like=True):
    """The store's answer."""

    now: float
    """Its clock: stretches of time are counted by it."""
    answers: tuple[Answer, ...]
