"""Facts: everything the Gate can be told. Past tense, complete, closed.

Told by whoever performs its orders: the gateway with sockets, the kernel with Batchers. Bytes are relayed outside, so
there is no fact per token. For every attempt that was sent, exactly one of Ended or Failed follows, unless the Gate
cancelled it or the client left. Of one call two attempts may be under way, until the first of them begins. An answer
that is not from an attempt of its call's own (see Answer) is told of as attempt 0.
"""

from msgspec import UNSET, Struct, UnsetType

from penstock.base.entries import Used
from penstock.base.errors import Label
from penstock.base.leases import Answer
from penstock.base.nouns import Call, EngineStats, GpuReading, Replica, Usage
from penstock.core.spec import GateSpec


class Arrived(Struct, frozen=True, tag=True, gc=False, omit_defaults=True):
    """A whole, valid, authenticated request is here."""

    call: Call
    alike: str = ""
    """A digest of all that requests must have in common to go to an engine as one; empty: it goes alone."""
    client: str = ""
    """A digest of who sends it, where a plain rate is asked for and no key tells; empty: the key does, or nobody
    asks."""


class Began(Struct, frozen=True, tag=True, gc=False):
    """The first *content* byte of an attempt's answer is here and goes to the client: from now on no other attempt."""

    id: str
    attempt: int


class Ended(Struct, frozen=True, tag=True, gc=False):
    """An attempt's answer is complete and was relayed; a client's mistake that the engine found (4xx) is an answer.

    Where the whole answer came at once there is no Began before it: it began with its end."""

    id: str
    attempt: int
    status: int
    usage: Usage | None = None
    relayed_tokens: int = 0
    kept_bytes: int | UnsetType = UNSET
    """The bytes of the whole answer, which can be kept; unset: it cannot, or nobody asked (see Send)."""


class Failed(Struct, frozen=True, tag=True, gc=False):
    """An attempt ended otherwise. Whether the client has seen bytes of it, the Gate knows from Began."""

    id: str
    attempt: int
    label: Label
    status: int = 0
    """The upstream's HTTP status, where there was one."""
    retry_after_s: float | None = None
    relayed_tokens: int = 0


class ClientGone(Struct, frozen=True, tag=True, gc=False):
    """The client closed before its answer was complete; in any state of the call."""

    id: str
    relayed_tokens: int = 0


class Found(Struct, frozen=True, gc=False):
    """An answer that gateways share, as far as decisions need it."""

    size: int
    age_s: float
    left_s: float
    """How long it may still be given."""
    tags: tuple[str, ...] = ()
    mark: int | UnsetType = UNSET
    """Another worker had it, which had heard of so many Invalidated; unset: it comes from the store."""


class LookedUp(Struct, frozen=True, tag=True, gc=False):
    """The answer to a LookUp: other workers, and what gateways share, were asked, within a bounded time."""

    id: str
    found: Found | None = None
    """None: there is nothing, or nobody answered in time."""
    leader: str | UnsetType = UNSET
    """The call of another worker that runs, and whose answer this one can have; unset: there is none."""
    mark: int | UnsetType = UNSET
    """That worker had heard of so many Invalidated."""


class Wanted(Struct, frozen=True, tag=True, gc=False):
    """Another worker has calls that want the answer of this key, and asks by this name. Answered in this turn by
    Hand."""

    by: str
    key: str
    priority: int
    """The most urgent of them."""


class Unwanted(Struct, frozen=True, tag=True, gc=False):
    """It does not want it any more, or is gone. Not told where all of the answer has been handed."""

    by: str


class Compared(Struct, frozen=True, tag=True, gc=False):
    """The answer to a Compare, within a bounded time: the kept question that is most similar."""

    id: str
    key: str = ""
    """Its answer's; empty: there is none, or nobody can tell."""
    similarity: float = 0.0
    """Cosine: 1 is the same."""


class Invalidated(Struct, frozen=True, tag=True, gc=False):
    """Answers of these must not be given any more, nor those that are being made; with nothing named, all answers."""

    tag: str | None = None
    model: str | None = None
    tenant: str | None = None
    mark: int | UnsetType = UNSET
    """How many there have been with it, where several workers are told; unset: there is one."""


class FleetSeen(Struct, frozen=True, tag=True):
    """The whole fleet as it should be: a snapshot, never a delta. Who is not in it takes nothing new and then goes."""

    replicas: tuple[Replica, ...]


class Probed(Struct, frozen=True, tag=True, gc=False):
    """A health probe came back."""

    replica: str
    ok: bool
    detail: str = ""


class Observed(Struct, frozen=True, tag=True):
    """An engine's own numbers were read. None: the scrape failed (the old numbers stay and age)."""

    replica: str
    stats: EngineStats | None


class Metered(Struct, frozen=True, tag=True, gc=False):
    """A replica's GPUs were read, whoever read them. A look that failed is no fact: the old numbers age."""

    replica: str
    gpus: tuple[GpuReading, ...]


class Listed(Struct, frozen=True, tag=True):
    """The models that an engine lists."""

    replica: str
    models: tuple[str, ...]


class Benched(Struct, frozen=True, tag=True, gc=False):
    """A benchmark is over; the best of its requests counts."""

    replica: str
    number: int
    """The one that Probe named."""
    ok: bool = False
    ttft_s: float | None = None
    """From sending to the first content byte, on an open connection."""
    tokens_per_s: float | None = None
    """Of one answer, behind its first token; None: too few came to tell."""
    detail: str = ""
    """Why it failed."""


class Leased(Struct, frozen=True, tag=True, gc=False):
    """The store of shared limits has answered a Lease."""

    number: int
    now: float
    """The store's clock, when it did."""
    answers: tuple[Answer, ...]


class LeaseLost(Struct, frozen=True, tag=True, gc=False):
    """It has not: nobody knows whether it was heard."""

    number: int
    reason: str = ""


class Recalled(Struct, frozen=True, tag=True):
    """What had been used of limits before this process began, out of the ledger: told once, or in parts. What calls
    have used since then is not in it."""

    used: tuple[Used, ...]


class Reconfigured(Struct, frozen=True, tag=True):
    """From now on this spec holds. Calls in flight and waiting are kept."""

    spec: GateSpec


class Woke(Struct, frozen=True, tag=True, gc=False):
    """The time that the Gate asked to be woken at has come."""


Event = (
    Arrived
    | Began
    | Ended
    | Failed
    | ClientGone
    | LookedUp
    | Wanted
    | Unwanted
    | Compared
    | Invalidated
    | FleetSeen
    | Probed
    | Observed
    | Metered
    | Listed
    | Benched
    | Leased
    | LeaseLost
    | Recalled
    | Reconfigured
    | Woke
)
