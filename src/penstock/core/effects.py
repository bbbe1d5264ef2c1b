"""Orders: everything the Gate can ask for. Closed; each is performed at once, in order, by the body that has it."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from penstock.base.errors import Label
from penstock.base.leases import Ask
from penstock.base.nouns import CallRow, Rates

Look = Literal["health", "stats", "models", "bench"]

BENCHMARK = "benchmark/"
"""A Cancel whose id is this and a replica's stops the benchmark of that replica with the number `attempt`."""


class Send(Struct, frozen=True, tag=True, gc=False):
    """Make an attempt: forward the call to this replica. Answered by Began and Ended, or Failed.

    The performer enforces the three timeouts and reports them as Failed. Attempts of a call count from 1. An earlier
    attempt may still run, as long as nothing of it has gone to the client: whichever is told to have begun is the
    answer, and the other gets a Cancel in that turn.
    """

    id: str
    attempt: int
    replica: str
    model: str
    """The upstream's own name for the model; differs from the client's where an alias or a fallback applies."""
    connect_timeout_s: float
    first_byte_timeout_s: float
    idle_timeout_s: float
    queue_s: float
    """How long the call has waited in our queue, for the response header."""
    rates: Rates | None = None
    """What the client is told of its limits; None: it has none."""
    cache: Literal["bypass", "miss", "lead"] | UnsetType = UNSET
    """Whether others may join it; unset: there is no cache. lead: its answer is held as far as it can be, for those who
    do, and Ended tells its size. The client is told of the other two."""


class Aboard(Struct, frozen=True, gc=False):
    """A call whose request goes together with others."""

    id: str
    queue_s: float
    rates: Rates | None = None


class Carry(Struct, frozen=True, tag=True):
    """These calls' requests go as one: the Send that follows, under the group's own id, is for all of them.

    Its attempt is told of under that id; where it ends well, an Ended for each of them (with its share of the usage)
    comes before the group's own. A group that has no answer to split is told as Failed. Nobody aboard: the group is
    over.
    """

    id: str
    aboard: tuple[Aboard, ...] = ()


class Cancel(Struct, frozen=True, tag=True, gc=False):
    """Stop an attempt (or a benchmark, see BENCHMARK) at its engine; nothing more is told of it."""

    id: str
    attempt: int


class Refuse(Struct, frozen=True, tag=True, gc=False):
    """Tell the client that it does not get (the rest of) an answer: a status before Began, a clear error event or a
    cut after it. The call is over."""

    id: str
    label: Label
    status: int
    detail: str = ""
    retry_after_s: float | None = None
    rates: Rates | None = None
    """What the client is told of its limits; None: it has none."""


class LookUp(Struct, frozen=True, tag=True, gc=False):
    """Ask for the answer of this key: other workers, where there are any, and the store that gateways share. Answered
    by LookedUp, in bounded time."""

    id: str
    key: str
    priority: int | UnsetType = UNSET
    """How urgent the call is, for other workers; unset: they are not asked."""


class Release(Struct, frozen=True, tag=True, gc=False):
    """Other workers are asked about this key for nothing any more: the call that asked, or who took its place, is over,
    and nobody here leads with it."""

    key: str
    id: str
    """The call that the LookUp was for."""
    kept: bool
    """Its answer is kept here."""


class Hand(Struct, frozen=True, tag=True, gc=False):
    """Give another worker, which asked by this name, what it wants."""

    by: str
    how: Literal["hit", "coalesced", "none", "failed"]
    """hit: the kept answer; coalesced: what the call `of` gets, as it comes; none: it is not to be had (any more), and
    its calls may do better; failed: nor will they get one, for what failed the call here would fail them."""
    key: str = ""
    of: str = ""
    age_s: float = 0.0
    left_s: float = 0.0
    """Hit: how long it may still be given."""
    tags: tuple[str, ...] = ()
    mark: int = 0
    """Hit, coalesced: of so many Invalidated this worker has heard."""
    label: Label | UnsetType = UNSET
    """Failed: why."""
    status: int = 0


class Compare(Struct, frozen=True, tag=True, gc=False):
    """Find the kept question of this frame that is most similar to the call's. Answered by Compared, in time."""

    id: str
    frame: str


class Answer(Struct, frozen=True, tag=True, gc=False):
    """Give the client an answer that no attempt of its own brings. Answered by Began and Ended, or Failed, as attempt
    0; a Failed before Began: it is not to be had, and the call must be sent. A second Answer replaces the first, of
    which nothing has come."""

    id: str
    key: str
    how: Literal["hit", "coalesced"]
    of: str = ""
    """Coalesced: the call whose attempts bring it."""
    age_s: float = 0.0
    """Hit: how long ago it was made."""
    rates: Rates | None = None
    similarity: float | UnsetType = UNSET
    """Hit: the answer was made for another question, which is so similar; unset: for the same."""


class Adopt(Struct, frozen=True, tag=True, gc=False):
    """A call's client has left, or does not get its answer: what was made for it, attempts that run included, is from
    now on the call's that has followed it. The attempts keep their numbers."""

    id: str
    by: str


class Keep(Struct, frozen=True, tag=True, gc=False):
    """Keep the answer that this call has, or that was looked up for it, under the key; and let go of others."""

    id: str
    key: str
    ttl_s: float
    tenant: str
    model: str
    tags: tuple[str, ...] = ()
    found: bool = False
    """It was looked up: gateways share it already."""
    evicted: tuple[str, ...] = ()
    frame: str | UnsetType = UNSET
    """Questions of this frame in other words may have it; unset: none."""


class Drop(Struct, frozen=True, tag=True, gc=False):
    """Let go of these answers."""

    keys: tuple[str, ...]


class Record(Struct, frozen=True, tag=True, gc=False):
    """The call is over, this is its row. Exactly one a call, after its last other order."""

    row: CallRow


class Bench(Struct, frozen=True, gc=False):
    """What a benchmark asks of an engine."""

    number: int
    """Which benchmark: an answer to an earlier one means nothing."""
    model: str
    """The engine's own name for it."""
    prompt_tokens: int
    output_tokens: int
    repeats: int
    """Requests, one after the other."""


class Probe(Struct, frozen=True, tag=True, gc=False):
    """Look at a replica: health is answered by Probed, stats by Observed, models by Listed (or nothing), and bench by
    Benched."""

    replica: str
    look: Look
    timeout_s: float
    bench: Bench | None = None
    """With the look `bench` only. It holds a seat, so it must come to an end: Benched, or a Cancel."""


class Lease(Struct, frozen=True, tag=True, gc=False):
    """Tell the store of shared limits this, and ask it for that. Answered by Leased or LeaseLost; until then no other
    is ordered."""

    number: int
    lasts_s: float
    """How long what it grants may be used."""
    asks: tuple[Ask, ...]


class Return(Struct, frozen=True, tag=True, gc=False):
    """Tell it what was used, and that nothing is needed any more. Not answered."""

    number: int
    lasts_s: float
    asks: tuple[Ask, ...]


class Forget(Struct, frozen=True, tag=True, gc=False):
    """The replica is gone: its connections and secrets may be dropped."""

    replica: str


Effect = (
    Send
    | Carry
    | Cancel
    | Refuse
    | Record
    | Probe
    | Lease
    | Return
    | Forget
    | LookUp
    | Release
    | Hand
    | Compare
    | Answer
    | Adopt
    | Keep
    | Drop
)
