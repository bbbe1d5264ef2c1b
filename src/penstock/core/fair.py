"""Who has had how much: one counter a tenant of a pool, so that seats are shared fairly [Q1].

A tenant's counter (`tag`) grows by what its calls cost, divided by its weight; of the tenants that wait, the one with
the lowest is next. That is start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queuing", SIGCOMM 1996) with
the cost of the Virtual Token Counter (Sheng et al.: "Fairness in Serving Large Language Models", OSDI 2024): an input
token costs 1, an output token 2. How long an answer will be is not known when its call is sent, so a tenant's mean
stands for it, never more than the call's own `max_tokens`.

Both papers lift the counter of a tenant that comes back to that of those who wait, so that idleness is not saved up.
Then somebody who floods the pool stands on one line with whoever comes seldom. Here the lift stops a little below
(`burst` average calls): who uses less than its share finds its burst served before the flood, as with the warp of
borrowed virtual time (Duda, Cheriton, SOSP 1999), and no saved-up idleness is worth more than that. Deficit round
robin was refused: with costs that differ by a factor of a thousand its rounds are as long as its largest call.

Fair turns alone cannot help a call that comes while all seats are taken: a running answer is never cut off. `max_share`
keeps seats out of one tenant's hands for those who come, while others have come of late; what it costs is idle seats.
A `reserve` does the same by what is left: the last seats are for others than a tenant that holds much and has had more
than most, as trunk reservation keeps lines of a telephone exchange for the traffic that would suffer. The others may
take them all, so it costs less work than a fixed share and helps more; and what it may cost is bounded: seats that it
leaves idle are counted, and where they have come to more than `reserve_cost` of all it rests. Thresholds on each
tenant's seats by how many are free (Choudhury, Hahne 1998) were tried and refused: while all wait they keep seats from
everybody. While only one tenant is about, only its seats are counted.
"""

from collections.abc import Container, Iterable
from math import exp, fsum, inf
from typing import Final

from penstock.base.nouns import Call
from penstock.core.spec import QueueSpec

OUTPUT_COST: Final = 2.0
"""Cost of an output token, in input tokens (VTC's evaluation; prices of hosted models lie at 2 to 5)."""
TYPICAL_OUTPUT: Final = 256.0
"""Tokens of an answer, until a tenant has had some."""
ALPHA: Final = 0.1
"""Weight of a new answer in a tenant's mean."""
SHOWN_S: Final = 60.0
"""Time in which served tokens fade to 1/e in the index of fairness."""
MUCH: Final = 1.5
"""Holding so many times an equal share of the seats is holding much."""
COST_S: Final = 20.0
"""What a reserve leaves idle is counted over about so long: it may cost at once what it may cost in that time."""
RECENT_S: Final = 1.0
"""A reserve is for those who have sent something so lately: seats are kept for calls that come now, not some time."""
FEW: Final = 1024
"""Tenants that are remembered without a second thought."""


class Flow:
    """One tenant's account."""

    __slots__ = ("_fair", "at", "came", "held", "output", "tag", "tenant", "tokens", "weight")

    def __init__(self, fair: "Fair", tenant: str, weight: float, tag: float, now: float) -> None:
        self.tenant = tenant
        self.weight = weight
        self.tag = tag
        """Cost of what it had, by weight: only ever grows."""
        self.output = TYPICAL_OUTPUT
        """Mean tokens of its answers."""
        self.tokens = 0.0
        """Tokens served, faded."""
        self.at = now
        self.came = -inf
        """When it last sent a call."""
        self.held = 0
        """Seats that it holds."""
        self._fair = fair

    def kept(self) -> bool:
        """Whether it would have a seat now and is kept from it, because it holds all that it may."""
        fair = self._fair
        return fair.caps and fair.keep(self)

    def returned(self) -> None:
        """It holds one seat less."""
        fair = self._fair
        self.held -= 1
        fair.held -= 1
        fair.holders -= not self.held


class Fair:
    """The accounts of a pool's tenants. Idle ones that nothing distinguishes from unknown ones are forgotten."""

    __slots__ = (
        "_burst", "_cost", "_floor", "_flows", "_idle", "_idle_s", "_latest", "_limit", "_mean", "_most",
        "_now", "_other", "_owed", "_per_owed", "_reserve", "_seats", "_share", "_spare", "_virtual", "_waiting",
        "_weights", "bounds", "caps", "held", "holders", "kept",
    )  # fmt: skip

    def __init__(self, spec: QueueSpec, waiting: Container[str]) -> None:
        """`waiting`: the tenants that wait; their accounts are kept."""
        self._waiting = waiting
        self._flows: dict[str, Flow] = {}
        self._virtual = 0.0
        """The highest tag at which a call was ever begun: how far the pool has come."""
        self._floor = 0.0
        """Nobody who begins to wait stands below."""
        self._mean = 0.0
        """Mean cost of a call."""
        self._limit = FEW
        self._most = 1
        """Seats that a tenant may hold while others are about."""
        self._seats = 0
        """Of the pool."""
        self._spare = -1
        """So many are left to who holds few."""
        self.held = self.holders = 0
        """Seats that are taken, and tenants that hold some."""
        self._latest: Flow | None = None
        """Whoever sent a call last."""
        self._other: Flow | None = None
        """The last one before that was somebody else."""
        self.caps = False
        """A tenant may have to wait beside a free seat: settings say so, and more than one are about."""
        self.kept = False
        """When it was last looked, somebody had to."""
        self._idle = 0
        """So many seats were free then, for the sake of the reserve."""
        self._owed = 0.0
        """Seats times seconds that the reserve has left idle, less what it may."""
        self._per_owed = 0.0
        """One by what it may owe at most; from half of that on the reserve shrinks, and does not come and go."""
        self._now = 0.0
        """When it was last looked who holds how much."""
        self.respec(spec)

    def __len__(self) -> int:
        return len(self._flows)

    def respec(self, spec: QueueSpec) -> None:
        """New weights hold for what is served from now on."""
        self._weights = spec.weights
        self._burst = spec.burst
        self._share, self._idle_s = spec.max_share, spec.share_idle_s
        self._reserve, self._cost = spec.reserve, spec.reserve_cost
        self.bounds = (spec.max_share < 1.0 or spec.reserve > 0.0) and spec.order == "class"
        """A tenant may have to wait beside a free seat, once another is about."""
        self.caps = self.bounds and self._other is not None
        for flow in self._flows.values():
            flow.weight = spec.weights.get(flow.tenant, 1.0)

    def flow(self, tenant: str, now: float) -> Flow:
        """The account of a tenant that begins to wait: what it did not use long ago counts no more."""
        flow = self._flows.get(tenant)
        if flow is None:
            flow = self._open(tenant, now)
        elif flow.tag < self._floor and tenant not in self._waiting:
            flow.tag = self._floor
        return flow

    def waits(self, tenant: str, arrived: float, now: float) -> Flow:
        """As `flow`; that the call has arrived is noticed, unless it was before: calls are admitted again, too."""
        flow = self.flow(tenant, now)
        if arrived > flow.came:
            flow.came = arrived
            if flow is not self._latest:
                self._another(flow)
        return flow

    def _open(self, tenant: str, now: float) -> Flow:
        if len(self._flows) >= self._limit:
            self._tidy()
        flow = self._flows[tenant] = Flow(self, tenant, self._weights.get(tenant, 1.0), self._floor, now)
        return flow

    def expected(self, call: Call) -> float:
        """Output tokens that this call may take, by what its tenant's answers were."""
        flow, most = self._flows.get(call.tenant), call.max_tokens
        output = TYPICAL_OUTPUT if flow is None else flow.output
        return output if most is None or most > output else most

    def capped(self, tenant: str) -> bool:
        """Whether a tenant holds all the seats that it may, as of when it was last looked at. Keeps it from none."""
        flow = self._flows.get(tenant) if self.caps else None
        return flow is not None and self.is_capped(flow)

    def standing(self, tenant: str) -> tuple[float, float]:
        """How far a tenant's account is above (or below) where the pool has come, and its weight."""
        flow = self._flows.get(tenant)
        tag = self._floor if flow is None else max(flow.tag, self._floor)
        return tag - self._virtual, self._weights.get(tenant, 1.0)

    def charge(self, call: Call, flow: Flow) -> float:
        """A call is sent for the first time (later attempts are our misfortune, not the tenant's use). Returns the
        output tokens that it is expected to take."""
        output, most = flow.output, call.max_tokens
        if most is not None and most < output:
            output = float(most)
        cost = call.prompt_tokens + OUTPUT_COST * output + 1.0
        start = flow.tag
        flow.tag = start + cost / flow.weight
        self._mean += 0.01 * (cost - self._mean) if self._mean else cost
        if start > self._virtual:
            self._virtual = start
            self._floor = max(self._floor, start - self._burst * self._mean)
        return output

    def served(self, tenant: str, prompt_tokens: int, completion_tokens: int, now: float) -> None:
        """An answer is complete: what it really took."""
        flow = self._flows.get(tenant)
        if flow is not None:
            flow.output += ALPHA * (completion_tokens - flow.output)
            flow.tokens = flow.tokens * exp((flow.at - now) / SHOWN_S) + prompt_tokens + completion_tokens
            flow.at = now

    # ===== seats in one hand =====

    def seated(self, seats: int) -> None:
        """The pool has so many seats now."""
        self._seats = seats
        self._most = max(1, int(self._share * seats + 1e-9))
        self._spare = int(self._reserve * seats + 1e-9)
        allowed = self._cost * seats * COST_S
        self._per_owed = 1.0 / allowed if allowed and self._cost < 1.0 else 0.0

    def takes(self, tenant: str, arrived: float, now: float) -> Flow:
        """A tenant's call that arrived then gets a seat; give it back with `Flow.returned`."""
        flow = self._flows.get(tenant)
        if flow is None:
            flow = self._open(tenant, now)
        self.holders += not flow.held
        self.held += 1
        flow.held += 1
        if arrived > flow.came:  # else it was seen when it began to wait
            flow.came = arrived
            if flow is not self._latest:
                self._another(flow)
        return flow

    def _another(self, flow: Flow) -> None:
        """Not the tenant that sent the last call sends one."""
        if self._latest is not None and self._latest.tenant != flow.tenant:
            self._other = self._latest
            self.caps = self.bounds
        self._latest = flow

    def keeps(self, tenant: str, now: float) -> bool:
        """Whether a tenant whose call comes now holds all that it may. Only where `caps`."""
        self._pass(now)
        flow = self._flows.get(tenant)
        return flow is not None and self.keep(flow)

    def look(self, now: float) -> None:
        """Whoever holds much is kept from more as of now."""
        self._pass(now)
        self.kept = False
        self._idle = 0

    def _pass(self, now: float) -> None:
        """Time goes on: seats that were left idle are counted, and whoever is alone now is noticed."""
        if self._owed or self._idle:
            idle = min(self._idle, self._seats - self.held)
            self._owed = max(0.0, self._owed + (idle - self._cost * self._seats) * (now - self._now))
        self._now = now
        latest, other = self._latest, self._other
        if latest is None or other is None or now < other.came + self._idle_s:
            return
        if self.holders == (latest.held > 0):
            self.caps = False

    def keep(self, flow: Flow) -> bool:
        """As `is_capped`, of a tenant that would have a seat now: if so, one is left free."""
        if not self.is_capped(flow):
            return False
        self.kept = True
        if flow.held < self._most:
            self._idle = self._seats - self.held
        return True

    def is_capped(self, flow: Flow) -> bool:
        """Whether a tenant holds all the seats that it may, while anybody else is about."""
        if not self.caps or not flow.held or (flow.held < self._most and not self._reserved(flow)):
            return False
        return self._now < self._other_came(flow) + self._idle_s

    def _other_came(self, flow: Flow) -> float:
        """When somebody else last sent a call."""
        latest = self._latest
        other = self._other if latest is None or latest.tenant == flow.tenant else latest
        return -inf if other is None else other.came

    def _reserved(self, flow: Flow) -> bool:
        """Whether the seats that are left are for others than this one, which has some."""
        return (
            0 < self._seats - self.held <= self._spare * min(1.0, 2.0 - 2.0 * self._owed * self._per_owed)
            and flow.held >= self._spare  # of a hundred tenants two seats are more than an equal share, and not much
            and flow.held * max(2, self.holders) >= MUCH * self._seats
            and flow.tag + flow.tag >= self._floor + self._virtual
            and self._now < self._other_came(flow) + RECENT_S
        )

    def _tidy(self) -> None:
        """Forget idle tenants: those at the floor, and if too few of them are there all that are idle."""
        flows, floor, waiting = self._flows, self._floor, self._waiting
        kept = {name: flow for name, flow in flows.items() if flow.tag > floor or name in waiting or flow.held}
        if 2 * len(kept) > len(flows):
            kept = {name: flow for name, flow in kept.items() if name in waiting or flow.held}
        self._flows = kept
        self._limit = max(FEW, 2 * len(kept))

    def index(self, now: float) -> float | None:
        """Jain's index of the tokens that tenants were served of late, by weight: 1 all alike, 1/n one has everything.
        None: nobody was served."""
        return jain(flow.tokens * exp((flow.at - now) / SHOWN_S) / flow.weight for flow in self._flows.values())


def jain(shares: Iterable[float]) -> float | None:
    """(Σx)² / (n·Σx²) over the shares that are more than a hundredth of a token (Jain, Chiu, Hawe 1984)."""
    seen = [share for share in shares if share > 0.01]
    if not seen:
        return None
    total = fsum(seen)
    return total * total / (len(seen) * fsum(share * share for share in seen))
