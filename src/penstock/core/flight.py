"""One call on its way through the Gate: its state, its attempts, its times. Moves only along `MOVES`."""

from typing import Final, Literal, NamedTuple

from msgspec import UNSET, UnsetType

from penstock.base.contents import CacheState
from penstock.base.errors import Label
from penstock.base.nouns import Call, CallRow, Hedge, Usage
from penstock.core.catalog import Target
from penstock.core.fair import Flow
from penstock.core.limits.account import Hold
from penstock.core.limits.bars import Bar
from penstock.core.load import Seat
from penstock.core.prefix import NOTHING
from penstock.core.steps import Step

State = Literal[
    "new", "barred", "looking", "given", "gathering", "aboard", "queued", "sent", "begun", "pausing", "over"
]  # fmt: skip

MOVES: Final[dict[State, frozenset[State]]] = {
    "new": frozenset({"barred", "looking", "given", "gathering", "sent", "queued", "over"}),
    "barred": frozenset({"new", "over"}),
    "looking": frozenset({"new", "given", "over"}),
    "given": frozenset({"new", "sent", "begun", "over"}),
    "gathering": frozenset({"new", "aboard", "over"}),
    "aboard": frozenset({"sent", "queued", "over"}),
    "queued": frozenset({"sent", "new", "over"}),
    "sent": frozenset({"begun", "queued", "pausing", "sent", "given", "over"}),
    "pausing": frozenset({"sent", "queued", "new", "over"}),
    "begun": frozenset({"given", "over"}),
    "over": frozenset(),
}
"""new → (barred → new →) (queued →) sent → begun → over; a failed attempt leads from sent back to queued or pausing,
never from begun: after the first relayed byte there is no second attempt. New settings make waiting calls new again.

looking: asking for a kept answer. given: it gets one, or another call's; when that call's client leaves, it takes its
attempts over, with their state, and the other one ends as given.

A call that may go together with others: new → gathering → aboard → over, or back to an attempt of its own."""


class Running(NamedTuple):
    """An attempt that is under way."""

    number: int
    seat: Seat
    sent_at: float


class Kind:
    """Calls that may go to an engine together, as far as they are here."""

    __slots__ = ("forming", "key", "out")

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key
        self.forming: list[Flight] = []
        """Those that wait for each other."""
        self.out = 0
        """Requests of the kind, of one or of several, that are under way or wait for a seat."""


class Ride:
    """What a call, or a group of calls, has to do with others of its kind. A group is a flight itself: it waits for a
    seat, is sent, and fails like a call, but has no row."""

    __slots__ = ("alike", "carrier", "kind", "riders")

    def __init__(self, alike: str) -> None:
        self.alike = alike
        """See `Arrived`."""
        self.kind: Kind | None = None
        """While it waits for others, or counts among those that are out."""
        self.carrier: Flight | None = None
        """The group that it goes with."""
        self.riders: list[Flight] | None = None
        """Of a group: those that go with it."""


class Flight:
    """What the Gate remembers of a call until it is over."""

    __slots__ = (
        "arrived", "attempt", "bar", "began", "blamed", "cache", "cached", "call", "cost", "deadline", "expected",
        "flow", "free_used", "hedge", "hedged", "hold", "lane", "last", "loose", "number", "overtaken", "overtook",
        "pin", "queue_s", "queued_at", "ride", "rival", "seat", "sent_at", "sharing", "spared", "state", "target",
        "target_attempts", "targets", "trail", "tried",
    )  # fmt: skip

    def __init__(self, call: Call, targets: tuple[Target, ...], now: float) -> None:
        self.call = call
        self.arrived = now
        self.state: State = "new"
        self.targets = targets
        self.target = 0
        """Index of the target that is being tried."""
        self.target_attempts = self.spared = 0
        """Attempts at that target, and how many of them used none up of those that a call has."""
        self.seat: Seat | None = None
        """Whose seat it holds."""
        self.pin: Seat | None = None
        """The one replica that it waits for; None: it does not wait, or for any."""
        self.loose = False
        """It has waited for its replica in vain and is pinned no more."""
        self.overtaken = 0
        """How often a later call was served first, because its prefix was cached where a seat was free."""
        self.overtook = 0
        """How many earlier ones it was served before, for the same reason."""
        self.flow: Flow | None = None
        """Its tenant's account, where that counts the seats that its calls hold."""
        self.attempt = self.number = 0
        """Attempts made, and which of them holds the seat."""
        self.rival: Running | None = None  # an earlier one that still runs beside it
        self.hedge: Hedge | Literal["due"] = ""
        """Due: an alarm for it is set."""
        self.hedged = 0  # which attempt is its hedge: a call gets one at most
        self.tried: frozenset[str] | None = None
        """Replicas that failed it: they come last."""
        self.blamed: Seat | Literal["itself"] | None = None  # for its last error; `Chances` says when it is its own
        self.free_used = False
        self.last: Label | None = None
        """How the last attempt failed."""
        self.cached = NOTHING
        """What of its prompt the replica is believed to have cached."""
        self.deadline = self.queued_at = self.queue_s = self.sent_at = 0.0
        self.began: float | None = None
        self.expected: float | None = None
        """Output tokens that were expected, once it waits or is sent."""
        self.hold: Hold | None = None
        self.bar: Bar | None = None
        self.lane: tuple[str, str, str, str, int] | None = None
        """Of limits: what it holds; or which it waits for, and where."""
        self.cost = 0.0
        self.cache: CacheState | UnsetType = UNSET
        self.sharing: Sharing | None = None
        """Calls that have one answer, itself among them."""
        self.ride: Ride | None = None  # where it may go together with others, or is a group itself
        self.trail: Step | None = None
        """Its last step, where ways are remembered."""

    def move(self, state: State) -> None:
        """Go to another state. Raises ValueError where the table has no such move: that is a bug."""
        if state not in MOVES[self.state]:
            raise ValueError(f"call {self.call.id}: no move from {self.state} to {state}")
        self.state = state

    def running(self) -> list[Running]:
        """Its attempts that are under way: none, one, or two."""
        found = [] if self.seat is None else [Running(self.number, self.seat, self.sent_at)]
        return found if self.rival is None else [self.rival, *found]

    def go_on_with(self, rival: Running) -> Running:
        """The rival takes the place of the attempt that held the seat; that one."""
        assert self.seat is not None
        other = Running(self.number, self.seat, self.sent_at)
        self.number, self.seat, self.sent_at = rival
        return other

    def hand_over(self, heir: "Flight") -> None:
        """The heir has its attempts from now on, and all that they have been through."""
        heir.move(self.state)
        heir.targets, heir.target = self.targets, self.target
        heir.target_attempts, heir.spared = self.target_attempts, self.spared
        heir.attempt, heir.number, heir.seat, heir.sent_at = self.attempt, self.number, self.seat, self.sent_at
        heir.rival, heir.hedge, heir.hedged = self.rival, self.hedge, self.hedged
        heir.tried, heir.free_used, heir.last = self.tried, self.free_used, self.last
        heir.cached, heir.expected, heir.flow, heir.deadline = self.cached, self.expected, self.flow, self.deadline
        self.attempt = 0  # who reads both rows would count its attempts, and what was relayed of them, twice
        self.seat = self.rival = self.flow = None
        self.hedge = ""
        self.move("given")

    def row(
        self, outcome: str, status: int, usage: Usage | None, relayed_tokens: int, replica: str, now: float,
        billed: Usage | None = None,
    ) -> CallRow:  # fmt: skip
        """Its one row."""
        call = self.call
        target = self.targets[self.target] if self.targets else None
        # by place: twenty names would cost every call most of a microsecond (the order is CallRow's)
        return CallRow(
            call.id, call.client_id, self.arrived, call.tenant, call.key, call.model, call.path,
            target.pool if target else "", replica, outcome, status, call.stream, call.priority, self.attempt,
            now - self.arrived, None if self.began is None else self.began - self.arrived, self.queue_s, usage,
            relayed_tokens, "" if self.hedge == "due" else self.hedge, self.cached.tokens,
            self.cost, billed, self.cache, call.user or UNSET,
        )  # fmt: skip


class Sharing:
    """Calls that have one answer [C2]. One of them leads: its attempts are made. What follows has none of its own.

    Where there are several workers, the leader of one may have followers at others; and at each of these the first of
    them stands in for it."""

    __slots__ = (
        "abroad", "asked", "asks", "brought", "followers", "frame", "keep", "kept", "key", "leader", "left",
        "looking", "tags", "target", "ttl_s",
    )  # fmt: skip

    def __init__(self, key: str, leader: Flight, tags: tuple[str, ...], ttl_s: float) -> None:
        self.key = key
        self.leader = leader
        self.followers: dict[Flight, None] = {}
        """In the order in which they came."""
        self.frame = ""
        """Among which questions one in other words may stand for theirs; empty: none may."""
        self.target = leader.targets[0]
        """What it is the answer of: settings may change before it is made."""
        self.tags = tags
        self.ttl_s = ttl_s
        self.keep = True
        """Its answer may be kept; no longer where it was invalidated while it was made."""
        self.kept = False
        """It is."""
        self.asked = ""
        """The call for which other workers were asked last, while that holds."""
        self.asks = 0
        """How often."""
        self.looking = False
        """They have not answered yet."""
        self.brought = False
        """Another worker's call brings the answer: the leader only stands for those that are here."""
        self.abroad: dict[str, None] = {}
        """The names by which other workers follow."""
        self.left: int | None = None
        """Its leader's client has left, with so many tokens, and others have its answer: it goes on for them."""

    def takes(self, flight: Flight) -> bool:
        """Whether this call may join: not where it would wait behind the leader in a line of less urgent calls."""
        return self.hurries or self.leader.call.priority <= flight.call.priority

    @property
    def hurries(self) -> bool:
        """Its leader waits in no line, as far as is known."""
        leader = self.leader
        return leader.state in ("sent", "begun", "looking") or (self.brought and leader.began is not None)
