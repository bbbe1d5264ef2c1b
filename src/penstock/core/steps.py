"""Steps: what the Gate remembers of a call's way, one small struct each, the newest pointing to the one before.

They are untracked by the garbage collector and hold numbers, shared names and packed bytes: ten thousand calls cost
some megabytes and no collection. They say what was, never what would be better; words are made by readers.
"""

from msgspec import Struct

from penstock.base.nouns import PRIORITIES, CallRow
from penstock.core.profile import Profile, complexity

Pairs = tuple[str, ...]
"""A replica, why it was left out, the next replica, ..."""
UNTIL = "|"
"""In such a reason: behind it stands until when it holds, in seconds on the Gate's axis."""
Note = tuple[str | float, ...]


class Step(Struct, frozen=True, gc=False, tag=True):
    """What all steps have."""

    at: float
    before: "Step | None"
    size: int
    """Bytes of this step and those before it, about."""


class Queued(Step, frozen=True, gc=False, tag=True):
    """It joined a line. Counts are of the calls that waited in that pool already."""

    pool: str
    model: str
    why: str
    """full: no free seat; behind: others wait; held: the engines are near collapse; nobody: no replica can serve;
    bound: the pool has as many calls in flight as it may; pinned: its own replica has no free seat; share: its tenant
    has so many seats that others come first."""
    waiting: int
    better: int
    """Of a higher priority."""
    equal: int
    """Of its own priority."""
    own: int
    """Of its own tenant."""
    lead: float
    """How far its tenant's account stood above (later) or below (earlier) the pool's, in cost by weight."""
    weight: float
    """Its tenant's."""
    served: tuple[int, ...]
    """Calls that had left this pool's queue for a seat by then, by priority."""
    left: Pairs = ()
    """Who could not serve, where nobody could; or the one replica that it is pinned to."""
    retry: bool = False
    """It waits beside the line, after a failed attempt."""


class Unqueued(Step, frozen=True, gc=False, tag=True):
    """It left the line: for a seat, or for good."""

    waiting: int
    """Calls that stayed."""
    meanwhile: tuple[int, ...]
    """Others that were given a seat out of this pool's queue while it waited, by priority."""
    overtaken: int = 0
    """So many of them were later calls of its tenant and priority, whose prefix was cached where a seat was free."""
    overtook: int = 0
    """So many earlier calls it passed itself, for that reason, when it got a seat."""


class Chosen(Step, frozen=True, gc=False, tag=True):
    """A replica was chosen for an attempt, and the call sent."""

    attempt: int
    replica: str
    pool: str
    model: str
    strategy: str
    how: str
    """scores: by a picker over the candidates; bond: its session's replica; ring: its key's place."""
    picker: str
    candidates: tuple[str, ...]
    scorers: tuple[tuple[str, float], ...]
    """Names and weights."""
    numbers: bytes
    """Scores as 32-bit floats: those of the first scorer for each candidate, then those of the next."""
    usable: int
    """Replicas that could serve; more than there are candidates where only a sample was looked at."""
    left: Pairs
    left_count: int
    note: Note
    """The two that were drawn, with their costs; or the filters that left nobody; or the ring's owner and what the
    call's key is."""
    doubt: str = ""
    """Why it is not well, where it got the call because its pool panics."""


class Lost(Step, frozen=True, gc=False, tag=True):
    """An attempt failed."""

    attempt: int
    replica: str
    label: str
    status: int
    retry_after_s: float | None


class Paused(Step, frozen=True, gc=False, tag=True):
    """It waits before another attempt at a replica that has failed it."""

    until: float


class Denied(Step, frozen=True, gc=False, tag=True):
    """No further attempt: `why` is budget, attempts, useless, unrepeatable or gone."""

    why: str


class Hedged(Step, frozen=True, gc=False, tag=True):
    """Its attempt was slow to begin. `what`: sent (another one, beside it), or no_budget, or no_room."""

    what: str


class Stopped(Step, frozen=True, gc=False, tag=True):
    """Of two attempts the other one began first: this one was let go."""

    attempt: int
    replica: str


class Moved(Step, frozen=True, gc=False, tag=True):
    """It goes on to another pool or model: a fallback, or because the configuration changed."""

    pool: str
    model: str
    why: str


class Refused(Step, frozen=True, gc=False, tag=True):
    """A pool's queue did not take it; the numbers against which it was measured."""

    pool: str
    model: str
    label: str
    waiting: int
    """In all pools."""
    here: int
    """In this pool."""
    equal: int
    own: int
    saturation: float


class Barred(Step, frozen=True, gc=False, tag=True):
    """A limit did not let it pass."""

    label: str
    who: str
    """Whose limit."""
    what: str
    limit: float
    used: float
    held: float
    """The part of it that calls in flight may give back."""
    need: float
    waits: bool
    """It may wait for it."""


class Joined(Step, frozen=True, gc=False, tag=True):
    """It goes to an engine as one with others; what follows, the group has been through."""

    group: str
    """The group's id."""
    calls: int


class LetIn(Step, frozen=True, gc=False, tag=True):
    """It has waited, and its limits let it pass."""


class Given(Step, frozen=True, gc=False, tag=True):
    """It has to do with the cache. `how`: hit (it gets a kept answer), similar (one to a question that is so similar:
    `of`), coalesced (that of the call `of`), owner (the attempts of `of`, which it has followed, are its own now),
    alone (what it was to get is not to be had)."""

    how: str
    of: str
    age_s: float


class Trail(Struct, frozen=True, gc=False):
    """One call with all that is remembered of it."""

    row: CallRow
    """While it goes on its `outcome` is the state that it is in, and its `status` 0."""
    last: Step | None
    over: bool
    size: int
    prompt_tokens: int
    output_tokens: float
    """Expected."""
    max_tokens: int | None
    body_bytes: int
    session: str
    latency_s: float | None
    tier: str
    prefix_blocks: int

    def profile(self) -> Profile:
        """What was known of it before it was served."""
        row, most = self.row, self.max_tokens
        output = self.output_tokens if most is None else min(self.output_tokens, most)
        return Profile(
            prompt_tokens=self.prompt_tokens, output_tokens=round(output), max_tokens=most,
            complexity=complexity(self.prompt_tokens, output), latency_s=self.latency_s,
            priority=PRIORITIES[row.priority] if 0 <= row.priority < len(PRIORITIES) else str(row.priority),
            tier=self.tier, session=self.session, stream=row.stream, body_bytes=self.body_bytes,
            prefix_blocks=self.prefix_blocks,
        )  # fmt: skip

    def steps(self) -> list[Step]:
        """From the first to the last."""
        found: list[Step] = []
        step = self.last
        while step is not None:
            found.append(step)
            step = step.before
        return found[::-1]
