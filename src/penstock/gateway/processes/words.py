"""What a gateway's parent and its workers tell each other: two closed vocabularies, one for each direction.

The parent tells whole states (settings with the fleet, shares of seats), facts that it has learnt for all, and asks.
Workers tell what holds with them now, and answer. Nothing here is needed to decide about a call that is under way.
"""

from typing import Literal

from msgspec import Struct, field

from penstock.base.contents import CacheView
from penstock.base.nouns import AccountView, PoolView, ReplicaView
from penstock.config.schema import Settings
from penstock.core.events import Benched, Invalidated, Listed, Metered, Observed, Probed
from penstock.core.scale.window import Window
from penstock.telemetry.explained import Explanation
from penstock.telemetry.totals import Totals

Learnt = Probed | Observed | Metered | Listed | Benched
"""Facts about replicas that one process learns for all."""

# ===== to a worker =====


class Begin(Struct, frozen=True, tag=True):
    """The first word: who it is, and with what it starts."""

    worker: int
    """From 1 on."""
    workers: int
    seed: int
    settings: Settings
    peer: str = ""
    """By which name it asks for its share of limits; empty: any."""


class Settle(Struct, frozen=True, tag=True):
    """From now on these settings hold, with the fleet as it should be. Its replicas have all their seats: how many of
    them are this worker's, Shared says."""

    number: int
    settings: Settings
    scaled: tuple[str, ...] = ()
    """Pools of which the Governor wants to see windows."""
    flows: tuple[str, ...] = ()
    """Those of them of which it wants to know what flows through."""


class Shared(Struct, frozen=True, tag=True):
    """So many seats of these replicas are this worker's now; of the others as before, and at first none."""

    number: int
    seats: dict[str, int]


class Told(Struct, frozen=True, tag=True):
    """What was learnt about replicas, and which answers must not be given any more."""

    facts: list[Learnt | Invalidated]


class Ask(Struct, frozen=True, tag=True):
    """A question, to be answered with its number."""

    number: int
    what: Literal["snapshot", "explain", "explain_last", "journal"]
    id: str = ""
    last: int = 0
    wanted: dict[str, str] = field(default_factory=dict)


class Halt(Struct, frozen=True, tag=True):
    """Take no new work, let answers finish for so long, and end."""

    within_s: float


Down = Begin | Settle | Shared | Told | Ask | Halt

# ===== to the parent =====


class Ready(Struct, frozen=True, tag=True):
    """It listens."""

    pid: int


class Trouble(Struct, frozen=True, tag=True):
    """It cannot begin, and ends."""

    text: str


class Report(Struct, frozen=True, tag=True):
    """How things stand with it."""

    settled: int
    """Number of the settings that hold with it; 0: those it began with."""
    shared: int
    """Number of the shares that hold with it; 0: none yet."""
    busy: dict[str, int]
    """Calls in flight by replica of the fleet, where there are any."""
    waiting: dict[str, int]
    """Calls that wait by pool, where there are any."""
    leaving: tuple[str, ...] = ()
    """Replicas that left the fleet and still have calls."""
    windows: dict[str, Window] = field(default_factory=dict)


class Answer(Struct, frozen=True, tag=True):
    """The answer to the question of this number, as JSON."""

    number: int
    body: bytes


Up = Ready | Trouble | Report | Answer

# ===== answers =====


class Snapshot(Struct, frozen=True, kw_only=True):
    """All that a worker shows of itself."""

    replicas: list[ReplicaView]
    pools: list[PoolView]
    accounts: list[AccountView]
    counters: dict[str, int]
    """What it holds; and, under names that end in `_total`, what has happened."""
    totals: Totals
    cpu_s: float
    """CPU time that it has used."""
    ledger: dict[str, int] = field(default_factory=dict)
    """Of its journal: records that are lost, that wait, and whether it cannot be written."""
    leases: dict[str, float] = field(default_factory=dict)
    """Metrics of its way to the store of shared limits."""
    cache: CacheView | None = None
    """Its own answers."""
    store: dict[str, float] = field(default_factory=dict)
    """Metrics of its way to the store of shared answers."""


class Explained(Struct, frozen=True, kw_only=True):
    """Why a call went where it went, or why it is not known."""

    found: Explanation | None = None
    why: Literal["", "off", "forgotten", "unknown"] = ""
