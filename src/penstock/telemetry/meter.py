"""The meter: reads the journal and counts. What it counts is bounded, whatever clients send.

Almost everything is read from the one row that each call ends with; attempts, failures and looks at replicas come from
the orders and facts about them. It is on the path of every call, so it is plain dictionaries and lists.
"""

from collections.abc import Callable
from typing import Any, Final

from penstock.base.nouns import CallRow
from penstock.core.effects import Adopt, Carry, Effect, Forget, Probe, Record, Refuse, Send
from penstock.core.events import Event, Failed, Observed, Probed
from penstock.telemetry.attempts import Name, moved, taken
from penstock.telemetry.histogram import DURATION_S, FIRST_TOKEN_S, PER_TOKEN_S, QUEUE_S, Histogram

MAX_NAMES: Final = 200
"""Models, tenants and pools that get a label of their own; later ones share "other"."""
OTHER: Final = "other"
MAX_KINDS: Final = 4096
"""Kinds of calls whose counters are remembered; when there are more, finding them begins anew (nothing is lost)."""

CallKey = tuple[str, str, str, int, int, bool]
"""Pool, model, outcome, status class (2 for 2xx), priority, stream."""


class ModelMeter:
    """What is measured for one model in one pool."""

    __slots__ = (
        "cached_estimate",
        "cached_tokens",
        "completion_tokens",
        "duration",
        "first_token",
        "per_token",
        "prompt_tokens",
    )

    def __init__(self) -> None:
        self.duration = Histogram(DURATION_S)
        self.first_token = Histogram(FIRST_TOKEN_S)
        self.per_token = Histogram(PER_TOKEN_S)
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cached_tokens = 0
        self.cached_estimate = 0


class TenantMeter:
    """What one tenant used."""

    __slots__ = ("calls", "completion_tokens", "cost", "prompt_tokens")

    def __init__(self) -> None:
        self.calls = 0
        self.cost = 0.0
        self.prompt_tokens = 0
        self.completion_tokens = 0


class ReplicaMeter:
    """What happened to one replica."""

    __slots__ = ("attempts", "failures", "probes", "retries", "scrapes")

    def __init__(self) -> None:
        self.attempts = 0
        self.retries = 0
        """Attempts at it that were not a call's first."""
        self.failures: dict[str, int] = {}
        """Failed attempts by label."""
        self.probes = [0, 0]
        """Failed ones, good ones."""
        self.scrapes = [0, 0]


class _Names:
    """Names that are labels as they are, up to a bound."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._known: dict[str, str] = {}
        self._most = most

    def label(self, name: str, admit: bool) -> str:
        known = self._known.get(name)
        if known is not None:
            return known
        if not admit or len(self._known) >= self._most:
            return OTHER
        self._known[name] = name
        return name


class _Kind:
    """Where calls of one kind are counted: found once, then one look-up a call."""

    __slots__ = ("answered", "calls", "model", "queue", "tenant")

    def __init__(
        self, calls: list[int], model: ModelMeter | None, queue: Histogram, tenant: TenantMeter, answered: bool
    ) -> None:
        self.calls = calls
        self.model = model
        self.queue = queue
        self.tenant = tenant
        self.answered = answered


class Meter:
    """Counters and histograms. Its `observe` is a reader of the journal."""

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self.calls: dict[CallKey, list[int]] = {}
        """How many, in a list of one."""
        self.models: dict[tuple[str, str], ModelMeter] = {}
        """By pool and model."""
        self.queue: dict[tuple[str, int], Histogram] = {}
        """Time in our queue, by pool and priority."""
        self.tenants: dict[str, TenantMeter] = {}
        self.replicas: dict[str, ReplicaMeter] = {}
        """Those in the fleet; a replica's numbers go when it is gone."""
        self.refusals: dict[str, int] = {}
        self.hedges: dict[tuple[str, str], int] = {}
        """By pool and what came of them."""
        self.groups: dict[int, int] = {}
        """Requests that carried several calls, by how many."""
        self._names = tuple(_Names(max_names) for _ in ("pool", "model", "tenant"))
        self._kinds: dict[tuple[str, str, str, int, int, bool, str, bool], _Kind] = {}
        self._tried: dict[Name, str] = {}
        """Call (first attempt) or (call, attempt) -> replica, until the call is over: Failed does not name it."""
        self._rare: dict[type, Callable[[Any], None]] = {
            Failed: self._failed,
            Probed: self._probed,
            Observed: self._observed,
            Refuse: self._refused,
            Carry: self._carried,
            Probe: self._probing,
            Forget: self._forgotten,
            Adopt: self._adopted,
        }

    def observe(self, now: float, event: Event, effects: list[Effect]) -> None:
        """Read one turn."""
        read = self._rare.get(type(event))
        if read is not None:
            read(event)
        for effect in effects:
            if type(effect) is Record:
                self._recorded(effect.row)
            elif type(effect) is Send:
                self._sent(effect)
            else:
                read = self._rare.get(type(effect))
                if read is not None:
                    read(effect)

    # ===== replicas =====

    def _replica(self, name: str) -> ReplicaMeter:
        replica = self.replicas.get(name)
        if replica is None:
            replica = self.replicas[name] = ReplicaMeter()
        return replica

    def _sent(self, order: Send) -> None:
        name = order.replica
        replica = self.replicas.get(name) or self._replica(name)
        replica.attempts += 1
        if order.attempt == 1:
            self._tried[order.id] = name
        else:
            replica.retries += 1
            self._tried[order.id, order.attempt] = name

    def _carried(self, order: Carry) -> None:
        if order.aboard:
            calls = len(order.aboard)
            self.groups[calls] = self.groups.get(calls, 0) + 1
        else:
            taken(self._tried, order.id)

    def _adopted(self, order: Adopt) -> None:
        """Attempts are another call's from now on."""
        moved(self._tried, order.id, order.by)

    def _failed(self, fact: Failed) -> None:
        name = self._tried.get(fact.id if fact.attempt == 1 else (fact.id, fact.attempt))
        replica = self.replicas.get(name) if name is not None else None
        if replica is not None:
            failures = replica.failures
            failures[fact.label] = failures.get(fact.label, 0) + 1

    def _probing(self, order: Probe) -> None:
        self._replica(order.replica)

    def _probed(self, fact: Probed) -> None:
        replica = self.replicas.get(fact.replica)
        if replica is not None:  # else the answer came after the replica was gone
            replica.probes[fact.ok] += 1

    def _observed(self, fact: Observed) -> None:
        replica = self.replicas.get(fact.replica)
        if replica is not None:
            replica.scrapes[fact.stats is not None] += 1

    def _forgotten(self, order: Forget) -> None:
        self.replicas.pop(order.replica, None)

    # ===== calls =====

    def _refused(self, order: Refuse) -> None:
        self.refusals[order.label] = self.refusals.get(order.label, 0) + 1

    def _recorded(self, row: CallRow) -> None:
        attempts = row.attempts
        if attempts:
            self._tried.pop(row.id, None)
            if attempts > 1:
                for attempt in range(2, attempts + 1):
                    self._tried.pop((row.id, attempt), None)
        key = (row.pool, row.model, row.outcome, row.status, row.priority, row.stream, row.tenant, attempts > 0)
        kind = self._kinds.get(key) or self._kind(row)
        if row.hedge:
            pool = self._names[0].label(row.pool, True)
            self.hedges[pool, row.hedge] = self.hedges.get((pool, row.hedge), 0) + 1
        kind.calls[0] += 1
        kind.queue.add(row.queue_s)
        kind.tenant.calls += 1
        if row.cost:
            kind.tenant.cost += row.cost
        if kind.model is not None:
            _measure(row, kind, kind.model)

    def _kind(self, row: CallRow) -> _Kind:
        pools, models, tenants = self._names
        answered = row.outcome == "ok" and row.status < 400
        pool = pools.label(row.pool, True)
        # a name becomes a label once an engine has answered to it: clients cannot fill the table with inventions
        model = models.label(row.model, answered)
        tenant = tenants.label(row.tenant, True)
        kind = _Kind(
            self.calls.setdefault((pool, model, row.outcome, row.status // 100, row.priority, row.stream), [0]),
            self.models.setdefault((pool, model), ModelMeter()) if row.attempts else None,
            self.queue.setdefault((pool, row.priority), Histogram(QUEUE_S)),
            self.tenants.setdefault(tenant, TenantMeter()),
            answered,
        )
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        if model == row.model:
            key = (row.pool, model, row.outcome, row.status, row.priority, row.stream, row.tenant, row.attempts > 0)
            self._kinds[key] = kind
        return kind


def _measure(row: CallRow, kind: _Kind, model: ModelMeter) -> None:
    """Times and tokens of a call that reached a replica."""
    usage = row.usage
    model.cached_estimate += row.cached_estimate
    if usage is None:
        tokens = row.relayed_tokens
    else:
        tokens = usage.completion_tokens
        model.prompt_tokens += usage.prompt_tokens
        model.cached_tokens += usage.cached_tokens
        kind.tenant.prompt_tokens += usage.prompt_tokens
    model.completion_tokens += tokens
    kind.tenant.completion_tokens += tokens
    if kind.answered:
        model.duration.add(row.latency_s)
    if row.stream and row.ttft_s is not None:
        model.first_token.add(row.ttft_s)
        if kind.answered and tokens > 1:
            model.per_token.add((row.latency_s - row.ttft_s) / (tokens - 1))
